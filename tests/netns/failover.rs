//! What clients and neighbours see when a node or its link fails, and when it comes back.

use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use hafw_lab::{
    Lab, Signal, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, Timing},
    probe::{Observation, Observer, Report, TcpProbe, UdpProbe},
    wait_until,
};

use crate::pair::{Pair, dsr_service};

struct Probes {
    udp: UdpProbe,
    observer: Observer,
}

struct Found {
    udp: Report,
    owners: Observation,
}

/// Two nodes with an L4 service over UDP and TCP, and the echoes behind it.
pub(crate) fn start(purpose: &str, timing: Timing) -> (Pair, [Echo; 3]) {
    let lab = Lab::new(purpose).unwrap();
    let echoes = Station::BACKENDS.map(|web| {
        lab[web].accept_vip(VIP_WWW).unwrap();
        Echo::start(&lab[web], VIP_WWW, ECHO_PORT).unwrap()
    });
    let services = ["udp", "tcp"].map(|of| dsr_service(of, VIP_WWW, ECHO_PORT, ""));
    (Pair::start(lab, timing, &services.concat()), echoes)
}

/// A client that uses the service once a millisecond.
fn probe(pair: &Pair) -> Probes {
    let to = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    let client = &pair.lab[Station::Client];
    let probes = Probes {
        udp: UdpProbe::start(client, to, Duration::from_millis(1)).unwrap(),
        observer: Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap(),
    };
    // Something to compare with: who owned the VIP before, and that it answered.
    pause(Duration::from_millis(300)).unwrap();
    probes
}

impl Probes {
    fn stop(self) -> Found {
        // What is on its way arrives.
        pause(Duration::from_millis(300)).unwrap();
        Found {
            udp: self.udp.stop().unwrap(),
            owners: self.observer.stop().unwrap(),
        }
    }
}

impl Found {
    fn assert_one_owner_at_a_time(&self, owners: &[Station]) {
        assert_eq!(self.owners.two_owners(VIP_WWW), Duration::ZERO);
        let tenures = self.owners.tenures(VIP_WWW);
        let mut seen: Vec<_> = tenures.iter().map(|tenure| tenure.mac).collect();
        // A silence of the same owner, on a busy machine.
        seen.dedup();
        let owners: Vec<_> = owners.iter().map(|owner| owner.mac()).collect();
        assert_eq!(seen, owners);
    }

    fn assert_nothing_lost(&self) {
        assert!(self.udp.samples.len() > 100, "the client hardly asked");
        assert_eq!(self.udp.lost(), 0, "gaps: {:?}", self.udp.gaps());
    }
}

#[test]
#[ignore = "requires root"]
fn a_graceful_stop_loses_no_packet_of_a_service() {
    let (mut pair, _echoes) = start("term", Timing::V3Tenth);
    let probes = probe(&pair);

    pair.nodes[0].daemon.stop(Duration::from_secs(20)).unwrap();
    pair.wait(1, "active");

    let found = probes.stop();
    found.assert_nothing_lost();
    found.assert_one_owner_at_a_time(&[Station::Lb01, Station::Lb02]);
}

#[test]
#[ignore = "requires root"]
fn a_killed_controller_leaves_one_owner_and_its_service_running() {
    let (mut pair, _echoes) = start("kill", Timing::V3Tenth);
    let probes = probe(&pair);

    pair.signal(0, Signal::SIGKILL);
    pair.wait(1, "active");

    let found = probes.stop();
    found.assert_nothing_lost();
    found.assert_one_owner_at_a_time(&[Station::Lb01, Station::Lb02]);
}

#[test]
#[ignore = "requires root"]
fn a_stopped_controller_that_goes_on_does_not_fight() {
    let (mut pair, _echoes) = start("stop", Timing::V3Tenth);
    let probes = probe(&pair);

    pair.signal(0, Signal::SIGSTOP);
    pair.wait(1, "active");
    pause(Duration::from_secs(2)).unwrap();
    pair.signal(0, Signal::SIGCONT);
    pair.settle();

    let found = probes.stop();
    found.assert_nothing_lost();
    // One takeover and one orderly preemption, nothing else.
    found.assert_one_owner_at_a_time(&[Station::Lb01, Station::Lb02, Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn a_restart_within_the_lease_loses_nothing_and_moves_nothing() {
    let (mut pair, _echoes) = start("again", Timing::V2Second);
    let probes = probe(&pair);

    pair.signal(0, Signal::SIGKILL);
    pair.nodes[0]
        .daemon
        .wait_for_end(Duration::from_secs(5))
        .unwrap();
    pair.nodes[0].daemon.start().unwrap();
    pair.settle();
    pause(Duration::from_secs(5)).unwrap();

    assert!(pair.nodes[0].status().unwrap().adopted, "{}", pair.logs());
    let found = probes.stop();
    found.assert_nothing_lost();
    found.assert_one_owner_at_a_time(&[Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn failback_loses_nothing() {
    let (mut pair, _echoes) = start("back", Timing::V3Tenth);
    pair.nodes[0].daemon.stop(Duration::from_secs(20)).unwrap();
    pair.wait(1, "active");
    let probes = probe(&pair);

    pair.nodes[0].daemon.start().unwrap();
    pair.settle();

    let found = probes.stop();
    found.assert_nothing_lost();
    found.assert_one_owner_at_a_time(&[Station::Lb02, Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn a_lost_carrier_gives_the_vip_up() {
    let (mut pair, _echoes) = start("carrier", Timing::V3Tenth);
    let probes = probe(&pair);

    pair.lab.set_carrier(Station::Lb01, false).unwrap();
    pair.wait(0, "fault");
    pair.wait(1, "active");
    pair.lab.set_carrier(Station::Lb01, true).unwrap();
    pair.settle();

    let found = probes.stop();
    found.assert_one_owner_at_a_time(&[Station::Lb01, Station::Lb02, Station::Lb01]);
    assert!(
        found.udp.lost() < found.udp.samples.len(),
        "nothing was answered"
    );
}

#[test]
#[ignore = "requires root"]
fn a_partition_heals_without_a_black_hole() {
    let (mut pair, _echoes) = start("part", Timing::V2Second);
    let probes = probe(&pair);
    pair.lab.cut(Station::Lb01).unwrap();
    pair.wait(1, "active");
    pause(Duration::from_secs(20)).unwrap();

    let healed = Instant::now();
    pair.lab.heal().unwrap();
    pair.settle();
    pause(Duration::from_secs(5)).unwrap();

    let until = Instant::now();
    let after = probes.stop();
    let udp = after.udp.within(healed, until);
    // Far from the tens of seconds that neighbours with an old MAC would take; the bench has the
    // number.
    assert!(
        udp.longest_gap() < Duration::from_secs(1),
        "gap {:?}",
        udp.longest_gap()
    );
    let last = after
        .owners
        .tenures(VIP_WWW)
        .last()
        .map(|tenure| tenure.mac);
    assert_eq!(last, Some(Station::Lb01.mac()));
}

#[test]
#[ignore = "requires root"]
fn a_firewall_that_drops_adverts_makes_no_second_owner() {
    let (mut pair, _echoes) = start("filter", Timing::V3Tenth);
    let probes = probe(&pair);

    for station in Station::NODES {
        pair.lab[station].drop_input("ip protocol 112").unwrap();
        pair.lab[station].drop_output("ip protocol 112").unwrap();
    }
    pause(Duration::from_secs(3)).unwrap();
    pair.settle();

    let found = probes.stop();
    found.assert_nothing_lost();
    found.assert_one_owner_at_a_time(&[Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn connections_through_a_service_survive_the_death_of_the_active() {
    let (mut pair, _echoes) = start("tcp", Timing::V3Tenth);
    let to = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    let client = &pair.lab[Station::Client];
    let talks = TcpProbe::start(client, to, 20, Duration::from_millis(5)).unwrap();
    pause(Duration::from_millis(300)).unwrap();

    pair.signal(0, Signal::SIGKILL);
    pair.wait(1, "active");
    // Beyond the time that the dead node's XDP goes on steering.
    pause(Duration::from_secs(7)).unwrap();

    let reports = talks.stop().unwrap();
    assert_eq!(reports.len(), 20);
    for report in &reports {
        assert!(report.samples.len() > 500, "a connection stood still");
        assert!(report.errors().is_empty(), "{:?}", report.errors());
    }
}

#[test]
#[ignore = "requires root"]
fn a_node_that_lost_power_is_replaced_within_the_down_interval() {
    let (mut pair, _echoes) = start("power", Timing::V3Tenth);
    let probes = probe(&pair);

    pair.lab.cut(Station::Lb01).unwrap();
    pair.wait(1, "active");
    wait_until(Duration::from_secs(5), "the client to reach lb02", || {
        pair.lab[Station::Client]
            .output("ping", &["-c", "1", "-W", "1", "10.0.0.6"])
            .map_err(|error| error.to_string())
    })
    .unwrap();
    pause(Duration::from_secs(1)).unwrap();

    let found = probes.stop();
    // Active_Down_Interval is 361 ms at most; the rest is for a busy machine.
    assert!(
        found.udp.longest_gap() < Duration::from_secs(2),
        "{:?}",
        found.udp.longest_gap()
    );
    assert!(found.udp.lost() > 0, "the cut did not cut");
}
