//! Parts that do not fit each other.

use super::{super::parse, FULL, LEAST, problems, refused};

#[test]
fn contradictions_name_both_places() {
    refused(&[
        (
            "name = \"oldgirl\"",
            "name = \"oldboy\"",
            "f:28:8: virtual_router \"oldboy\": the name is taken, first at f:12:8",
        ),
        (
            "name = \"script\"",
            "name = \"web\"",
            "f:25:53: virtual_router \"oldboy\": track: there is no check \"script\"\n\
             f:43:8: check \"web\": the name is taken, first at f:35:8",
        ),
        (
            "interface = \"eth1\"\nvrid = 52",
            "interface = \"eth0\"\nvrid = 51",
            "f:30:8: virtual_router \"oldgirl\": vrid = 51: virtual_router \"oldboy\" has it on eth0 \
             already, at f:14:8",
        ),
        (
            "[\"10.0.0.4\"]",
            "[\"10.0.0.3\"]",
            "f:32:9: virtual_router \"oldgirl\": VIP 10.0.0.3: virtual_router \"oldboy\" has it \
             already, at f:19:9",
        ),
        (
            "vrid = 52",
            "vrid = 52\nunicast_peers = [\"10.0.0.6\", \"10.0.0.6\"]",
            "f:31:30: virtual_router \"oldgirl\": unicast_peers: 10.0.0.6 is one already, at f:31:18",
        ),
        (
            "vrid = 52",
            "vrid = 52\nunicast_peers = [\"10.0.0.4\"]",
            "f:31:18: virtual_router \"oldgirl\": unicast_peers: 10.0.0.4 is a VIP: expected the \
             peer's own address",
        ),
        (
            "vrid = 52",
            "vrid = 52\nunicast_peers = [\"lb02\"]",
            "f:31:18: virtual_router \"oldgirl\": unicast_peers: \"lb02\": expected the address of a \
             peer, such as \"10.0.0.6\"",
        ),
        (
            "vrid = 52",
            "vrid = 52\nunicast_peers = [\"fe80::6\"]",
            "f:31:18: virtual_router \"oldgirl\": unicast_peers: fe80::6: its VIPs are IPv4: expected \
             peers' addresses of that family",
        ),
        (
            "{ check = \"script\" }",
            "{ check = \"web\" }",
            "f:25:53: virtual_router \"oldboy\": track: check \"web\" is tracked already, at f:25:20",
        ),
        (
            "vip = \"10.0.0.13\"",
            "vip = \"10.0.0.5\"",
            "f:48:7: service \"dns\": vip = \"10.0.0.5\": no virtual_router has it",
        ),
        (
            "address = \"10.0.0.7:53\"",
            "address = \"10.0.0.7:5353\"",
            "f:56:11: service \"dns\": backend 10.0.0.7:5353: mode \"dsr\" does not change the port: \
             expected 53",
        ),
        (
            "address = \"10.0.0.7:53\"",
            "address = \"10.0.0.4:53\"",
            "f:56:11: service \"dns\": backend 10.0.0.4:53: it is a VIP",
        ),
        (
            "weight = 3\n",
            "[[service.backend]]\naddress = \"10.0.0.7:53\"\n",
            "f:58:11: service \"dns\": backend 10.0.0.7:53: it is one already, at f:56:11",
        ),
        (
            ", port = 5353",
            "",
            "f:46:1: service \"dns\": health: it looks at a TCP port, of a UDP \
             service: expected `port`, which one to try",
        ),
        (
            "listen = [\"10.0.0.3:80\"]",
            "listen = [\"0.0.0.0:80\"]",
            "f:64:11: server: listen: \"0.0.0.0:80\" is every address, this node's own too: name \
             the VIPs one by one",
        ),
        (
            "[[service.backend]]\naddress = \"10.0.0.7:53\"\nweight = 3\n",
            "",
            "f:46:1: service \"dns\": it has no [[service.backend]]",
        ),
    ]);
    assert_eq!(
        parse("f", "[node]\nid = \"a\"\n").unwrap_err().to_string(),
        "f:1:1: there is no [[virtual_router]]: nothing to run"
    );
}

#[test]
fn a_service_and_a_listener_do_not_share_a_port_and_services_neither() {
    let tcp = FULL
        .replace(
            "port = 53\nprotocol = \"udp\"",
            "port = 80\nprotocol = \"tcp\"",
        )
        .replace("vip = \"10.0.0.13\"", "vip = \"10.0.0.3\"")
        .replace("10.0.0.7:53", "10.0.0.7:80");
    assert_eq!(
        parse("f", &tcp).unwrap_err().to_string(),
        "f:64:11: server: listen: \"10.0.0.3:80\": service \"dns\" takes what is sent there, at f:46:1"
    );
    let udp = tcp.replace("protocol = \"tcp\"", "protocol = \"udp\"");
    assert!(parse("f", &udp).is_ok(), "a listener is TCP");

    let service = "[[service]]\nname = \"more\"\nvip = \"10.0.0.13\"\nport = 53\nprotocol = \"udp\"\n\
                   mode = \"dsr\"\n[[service.backend]]\naddress = \"10.0.0.9:53\"\n";
    assert_eq!(
        parse("f", &format!("{FULL}{service}"))
            .unwrap_err()
            .to_string(),
        "f:71:7: service \"more\": service \"dns\" has udp 10.0.0.13:53 already, at f:46:1"
    );
    let other = service.replace("\"udp\"", "\"tcp\"");
    assert!(
        parse("f", &format!("{FULL}{other}")).is_ok(),
        "another protocol is another service"
    );
}

#[test]
fn one_vrid_may_be_used_on_two_interfaces() {
    assert_eq!(problems("vrid = 52", "vrid = 51"), "");
}

#[test]
fn a_check_of_the_proxy_needs_one() {
    let text = format!("{LEAST}[[check]]\nname = \"web\"\nl7 = true\n")
        .replace("vrid = 51", "vrid = 51\ntrack = [{ check = \"web\" }]");
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:10:8: check \"web\": l7: there is no [[server]]"
    );
}

#[test]
fn a_node_has_no_more_than_the_maps_hold() {
    let mut text = LEAST.to_owned();
    for n in 0..17 {
        text += &format!("[[interface]]\nname = \"if{n}\"\n");
    }
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:1:1: 18 interfaces: a node has 16 at most"
    );

    let mut text = LEAST.to_owned();
    for n in 0..3 {
        text += &format!(
            "[[service]]\nname = \"s{n}\"\nvip = \"10.0.0.3\"\nport = {p}\nprotocol = \"tcp\"\n\
             mode = \"dsr\"\nslots = 16777213\nbackend = [{{ address = \"10.0.0.7:{p}\" }}]\n",
            p = n + 1
        );
    }
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:1:1: the services have 50331639 slots in all: a node has 33554432 at most; give the \
         small ones fewer, such as slots = 4099"
    );

    let vips: Vec<_> = (0..256).map(|n| format!("\"10.0.1.{n}\"")).collect();
    let text = LEAST.replace("\"10.0.0.3/24\"", &vips.join(","));
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:4:8: virtual_router \"oldboy\": 256 VIPs: an advert carries 255 at most: use more routers"
    );
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let warnings = |text: &str| {
        let config = parse("f", text).unwrap();
        config
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(FULL), [] as [&str; 0]);
    assert_eq!(
        warnings(
            &FULL
                .replace(", { check = \"script\" }", "")
                .replace("weight = 3", "weight = 0")
        ),
        [
            "f:43:8: warning: check \"script\": no virtual_router tracks it: it moves nothing",
            "f:46:1: warning: service \"dns\": every backend has weight 0: it leads nowhere",
        ]
    );
    assert_eq!(
        warnings(
            &FULL
                .replace("priority = 150", "priority = 255")
                .replace("preempt = false\naccept = false\n", "")
        ),
        [
            "f:12:8: warning: virtual_router \"oldboy\": priority 255 is that of the addresses' owner: \
          no weight changes it, only weight = 0 has an effect"
        ]
    );
    let owner = "f:4:8: warning: virtual_router \"oldboy\":";
    let why = "no effect: priority 255 is that of the addresses' owner, which always";
    assert_eq!(
        warnings(&LEAST.replace(
            "vrid = 51",
            "vrid = 51\npriority = 255\npreempt = false\npreempt_delay = \"1s\"\naccept = false"
        )),
        [
            format!("{owner} accept = false: {why} accepts"),
            format!("{owner} preempt = false: {why} preempts"),
            format!("{owner} preempt_delay: {why} preempts"),
        ]
    );
    assert_eq!(
        warnings(&LEAST.replace(
            "vrid = 51",
            "vrid = 51\npreempt = false\npreempt_delay = \"1s\""
        )),
        [format!(
            "{owner} preempt_delay: no effect: preempt is false"
        )]
    );
    let upstream = "[[upstream]]\nname = \"a\"\nserver = [{ address = \"10.0.0.8:80\" }]\n";
    assert_eq!(
        warnings(&format!("{LEAST}{upstream}")),
        ["f:8:1: warning: upstream \"a\": there is no [[server]]: no proxy is started"]
    );
}

#[test]
fn a_sync_group_has_several_routers_that_move_for_the_same_reasons() {
    let grouped = FULL
        .replace("vrid = 51", "vrid = 51\nsync_group = \"site\"")
        .replace("vrid = 52", "vrid = 52\nsync_group = \"site\"");
    let warnings = |text: &str| {
        let config = parse("f", text).unwrap();
        config
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let alone = FULL.replace("vrid = 51", "vrid = 51\nsync_group = \"site\"");
    assert_eq!(
        warnings(&alone),
        [
            "f:15:14: warning: virtual_router \"oldboy\": sync_group = \"site\": no other router is in \
          this group"
        ]
    );
    assert_eq!(
        warnings(&grouped),
        [
            "f:32:14: warning: virtual_router \"oldgirl\": sync_group = \"site\": it tracks other \
          weights than \"oldboy\": a peer takes the group over only when it has precedence in all \
          of it; give all the same weights, or use weight = 0 (fault), which moves the group"
        ]
    );
    assert_eq!(
        warnings(&grouped.replace("weight = -60", "weight = 0")),
        [] as [&str; 0]
    );
    let owner = grouped.replace("priority = 150", "priority = 255");
    assert_eq!(
        parse("f", &owner).unwrap_err().to_string(),
        "f:32:14: virtual_router \"oldgirl\": sync_group = \"site\": an owner (priority 255) takes \
         the VIPs at its start, and a group only when all of it would: give all of it 255, or none"
    );
}

#[test]
fn an_ipv6_router_is_what_rfc_9568_asks() {
    let said = |router: &str| {
        let text = LEAST.replace("vips = [\"10.0.0.3/24\"]\n", router);
        let parsed = parse("f", &text);
        parsed.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    assert_eq!(said("vips = [\"fe80::3/64\", \"2001:db8::3/64\"]\n"), "");
    assert_eq!(
        said("vips = [\"2001:db8::3/64\", \"fe80::3/64\"]\n"),
        "f:7:9: virtual_router \"oldboy\": VIP 2001:db8::3: the first VIP must be link-local \
         (RFC 9568 §5.2.9), such as \"fe80::33/64\""
    );
    assert_eq!(
        said("vips = [\"fe80::3/64\"]\nversion = 2\n"),
        "f:7:9: virtual_router \"oldboy\": VIP fe80::3: version 2 has no IPv6 (RFC 3768): \
         version = 3"
    );
    assert_eq!(
        said("vips = [\"10.0.0.3/24\", \"fe80::3/64\"]\n"),
        "f:7:24: virtual_router \"oldboy\": VIP fe80::3: a router has VIPs of one family, and the \
         first one is 10.0.0.3: use a router for each family; they may have the same VRID"
    );
    let many: Vec<_> = (1..=91).map(|n| format!("\"fe80::{n:x}\"")).collect();
    assert_eq!(
        said(&format!("vips = [{}]\n", many.join(", "))),
        "f:4:8: virtual_router \"oldboy\": 91 VIPs: an advert carries 90 at most: use more routers"
    );
    let both = "vips = [\"10.0.0.3/24\"]\n[[virtual_router]]\nname = \"oldboy6\"\n\
                interface = \"eth0\"\nvrid = 51\nvips = [\"fe80::3/64\"]\n";
    assert_eq!(said(both), "", "each family has its VRIDs");
}

#[test]
fn a_service_and_its_backends_are_of_one_family() {
    let with = |service: &str| {
        let router = "vips = [\"fe80::3/64\", \"2001:db8::3/64\"]\n";
        let text = LEAST.replace("vips = [\"10.0.0.3/24\"]\n", router);
        let service = format!(
            "[[service]]\nname = \"web\"\nvip = \"2001:db8::3\"\nport = 80\nprotocol = \"tcp\"\n{service}"
        );
        let parsed = parse("f", &(text + &service));
        parsed.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    let backend =
        |address: &str| format!("mode = \"dsr\"\n[[service.backend]]\naddress = \"{address}\"\n");
    assert_eq!(with(&backend("[2001:db8::7]:80")), "");
    assert_eq!(
        with(&backend("10.0.0.7:80")),
        "f:15:11: service \"web\": backend 10.0.0.7:80: mode \"dsr\" does not change the family: \
         expected one as 2001:db8::3"
    );
    assert_eq!(
        with(&backend("[fe80::7]:80")),
        "f:15:11: service \"web\": backend: address = \"[fe80::7]:80\": a link-local address does \
         not say on which link: expected another one"
    );
    assert_eq!(
        with(&backend("[2001:db8::7]:8080").replace("dsr", "nat")),
        ""
    );
}

#[test]
fn a_listener_on_a_link_local_vip_is_refused() {
    let vips = LEAST.replace("[\"10.0.0.3/24\"]", "[\"fe80::3/64\", \"2001:db8::3/64\"]");
    let with = |listen: &str| {
        let proxy = format!(
            "[[upstream]]\nname = \"all\"\nserver = [{{ address = \"10.0.0.8:80\" }}]\n\
             [[server]]\nlisten = [\"{listen}\"]\ndefault = true\n[[server.route]]\nupstream = \"all\"\n"
        );
        let parsed = parse("f", &(vips.clone() + &proxy));
        parsed.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    assert_eq!(with("[2001:db8::3]:80"), "");
    assert_eq!(
        with("[fe80::3]:80"),
        "f:12:11: server: listen: \"[fe80::3]:80\": a link-local address does not say on which \
         link: name another VIP"
    );
}
