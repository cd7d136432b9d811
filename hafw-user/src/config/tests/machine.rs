//! A configuration and the machine it is for.

use std::net::{IpAddr, Ipv4Addr};

use super::{super::*, FULL, LEAST};

/// A machine of the lesson's network.
pub(super) fn node(last: u8) -> SystemFacts {
    let eth0 = InterfaceFacts {
        index: 2,
        mac: Some([2, 0, 0, 0, 0, last]),
        mtu: Some(1500),
        addresses: vec![
            ([10, 0, 0, last].into(), 24),
            ("2001:db8::5".parse().unwrap(), 64),
            (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last.into()]), 64),
        ],
    };
    let lo = InterfaceFacts {
        index: 1,
        mac: Some([0; 6]),
        mtu: Some(65_536),
        addresses: vec![(Ipv4Addr::LOCALHOST.into(), 8)],
    };
    let eth1 = InterfaceFacts {
        index: 3,
        ..eth0.clone()
    };
    let interfaces = [("lo", lo), ("eth0", eth0), ("eth1", eth1)];
    SystemFacts {
        interfaces: interfaces
            .map(|(name, facts)| (name.to_owned(), facts))
            .into(),
    }
}

/// What [`against_system`] says of [`FULL`] with a text replaced, on a machine as `change` leaves it.
fn on_machine(from: &str, to: &str, change: impl Fn(&mut SystemFacts)) -> String {
    let config = parse("f", &FULL.replacen(from, to, 1)).unwrap();
    let mut facts = node(5);
    change(&mut facts);
    against_system(&config, &facts)
        .err()
        .map_or_else(String::new, |problems| problems.to_string())
}

#[test]
fn a_machine_that_fits_is_taken() {
    assert_eq!(on_machine("", "", |_| {}), "");
    for listen in [
        "127.0.0.1:80",
        "[::1]:80",
        "10.0.0.5:80",
        "[2001:db8::5]:80",
    ] {
        assert_eq!(on_machine("10.0.0.3:80", listen, |_| {}), "", "{listen}");
    }
}

/// What [`remarks`] has to say of [`FULL`] on a machine as `change` leaves it.
fn remarked(change: impl Fn(&mut SystemFacts)) -> String {
    let config = parse("f", FULL).unwrap();
    let mut facts = node(5);
    change(&mut facts);
    let lines: Vec<_> = remarks(&config, &facts)
        .iter()
        .map(ToString::to_string)
        .collect();
    lines.join("\n")
}

#[test]
fn an_interface_or_an_address_that_may_come_later_is_waited_for() {
    let gone = |facts: &mut SystemFacts| drop(facts.interfaces.remove("eth1"));
    assert_eq!(on_machine("", "", gone), "");
    assert_eq!(
        remarked(gone),
        "f:29:13: warning: interface \"eth1\": there is none of this name here, it will be waited \
         for; there are eth0, lo"
    );
    let bare = |facts: &mut SystemFacts| {
        let eth1 = facts.interfaces.get_mut("eth1").unwrap();
        eth1.addresses.clear();
    };
    assert_eq!(on_machine("", "", bare), "");
    assert_eq!(
        remarked(bare),
        "f:29:13: warning: virtual_router \"oldgirl\": interface = \"eth1\": it has no IPv4 address \
         of its own, for adverts to leave from: one will be waited for"
    );
}

#[test]
fn what_the_machine_lacks_is_named() {
    let eth0 = |change: fn(&mut InterfaceFacts)| {
        move |facts: &mut SystemFacts| change(facts.interfaces.get_mut("eth0").unwrap())
    };
    assert_eq!(
        on_machine("", "", eth0(|eth0| eth0.mac = None)),
        "f:13:13: virtual_router \"oldboy\": interface = \"eth0\": it has no MAC address"
    );
    assert_eq!(
        on_machine(
            "",
            "",
            eth0(|eth0| eth0.addresses[0].0 = [10, 0, 9, 5].into())
        ),
        "f:19:9: virtual_router \"oldboy\": VIP 10.0.0.3: outside the networks of eth0 (10.0.9.5/24)\n\
         f:19:24: virtual_router \"oldboy\": VIP 10.0.0.13: outside the networks of eth0 (10.0.9.5/24)"
    );
    assert_eq!(
        on_machine(
            "",
            "",
            eth0(|eth0| eth0.addresses.push(([10, 0, 0, 4].into(), 24)))
        ),
        "f:32:9: virtual_router \"oldgirl\": VIP 10.0.0.4: eth0 has this address; a VIP must be no \
         node's own: take it off"
    );
    assert_eq!(
        on_machine("10.0.0.7:53", "10.0.0.5:53", |_| {}),
        "f:56:11: service \"dns\": backend 10.0.0.5:53: eth0 of this node has this address: it \
         cannot be steered to"
    );
    assert_eq!(
        on_machine("10.0.0.3:80", "10.0.0.99:80", |_| {}),
        "f:64:11: server: listen: \"10.0.0.99:80\": neither a virtual_router's VIP, nor loopback, \
         nor an address of this node"
    );
}

#[test]
fn adverts_that_exceed_the_mtu_are_refused() {
    let mtu = |mtu: u32| {
        move |facts: &mut SystemFacts| facts.interfaces.get_mut("eth0").unwrap().mtu = Some(mtu)
    };
    let vips: Vec<_> = (20..220)
        .map(|last| format!("\"10.0.0.{last}/24\""))
        .collect();
    let many = format!("[\"10.0.0.3/24\", {}, ", vips.join(", "));
    let refused = on_machine("[\"10.0.0.3/24\", ", &many, mtu(843));
    assert!(
        refused.contains(
            "virtual_router \"oldboy\": its adverts have 844 bytes for 202 VIPs, and the MTU of eth0 \
             is 843: use more routers, in a `sync_group`"
        ),
        "{refused}"
    );
    assert_eq!(on_machine("[\"10.0.0.3/24\", ", &many, mtu(844)), "");
}

#[test]
fn adverts_leave_from_an_address_that_is_no_vip() {
    let config = parse("f", FULL).unwrap();
    let mut eth0 = node(5).interfaces["eth0"].clone();
    eth0.addresses.insert(0, ([10, 0, 0, 3].into(), 24));
    assert_eq!(
        source_of(&config.routers[0], &eth0),
        Some([10, 0, 0, 5].into())
    );
    eth0.addresses.truncate(1);
    assert_eq!(source_of(&config.routers[0], &eth0), None);
}

#[test]
fn a_backend_behind_a_router_is_remarked_on() {
    let config = parse("f", &FULL.replace("10.0.0.7:53", "192.0.2.7:53")).unwrap();
    let warnings: Vec<_> = remarks(&config, &node(5))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "f:56:11: warning: service \"dns\": backend 192.0.2.7:53: no interface has its network: \
          mode \"dsr\" keeps the VIP as destination, and a router in between would send it back"
        ]
    );
}

#[test]
fn the_kernel_is_asked_for_its_interfaces() {
    let facts = SystemFacts::gather().unwrap();
    let lo = &facts.interfaces["lo"];
    assert!(lo.index > 0);
    assert!(
        lo.addresses.contains(&(Ipv4Addr::LOCALHOST.into(), 8)),
        "{lo:?}"
    );
}

#[test]
fn over_ipv6_adverts_leave_from_a_link_local_address_that_is_no_vip() {
    let vips = "[\"fe80::3/64\", \"2001:db8::3/64\"]";
    let config = parse("f", &LEAST.replace("[\"10.0.0.3/24\"]", vips)).unwrap();
    let mut facts = node(5);
    assert!(against_system(&config, &facts).is_ok());
    let eth0 = facts.interfaces.get_mut("eth0").unwrap();
    let source = Some(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 5]));
    assert_eq!(source_of(&config.routers[0], eth0), source);
    eth0.addresses
        .retain(|(address, _)| Some(*address) != source);
    eth0.addresses.push(("fe80::3".parse().unwrap(), 64));
    assert!(
        remarks(&config, &facts)[0]
            .to_string()
            .contains("it has no link-local IPv6 address of its own, for adverts to leave from")
    );
}
