//! Routers that go by a virtual MAC.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_BBS, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6, pause,
    peers::{ECHO_PORT, Echo, Hafw, Router, Timing, WebServer, hafw_config, lesson_sites},
    probe::{Observer, Seen, UdpProbe},
    wait_until,
};

use crate::pair::PATIENCE;

const TIMING: Timing = Timing::V3Tenth;

/// A node with both routers, a service, the lesson's sites and virtual MACs.
fn virtual_node(lab: &Lab, station: Station) -> Hafw {
    let host = &lab[station];
    let routers = [
        Router::oldboy(station, TIMING),
        Router {
            priority: Router::oldboy(station, TIMING).priority,
            ..Router::oldgirl(station, TIMING)
        },
    ];
    let mut service = format!(
        "[[service]]\nname = \"echo\"\nvip = \"{VIP_WWW}\"\nport = {ECHO_PORT}\n\
         protocol = \"udp\"\nmode = \"dsr\"\nslots = 4099\n"
    );
    for web in ["10.0.0.7", "10.0.0.8", "10.0.0.9"] {
        service += &format!("[[service.backend]]\naddress = \"{web}:{ECHO_PORT}\"\n");
    }
    let text = hafw_config(host, &routers, &(service + &lesson_sites()))
        .replace("\nvips = ", "\nvirtual_mac = true\nvips = ");
    Hafw::start(host, &text).unwrap()
}

/// The port of the switch that it knows the MAC behind.
fn port_of(lab: &Lab, mac: &str) -> String {
    let mut bridge = std::process::Command::new("bridge");
    let table = lab.switch().output(bridge.args(["fdb", "show"])).unwrap();
    let line = table.lines().find(|line| line.starts_with(mac));
    let words = line.unwrap_or_default().split_whitespace();
    words
        .skip_while(|word| *word != "dev")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

fn page(lab: &Lab, host: &str, vip: Ipv4Addr) -> Result<(), String> {
    let (header, url) = (format!("Host: {host}"), format!("http://{vip}/oldboy.html"));
    let args = [
        "-sSf",
        "--max-time",
        "2",
        "-o",
        "/dev/null",
        "-H",
        &header,
        &url,
    ];
    let answer = lab[Station::Client].output("curl", &args);
    answer.map(drop).map_err(|error| error.to_string())
}

#[test]
#[ignore = "requires root"]
fn a_virtual_mac_moves_from_port_to_port_and_neighbours_keep_it() {
    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
    const SHOWN: &str = "00:00:5e:00:01:33";
    let lab = Lab::new("vmac").unwrap();
    let _webs = Station::BACKENDS.map(|web| WebServer::start(&lab[web]).unwrap());
    let _echoes = Station::BACKENDS.map(|web| {
        lab[web].accept_vip(VIP_WWW).unwrap();
        Echo::start(&lab[web], VIP_WWW, ECHO_PORT).unwrap()
    });
    let mut first = virtual_node(&lab, Station::Lb01);
    let mut second = virtual_node(&lab, Station::Lb02);
    first.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    second
        .wait_for_router("oldboy", "backup", PATIENCE)
        .unwrap();
    let site = |lab: &Lab| {
        wait_until(PATIENCE, "the sites to answer", || {
            page(lab, "www.oldboy.com", VIP_WWW)?;
            page(lab, "bbs.oldboy.com", VIP_BBS)
        })
        .unwrap();
    };
    site(&lab);
    assert_eq!(port_of(&lab, SHOWN), "lb01");

    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    let to = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    let client = &lab[Station::Client];
    let probe = UdpProbe::start(client, to, Duration::from_millis(1)).unwrap();
    pause(Duration::from_millis(500)).unwrap();
    first
        .daemon
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();
    second
        .wait_for_router("oldboy", "active", PATIENCE)
        .unwrap();
    site(&lab);
    assert_eq!(port_of(&lab, SHOWN), "lb02");
    first.daemon.start().unwrap();
    first.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    second
        .wait_for_router("oldboy", "backup", PATIENCE)
        .unwrap();
    site(&lab);
    pause(Duration::from_millis(500)).unwrap();
    assert_eq!(port_of(&lab, SHOWN), "lb01");

    let (seen, report) = (observer.stop().unwrap(), probe.stop().unwrap());
    assert_eq!(report.duplicated(), 0, "a frame was served twice");
    // Dark for Active_Down_Interval less the lease at most; failback loses next to nothing.
    let longest = report.longest_gap();
    assert!(longest < Duration::from_millis(400), "{longest:?}");
    for event in &seen.events {
        match event.seen {
            Seen::Reply { vip, mac } | Seen::Announcement { vip, mac } => {
                assert_eq!((vip, mac), (VIP_WWW.into(), MAC));
            }
            Seen::Advert { .. } => {}
        }
    }
    let neighbours = client
        .output("ip", &["neighbour", "show", &VIP_WWW.to_string()])
        .unwrap();
    assert!(neighbours.contains(SHOWN), "{neighbours}");
}

/// A node with a router over IPv6 that goes by its virtual MAC, and the proxy on its VIP. `more`: of
/// the router.
fn virtual_node_v6(lab: &Lab, node: usize, more: &str) -> Hafw {
    let station = Station::NODES[node];
    let host = &lab[station];
    let priority = [150, 100][node];
    let text = format!(
        "\n[[virtual_router]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = 51\n\
         priority = {priority}\nvirtual_mac = true\n\
         vips = [\"{VIP_LINK_LOCAL}/64\", \"{VIP_WWW_V6}/64\"]\n{more}\n\
         [[upstream]]\nname = \"web\"\nserver = [{{ address = \"{}:80\" }}]\n\
         [[server]]\nlisten = [\"[{VIP_WWW_V6}]:80\"]\ndefault = true\n\
         [[server.route]]\nupstream = \"web\"\n",
        Station::Web01.address()
    );
    Hafw::start(host, &hafw_config(host, &[], &text)).unwrap()
}

fn virtual_mac_over_ipv6_moves(purpose: &str, more: [String; 2]) {
    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];
    const SHOWN: &str = "00:00:5e:00:02:33";
    let lab = Lab::new(purpose).unwrap();
    lab.enable_ipv6().unwrap();
    let _web = WebServer::start(&lab[Station::Web01]).unwrap();
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW_V6]).unwrap();
    let mut nodes = [0, 1].map(|node| virtual_node_v6(&lab, node, &more[node]));
    let settle = |nodes: &mut [Hafw; 2]| {
        nodes[0].wait_for_router("six", "active", PATIENCE).unwrap();
        nodes[1].wait_for_router("six", "backup", PATIENCE).unwrap();
    };
    let url = format!("http://[{VIP_WWW_V6}]/whoami");
    let page = |lab: &Lab, port: &str| {
        wait_until(PATIENCE, "the proxy to answer", || {
            let args = ["-sS", "--max-time", "2", &url];
            let page = lab[Station::Client].output("curl", &args);
            let page = page.map_err(|error| error.to_string())?;
            let learnt = port_of(lab, SHOWN);
            if page.contains("web01") && learnt == port {
                Ok(())
            } else {
                Err(format!("{page} by way of {learnt}"))
            }
        })
        .unwrap();
    };
    settle(&mut nodes);
    page(&lab, "lb01");

    nodes[0]
        .daemon
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();
    nodes[1].wait_for_router("six", "active", PATIENCE).unwrap();
    page(&lab, "lb02");
    nodes[0].daemon.start().unwrap();
    settle(&mut nodes);
    page(&lab, "lb01");

    let seen = observer.stop().unwrap();
    let mut answers = 0;
    for event in &seen.events {
        match event.seen {
            Seen::Reply { vip, mac } | Seen::Announcement { vip, mac } => {
                assert_eq!((vip, mac), (IpAddr::from(VIP_WWW_V6), MAC));
                answers += 1;
            }
            Seen::Advert { .. } => {}
        }
    }
    assert!(answers > 0);
    let neighbours = ["-6", "neighbour", "show", &VIP_WWW_V6.to_string()];
    let neighbours = lab[Station::Client].output("ip", &neighbours).unwrap();
    assert!(neighbours.contains(SHOWN), "{neighbours}");
}

#[test]
#[ignore = "requires root"]
fn a_virtual_mac_over_ipv6_moves_and_the_proxy_with_it() {
    virtual_mac_over_ipv6_moves("vmac6", [String::new(), String::new()]);
}

#[test]
#[ignore = "requires root"]
fn a_virtual_mac_moves_among_unicast_peers_too() {
    let peers = ["2001:db8::6", "2001:db8::5"];
    virtual_mac_over_ipv6_moves(
        "vmac6uni",
        peers.map(|peer| format!("unicast_peers = [\"{peer}\"]\n")),
    );
}
