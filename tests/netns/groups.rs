//! Routers that move together, and delays that hold them.

use std::{
    fs,
    time::{Duration, Instant},
};

use hafw_lab::{
    Lab, Station, VIP_BBS, VIP_WWW,
    peers::{Hafw, Router, Timing, hafw_config},
    probe::Observer,
};

use crate::pair::PATIENCE;

const TIMING: Timing = Timing::V3Tenth;

/// A node with both of the lesson's routers, of one priority; `keys` go into each of them.
fn node(lab: &Lab, station: Station, keys: &str, rest: &str) -> Hafw {
    let host = &lab[station];
    let www = Router::oldboy(station, TIMING);
    let bbs = Router {
        name: "oldgirl".into(),
        vrid: 52,
        vip: VIP_BBS,
        ..www.clone()
    };
    let text = hafw_config(host, &[www, bbs], rest).replace(
        "interface = \"eth0\"\n",
        &format!("interface = \"eth0\"\n{keys}\n"),
    );
    // One of the two tracks the check, if there is one.
    let track = "vrid = 51\ntrack = [{ check = \"well\" }]\n";
    let text = if rest.is_empty() {
        text
    } else {
        text.replace("vrid = 51\n", track)
    };
    Hafw::start(host, &text).unwrap()
}

fn wait(node: &mut Hafw, state: &str) {
    for router in ["oldboy", "oldgirl"] {
        node.wait_for_router(router, state, PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "requires root"]
fn a_check_that_one_router_tracks_moves_its_whole_group_and_back() {
    let lab = Lab::new("group").unwrap();
    let flag = lab.dir().join("well");
    fs::write(&flag, "").unwrap();
    let check = format!(
        "[[check]]\nname = \"well\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{}\"]\n\
         user = \"root\"\ninterval = \"100ms\"\n",
        flag.display()
    );
    let group = "sync_group = \"site\"";
    let mut first = node(&lab, Station::Lb01, group, &check);
    let mut second = node(&lab, Station::Lb02, group, "");
    wait(&mut first, "active");
    wait(&mut second, "backup");
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW, VIP_BBS]).unwrap();

    fs::remove_file(&flag).unwrap();
    wait(&mut first, "fault");
    wait(&mut second, "active");
    let status = first.ask(&["status"]).unwrap();
    assert!(
        status.contains("a router of its sync group is in fault"),
        "{status}"
    );

    fs::write(&flag, "").unwrap();
    wait(&mut first, "active");
    wait(&mut second, "backup");
    let seen = observer.stop().unwrap();
    for vip in [VIP_WWW, VIP_BBS] {
        assert_eq!(seen.two_owners(vip), Duration::ZERO);
        let mut owners: Vec<_> = seen.tenures(vip).iter().map(|tenure| tenure.mac).collect();
        owners.dedup();
        let [one, two] = [Station::Lb01, Station::Lb02].map(Station::mac);
        assert_eq!(owners, [one, two, one], "{vip}");
    }
}

#[test]
#[ignore = "requires root"]
fn a_node_that_comes_back_waits_for_its_delays_before_it_preempts() {
    let lab = Lab::new("delays").unwrap();
    let mut second = node(&lab, Station::Lb02, "", "");
    wait(&mut second, "active");
    let keys = "preempt_delay = \"4s\"\nstart_delay = \"1s\"";
    let started = Instant::now();
    let mut first = node(&lab, Station::Lb01, keys, "");
    wait(&mut first, "active");
    assert!(started.elapsed() >= Duration::from_secs(5));
    wait(&mut second, "backup");

    // A peer that dies is succeeded without the delay.
    first.daemon.stop(PATIENCE).unwrap();
    wait(&mut second, "active");
    first.daemon.start().unwrap();
    wait(&mut first, "backup");
    second.daemon.stop(PATIENCE).unwrap();
    let stopped = Instant::now();
    wait(&mut first, "active");
    assert!(stopped.elapsed() < Duration::from_secs(4));
}
