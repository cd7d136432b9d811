//! Routers that do not speak to the group, or that go by a virtual MAC.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_BBS, VIP_WWW, pause,
    peers::{
        Capture, ECHO_PORT, Echo, Hafw, Keepalived, Router, Timing, WebServer, hafw_config,
        lesson_sites,
    },
    probe::{Observer, Seen, UdpProbe},
    wait_until,
};

use crate::pair::{PATIENCE, wait_for_address};

const TIMING: Timing = Timing::V3Tenth;
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 6)];

fn hafw_among_peers(lab: &Lab, node: usize) -> Hafw {
    let station = Station::NODES[node];
    let text = hafw_config(&lab[station], &[Router::oldboy(station, TIMING)], "");
    let peers = format!("vrid = 51\nunicast_peers = [\"{}\"]\n", ADDRESSES[1 - node]);
    let text = text.replace("vrid = 51\n", &peers);
    Hafw::start(&lab[station], &text).unwrap()
}

fn keepalived_among_peers(lab: &Lab, node: usize) -> Keepalived {
    let station = Station::NODES[node];
    let Router { priority, .. } = Router::oldboy(station, TIMING);
    let text = format!(
        "global_defs {{\n vrrp_version 3\n}}\nvrrp_instance oldboy {{\n state BACKUP\n \
         interface eth0\n virtual_router_id 51\n priority {priority}\n advert_int 0.1\n \
         unicast_src_ip {}\n unicast_peer {{\n {}\n }}\n \
         virtual_ipaddress {{\n {VIP_WWW}/24\n }}\n}}\n",
        ADDRESSES[node],
        ADDRESSES[1 - node]
    );
    let mut peer = Keepalived::with_config(&lab[station], &text).unwrap();
    peer.daemon.start().unwrap();
    peer
}

fn wait_for_keepalived(lab: &Lab, node: usize, owns: bool) {
    let host = &lab[Station::NODES[node]];
    wait_for_address(host, &format!("{VIP_WWW}/24"), owns);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_by_unicast() {
    let lab = Lab::new("unibefore").unwrap();
    let mut ours = hafw_among_peers(&lab, 0);
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let capture = Capture::start(&lab[Station::Observer], "ip proto 112").unwrap();
    let _peer = keepalived_among_peers(&lab, 1);

    pause(TIMING.active_down_interval(100) * 3).unwrap();
    wait_for_keepalived(&lab, 1, false);
    ours.daemon.stop(PATIENCE).unwrap();
    wait_for_keepalived(&lab, 1, true);
    ours.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    wait_for_keepalived(&lab, 1, false);

    let lines = capture.stop().unwrap().join("\n");
    assert!(!lines.contains("224.0.0.18"), "{lines}");
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_by_unicast() {
    let lab = Lab::new("unibehind").unwrap();
    let mut peer = keepalived_among_peers(&lab, 0);
    wait_for_keepalived(&lab, 0, true);
    let mut ours = hafw_among_peers(&lab, 1);
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();
    pause(TIMING.active_down_interval(100) * 3).unwrap();
    ours.wait_for_router("oldboy", "backup", Duration::from_secs(1))
        .unwrap();

    peer.daemon.stop(PATIENCE).unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    peer.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();
    wait_for_keepalived(&lab, 0, true);
}

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
