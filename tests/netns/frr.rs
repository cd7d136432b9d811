//! hafw and FRR's vrrpd on one wire, version 3 over both families, each as the other's backup.

use std::{net::IpAddr, time::Duration};

use hafw_lab::{
    Lab, Station, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6, pause,
    peers::{Frr, Hafw, Router, Timing, hafw_config},
    probe::{Observation, Observer},
    wait_until,
};

use crate::pair::PATIENCE;

const VIPS: [IpAddr; 3] = [
    IpAddr::V4(VIP_WWW),
    IpAddr::V6(VIP_LINK_LOCAL),
    IpAddr::V6(VIP_WWW_V6),
];
const TIMING: Timing = Timing::V3Tenth;

fn lab(purpose: &str) -> Lab {
    let lab = Lab::new(purpose).unwrap();
    lab.enable_ipv6().unwrap();
    lab
}

fn hafw(lab: &Lab, station: Station) -> Hafw {
    let host = &lab[station];
    let four = Router::oldboy(station, TIMING);
    let six = format!(
        "\n[[virtual_router]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = {}\npriority = {}\n\
         advertisement_interval = \"{:?}\"\nvips = [\"{VIP_LINK_LOCAL}/64\", \"{VIP_WWW_V6}/64\"]\n",
        four.vrid,
        four.priority,
        TIMING.interval()
    );
    let config = hafw_config(host, &[four], &six);
    Hafw::start(host, &config).unwrap()
}

fn frr(lab: &Lab, station: Station) -> Frr {
    let priority = Router::oldboy(station, TIMING).priority;
    let mut peer = Frr::new(&lab[station], priority, TIMING.interval()).unwrap();
    peer.start().unwrap();
    peer
}

fn wait_for_hafw(ours: &mut Hafw, state: &str) {
    for router in ["oldboy", "six"] {
        ours.wait_for_router(router, state, PATIENCE).unwrap();
    }
}

fn wait_for_frr(peer: &Frr, state: &str) {
    wait_until(PATIENCE, format!("vrrpd to be {state}"), || {
        let states = peer.states().map_err(|error| error.to_string())?;
        if states.iter().all(|found| found == state) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    })
    .unwrap();
}

fn observe(lab: &Lab) -> Observation {
    let observer = Observer::start(&lab[Station::Observer], &VIPS).unwrap();
    pause(TIMING.active_down_interval(100) * 3).unwrap();
    observer.stop().unwrap()
}

/// Somebody else than hafw answered for every VIP.
#[track_caller]
fn assert_peers(seen: &Observation, ours: Station) {
    for vip in VIPS {
        assert_eq!(seen.replies_by(vip, ours), 0, "{vip}");
        assert!(!seen.tenures(vip).is_empty(), "{vip}");
    }
}

#[track_caller]
fn assert_ours(seen: &Observation, ours: Station) {
    for vip in VIPS {
        let macs: Vec<_> = seen.tenures(vip).iter().map(|tenure| tenure.mac).collect();
        assert!(
            !macs.is_empty() && macs.iter().all(|mac| *mac == ours.mac()),
            "{vip}: {macs:x?}"
        );
    }
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_frr() {
    let lab = lab("frr-behind");
    let mut peer = frr(&lab, Station::Lb01);
    wait_for_frr(&peer, "Master");
    let mut ours = hafw(&lab, Station::Lb02);
    wait_for_hafw(&mut ours, "backup");
    assert_peers(&observe(&lab), Station::Lb02);
    wait_for_hafw(&mut ours, "backup");

    peer.stop(PATIENCE).unwrap();
    wait_for_hafw(&mut ours, "active");

    peer.start().unwrap();
    wait_for_frr(&peer, "Master");
    wait_for_hafw(&mut ours, "backup");
    assert_peers(&observe(&lab), Station::Lb02);
}

#[test]
#[ignore = "requires root"]
fn frr_stands_by_for_hafw() {
    let lab = lab("frr-before");
    let mut ours = hafw(&lab, Station::Lb01);
    wait_for_hafw(&mut ours, "active");
    let peer = frr(&lab, Station::Lb02);
    wait_for_frr(&peer, "Backup");
    assert_ours(&observe(&lab), Station::Lb01);
    wait_for_frr(&peer, "Backup");

    ours.daemon.stop(PATIENCE).unwrap();
    wait_for_frr(&peer, "Master");
    assert_peers(&observe(&lab), Station::Lb01);

    ours.daemon.start().unwrap();
    wait_for_hafw(&mut ours, "active");
    wait_for_frr(&peer, "Backup");
    pause(Duration::from_secs(1)).unwrap();
    assert_ours(&observe(&lab), Station::Lb01);
}
