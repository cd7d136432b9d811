//! hafw and a real keepalived on one wire, each as the other's backup.

use std::time::Duration;

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_WWW, pause,
    peers::{Capture, Hafw, Keepalived, Router, Timing, hafw_config},
    probe::Observer,
};

use crate::pair::{PATIENCE, wait_for_address};

fn hafw(lab: &Lab, station: Station, timing: Timing) -> Hafw {
    let host = &lab[station];
    let config = hafw_config(host, &[Router::oldboy(station, timing)], "");
    Hafw::start(host, &config).unwrap()
}

fn keepalived(lab: &Lab, station: Station, timing: Timing) -> Keepalived {
    let mut peer = Keepalived::new(&lab[station], &[Router::oldboy(station, timing)]).unwrap();
    peer.daemon.start().unwrap();
    peer
}

fn wait_for_keepalived(lab: &Lab, station: Station, owns: bool) {
    wait_for_address(&lab[station], &format!("{VIP_WWW}/24"), owns);
}

fn hafw_backs_keepalived_up(timing: Timing) {
    let lab = Lab::new("behind").unwrap();
    let mut peer = keepalived(&lab, Station::Lb01, timing);
    wait_for_keepalived(&lab, Station::Lb01, true);
    let mut ours = hafw(&lab, Station::Lb02, timing);
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();

    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(timing.active_down_interval(100) * 2).unwrap();
    let standing_by = observer.stop().unwrap();
    assert!(standing_by.replies_by(VIP_WWW, Station::Lb01) > 10);
    assert_eq!(standing_by.replies_by(VIP_WWW, Station::Lb02), 0);

    peer.daemon.stop(PATIENCE).unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();

    peer.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb01, true);
}

fn keepalived_backs_hafw_up(timing: Timing) {
    let lab = Lab::new("before").unwrap();
    let mut ours = hafw(&lab, Station::Lb01, timing);
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let _peer = keepalived(&lab, Station::Lb02, timing);

    pause(timing.active_down_interval(100) * 3).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, false);
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();

    ours.daemon.stop(PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, true);

    ours.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, false);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_in_version_2() {
    hafw_backs_keepalived_up(Timing::V2Second);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_in_version_3() {
    hafw_backs_keepalived_up(Timing::V3Tenth);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_in_version_2() {
    keepalived_backs_hafw_up(Timing::V2Second);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_in_version_3() {
    keepalived_backs_hafw_up(Timing::V3Tenth);
}

#[test]
#[ignore = "requires root"]
fn a_killed_hafw_and_keepalived_are_never_two_owners() {
    let lab = Lab::new("mixed").unwrap();
    let mut ours = hafw(&lab, Station::Lb01, Timing::V3Tenth);
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let _peer = keepalived(&lab, Station::Lb02, Timing::V3Tenth);
    pause(Duration::from_secs(1)).unwrap();
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();

    ours.daemon.signal(Scope::Process, Signal::SIGKILL).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, true);
    pause(Duration::from_secs(1)).unwrap();

    let seen = observer.stop().unwrap();
    assert!(seen.replies_by(VIP_WWW, Station::Lb01) > 10);
    assert!(seen.replies_by(VIP_WWW, Station::Lb02) > 10);
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
}

#[test]
#[ignore = "requires root"]
fn tcpdump_finds_nothing_wrong_with_hafws_adverts() {
    for timing in [Timing::V2Second, Timing::V3Tenth] {
        let lab = Lab::new("wire").unwrap();
        let mut ours = hafw(&lab, Station::Lb01, timing);
        let capture = Capture::start(&lab[Station::Observer], "ip proto 112").unwrap();
        ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
        pause(timing.interval() * 3).unwrap();

        let lines = capture.stop().unwrap().join("\n");
        assert!(
            lines.contains(&format!("VRRPv{}", timing.version())),
            "{lines}"
        );
        assert!(
            lines.contains("vrid 51") && lines.contains("prio 150"),
            "{lines}"
        );
        assert!(
            !lines.contains("bad") && !lines.contains("wrong"),
            "{lines}"
        );
    }
}
