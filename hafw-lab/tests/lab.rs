//! The lab itself, with real peers: what it makes works, what it measures is known, what it made
//! goes. Needs root: `cargo xtask test netns`.

use std::{net::SocketAddrV4, path::Path, process::Command, time::Duration};

use hafw_lab::{
    Lab, LabError, Scope, Signal, Station, VIP_WWW, pause,
    peers::{Capture, ECHO_PORT, Echo, Keepalived, Router, Timing, WebServer},
    probe::{HttpProbe, Observer, Request, TcpProbe, UdpProbe},
    wait_for,
};

fn echo_at(vip: std::net::Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(vip, ECHO_PORT)
}

#[test]
#[ignore = "requires root"]
fn every_host_reaches_every_other() {
    let lab = Lab::new("reach").unwrap();

    for from in Station::ALL {
        for to in Station::ALL.into_iter().filter(|&to| to != from) {
            let to = to.address().to_string();
            lab[from]
                .output("ping", &["-c", "1", "-W", "2", &to])
                .unwrap();
        }
    }
}

#[test]
#[ignore = "requires root"]
fn nothing_stays_behind() {
    let (name, dir, pid);
    {
        let lab = Lab::new("gone").unwrap();
        let mut web = WebServer::start(&lab[Station::Web01]).unwrap();
        name = lab[Station::Web01].namespace().name().to_owned();
        dir = lab.dir();
        web.daemon.expect_running().unwrap();
        pid = web.daemon.pid().unwrap();
        // The lab goes first: it must not need the handle.
        drop(lab);
        assert!(!web.daemon.running());
    }

    assert!(!Path::new("/run/netns").join(&name).exists());
    assert!(!dir.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
#[ignore = "requires root"]
fn somebody_elses_namespace_is_named_and_left_alone() {
    let foreign = format!("hafw-foreign{}-lb02", std::process::id());
    let ip = |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success());
    ip(&["netns", "add", &foreign]);

    let files = std::env::temp_dir();
    let made = Lab::named(foreign.trim_end_matches("-lb02"), &files);

    let left = Path::new("/run/netns").join(&foreign).exists();
    ip(&["netns", "delete", &foreign]);
    let error = made.unwrap_err();
    assert!(
        matches!(&error, LabError::Left { name } if *name == foreign),
        "{error}"
    );
    assert!(left);
}

#[test]
#[ignore = "requires root"]
fn a_cut_host_keeps_its_carrier_and_a_healed_one_is_back() {
    let lab = Lab::new("cut").unwrap();
    let _echo = Echo::start(&lab[Station::Web01], Station::Web01.address(), ECHO_PORT).unwrap();
    let probe = UdpProbe::start(
        &lab[Station::Client],
        echo_at(Station::Web01.address()),
        Duration::from_millis(1),
    )
    .unwrap();
    pause(Duration::from_millis(100)).unwrap();

    lab.cut(Station::Web01).unwrap();
    let link = lab[Station::Web01]
        .output("ip", &["link", "show", "eth0"])
        .unwrap();
    pause(Duration::from_millis(200)).unwrap();
    lab.heal().unwrap();
    pause(Duration::from_millis(100)).unwrap();

    let report = probe.stop().unwrap();
    let gaps = report.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].length >= Duration::from_millis(200), "{gaps:?}");
    assert!(report.samples.last().unwrap().answered.is_some());
    assert!(link.contains("LOWER_UP"), "{link}");
}

#[test]
#[ignore = "requires root"]
fn one_way_and_pairwise_blocks_block_just_that() {
    let lab = Lab::new("oneway").unwrap();
    let ping = |from: Station, to: Station| {
        lab[from]
            .output("ping", &["-c", "1", "-W", "1", &to.address().to_string()])
            .is_ok()
    };
    assert!(ping(Station::Client, Station::Lb01));

    lab.part(Station::Lb01, Station::Lb02).unwrap();
    assert!(!ping(Station::Lb01, Station::Lb02));
    assert!(ping(Station::Client, Station::Lb01) && ping(Station::Client, Station::Lb02));

    lab.heal().unwrap();
    lab.deafen(Station::Lb01).unwrap();
    let capture = Capture::start(&lab[Station::Client], "icmp").unwrap();
    assert!(!ping(Station::Lb01, Station::Client));
    let frames = capture.stop().unwrap();
    assert!(
        frames
            .iter()
            .any(|frame| frame.contains("10.0.0.5 > 10.0.0.1: ICMP echo request"))
    );

    lab.heal().unwrap();
    assert!(ping(Station::Lb01, Station::Client));
}

/// The defect of keepalived that a lease is there to prevent, seen by the lab's own probes.
#[test]
#[ignore = "requires root"]
fn a_killed_keepalived_leaves_two_owners_and_a_stopped_one_does_not() {
    let lab = Lab::new("keepalived").unwrap();
    let timing = Timing::V3Tenth;
    let mut nodes = Station::NODES
        .map(|node| Keepalived::new(&lab[node], &[Router::oldboy(node, timing)]).unwrap());
    let _echoes = Station::NODES.map(|node| Echo::start(&lab[node], VIP_WWW, ECHO_PORT).unwrap());
    let holds = |node: Station| {
        lab[node]
            .output("ip", &["-o", "address"])
            .unwrap()
            .contains("10.0.0.3/24")
    };
    for node in &mut nodes {
        node.daemon.start().unwrap();
    }
    wait_for(
        Duration::from_secs(10),
        "lb01 to hold the VIP alone",
        || holds(Station::Lb01) && !holds(Station::Lb02),
    )
    .unwrap();

    // Stopped in order: lb02 follows within Skew_Time.
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    let probe = UdpProbe::start(
        &lab[Station::Client],
        echo_at(VIP_WWW),
        Duration::from_millis(1),
    )
    .unwrap();
    pause(Duration::from_millis(300)).unwrap();
    nodes[0].daemon.stop(Duration::from_secs(5)).unwrap();
    wait_for(Duration::from_secs(5), "lb02 to take over", || {
        holds(Station::Lb02)
    })
    .unwrap();
    pause(Duration::from_millis(500)).unwrap();
    let (report, observed) = (probe.stop().unwrap(), observer.stop().unwrap());
    let macs: Vec<_> = observed
        .tenures(VIP_WWW)
        .iter()
        .map(|tenure| tenure.mac)
        .collect();
    assert_eq!(macs.first(), Some(&Station::Lb01.mac()), "{macs:02x?}");
    assert_eq!(macs.last(), Some(&Station::Lb02.mac()), "{macs:02x?}");
    assert!(report.shares().contains_key(&Station::Lb01));
    assert!(report.shares().contains_key(&Station::Lb02));
    assert!(observed.announcements_by(VIP_WWW, Station::Lb02) > 0);

    // Killed: it cannot give the VIP up, and nobody else does.
    nodes[0].daemon.start().unwrap();
    wait_for(Duration::from_secs(10), "lb01 to take the VIP back", || {
        holds(Station::Lb01) && !holds(Station::Lb02)
    })
    .unwrap();
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    // Stopped first: the child of a killed parent is told to end, and would give the VIP up.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        nodes[0].daemon.signal(Scope::Tree, signal).unwrap();
    }
    wait_for(Duration::from_secs(5), "lb02 to take over", || {
        holds(Station::Lb02)
    })
    .unwrap();
    pause(Duration::from_millis(500)).unwrap();
    let observed = observer.stop().unwrap();
    let two = observed.two_owners(VIP_WWW);
    assert!(
        two > Duration::from_millis(300),
        "{two:?}: {:?}",
        observed.tenures(VIP_WWW)
    );
}

#[test]
#[ignore = "requires root"]
fn connections_and_requests_are_probed() {
    let lab = Lab::new("probes").unwrap();
    let mut web = WebServer::start(&lab[Station::Web02]).unwrap();
    let address = Station::Web02.address();
    let _echo = Echo::start(&lab[Station::Web02], address, ECHO_PORT).unwrap();
    let every = Duration::from_millis(5);
    let talks = TcpProbe::start(&lab[Station::Client], echo_at(address), 3, every).unwrap();
    let request = Request {
        to: SocketAddrV4::new(address, 80),
        host: "www.oldboy.com".to_owned(),
        path: "/upload/".to_owned(),
    };
    let requests = HttpProbe::start(&lab[Station::Client], request, every).unwrap();
    pause(Duration::from_millis(300)).unwrap();
    web.kill().unwrap();
    pause(Duration::from_millis(100)).unwrap();

    let talks = talks.stop().unwrap();
    assert_eq!(talks.len(), 3);
    for talk in &talks {
        assert_eq!(talk.lost(), 0, "{:?}", talk.errors());
        assert_eq!(talk.shares().keys().collect::<Vec<_>>(), [&Station::Web02]);
    }
    let requests = requests.stop().unwrap();
    assert_eq!(
        requests.shares().keys().collect::<Vec<_>>(),
        [&Station::Web02]
    );
    assert!(requests.samples.first().unwrap().answered.is_some());
    assert!(
        requests.lost() > 0
            && requests
                .errors()
                .contains_key("Connection refused (os error 111)")
    );
}
