//! What can happen to a controller, and to XDP's ring: two nodes never answer for a VIP, and one does
//! again. `docs/lease.md` has the bound for each.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hafw_ebpf::fixtures::frames::{Advert, Checksum};
use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_WWW, pause,
    peers::{Hafw, Router, Timing, hafw_config},
    probe::{Observation, Observer},
    wait_until,
};
use hafw_tests::PacketSocket;

use crate::pair::{PATIENCE, Pair};

fn observed(purpose: &str) -> (Pair, Observer) {
    let pair = Pair::start(Lab::new(purpose).unwrap(), Timing::V3Tenth, "");
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();
    (pair, observer)
}

#[track_caller]
fn assert_one_owner_at_a_time(seen: &Observation) {
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
}

/// Processes that the kernel does not run, as when a container is paused: no signal reaches them.
struct Frozen(PathBuf);

impl Frozen {
    fn freeze(name: &str, pid: u32) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts.lines().find_map(|mount| {
            let mut words = mount.split(' ').skip(1);
            let (at, kind) = (words.next()?, words.next()?);
            (kind == "cgroup2").then(|| at.to_owned())
        });
        let group = Path::new(&root.expect("cgroup2 is mounted")).join(format!("hafw-{name}"));
        fs::create_dir(&group).unwrap();
        let frozen = Self(group);
        fs::write(frozen.0.join("cgroup.procs"), pid.to_string()).unwrap();
        fs::write(frozen.0.join("cgroup.freeze"), "1").unwrap();
        wait_until(PATIENCE, "the processes to be frozen", || {
            let events = fs::read_to_string(frozen.0.join("cgroup.events")).unwrap();
            if events.contains("frozen 1") {
                Ok(())
            } else {
                Err(events)
            }
        })
        .unwrap();
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        let procs = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let parent = self.0.parent().map(|root| root.join("cgroup.procs"));
        for pid in procs.lines() {
            let _ = parent.as_ref().map(|parent| fs::write(parent, pid));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "requires root"]
fn a_container_that_is_paused_for_longer_than_its_lease_leaves_one_owner() {
    let (mut pair, observer) = observed("frozen");
    let pid = pair.nodes[0].daemon.pid().unwrap();

    let frozen = Frozen::freeze(pair.lab[Station::Lb01].namespace().name(), pid);
    pair.wait(1, "active");
    pause(Duration::from_secs(1)).unwrap();
    drop(frozen);
    pair.settle();

    let seen = observer.stop().unwrap();
    assert_one_owner_at_a_time(&seen);
    assert_eq!(seen.flips(VIP_WWW), 2, "one takeover, one preemption");
}

#[test]
#[ignore = "requires root"]
fn a_controller_that_hardly_runs_is_no_second_owner() {
    let (mut pair, observer) = observed("starved");

    // It gets a few milliseconds now and then, and its lease lasts for 297.
    for stopped in [500, 310, 290, 700, 300, 350, 1_000, 280] {
        pair.signal(0, Signal::SIGSTOP);
        pause(Duration::from_millis(stopped)).unwrap();
        pair.signal(0, Signal::SIGCONT);
        pause(Duration::from_millis(3)).unwrap();
    }
    pair.settle();

    assert_one_owner_at_a_time(&observer.stop().unwrap());
}

#[test]
#[ignore = "requires root"]
fn a_controller_that_is_killed_anywhere_in_its_stop_leaves_one_owner() {
    let (mut pair, observer) = observed("midway");

    // Before, in and after the handover that a stop begins with, and in the grace that follows.
    for after in [0, 20, 120, 330, 400, 600] {
        pair.signal(0, Signal::SIGTERM);
        pause(Duration::from_millis(after)).unwrap();
        pair.signal(0, Signal::SIGKILL);
        pair.wait(1, "active");
        pair.nodes[0].daemon.start().unwrap();
        pair.settle();
    }

    assert_one_owner_at_a_time(&observer.stop().unwrap());
}

#[test]
#[ignore = "requires root"]
fn priorities_that_cross_leave_one_owner() {
    let (mut pair, observer) = observed("crossed");
    let swap = |text: String| {
        let (high, low) = ("priority = 150", "priority = 100");
        if text.contains(high) {
            text.replace(high, low)
        } else {
            text.replace(low, high)
        }
    };

    for (active, backup) in [(1, 0), (0, 1)] {
        for node in &pair.nodes {
            let text = fs::read_to_string(node.config()).unwrap();
            fs::write(node.config(), swap(text)).unwrap();
        }
        for node in 0..2 {
            pair.signal(node, Signal::SIGHUP);
        }
        pair.wait(active, "active");
        pair.wait(backup, "backup");
    }

    let seen = observer.stop().unwrap();
    assert_one_owner_at_a_time(&seen);
    assert_eq!(seen.flips(VIP_WWW), 2);
}

fn advert(priority: u8) -> Vec<u8> {
    let router = Router::oldboy(Station::Lb02, Timing::V2Second);
    let advert = Advert {
        source: Station::Lb02.address().octets(),
        mac: Station::Lb02.mac(),
        version: 2,
        kind: 1,
        vrid: router.vrid,
        priority,
        addresses: vec![router.vip.octets()],
        interval: [1, 1],
        auth_data: *b"1111\0\0\0\0",
        checksum: Checksum::PseudoHeader,
    };
    advert.frame()
}

#[test]
#[ignore = "requires root"]
fn a_winner_that_found_the_ring_full_is_met_all_the_same() {
    // The ring holds about 2,500 of them, and the wire loses some. Within what is left of the lease.
    const FLOOD: Duration = Duration::from_millis(1_200);
    let lab = Lab::new("flooded").unwrap();
    let host = &lab[Station::Lb01];
    let routers = [Router::oldboy(Station::Lb01, Timing::V2Second)];
    let mut node = Hafw::start(host, &hafw_config(host, &routers, "")).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let sender = lab[Station::Lb02]
        .namespace()
        .run(|| PacketSocket::open("eth0"))
        .unwrap();
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();

    node.daemon.signal(Scope::Process, Signal::SIGSTOP).unwrap();
    let lower = advert(1);
    let end = Instant::now() + FLOOD;
    while Instant::now() < end {
        for _ in 0..64 {
            sender.send(&lower).unwrap();
        }
        pause(Duration::from_millis(1)).unwrap();
    }
    sender.send(&advert(254)).unwrap();
    // XDP alone ends the lease.
    pause(Duration::from_millis(300)).unwrap();
    let silent = Instant::now();
    pause(Duration::from_millis(300)).unwrap();
    let heard = Instant::now();
    node.daemon.signal(Scope::Process, Signal::SIGCONT).unwrap();
    wait_until(PATIENCE, "the node to step down for the winner", || {
        let log = fs::read_to_string(node.daemon.log()).unwrap();
        if log.contains("heard a router that has precedence") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .unwrap();

    let status = node.status().unwrap();
    assert!(
        status.json["counters"]["ring_full"].as_u64() > Some(0),
        "the ring did not overflow: {}",
        status.json["counters"]
    );
    let seen = observer.stop().unwrap();
    let meanwhile = seen.within(silent, heard);
    assert_eq!(meanwhile.replies_by(VIP_WWW, Station::Lb01), 0);
}
