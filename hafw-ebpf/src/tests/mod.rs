//! The shared cases, on the host. The kernel runs the same ones: see `tests/datapath`.

mod adverts;
mod decap;
mod moves;

use std::vec::Vec;

use hafw_common::{
    counters::{Counter, Verdict},
    flow::{flow_hash4, slot_of},
    proto::IP_TCP,
};
use proptest::{collection::vec, prelude::any, prop_assert, prop_assert_eq, proptest};

use crate::fixtures::{
    Clock, Host, World,
    cases::{cases, departures},
    frames::{icmp4, tcp4},
    frames_v6::tcp6,
    world::{
        CLIENT, CLIENT_ADDRESS, CLIENT_ADDRESS_V6, FIRST_SLOT, OTHER_IFINDEX, OURS, ROUTER_V2,
        ROUTER_V6, SLOTS, TUNNEL_PORT_V6, VIP_BOTH, VIP_V6_BOTH, backend_mac,
    },
};

#[test]
fn every_case_goes_as_it_must() {
    for case in cases() {
        let mut world = World::at(Clock::HOST);
        (case.setup)(&mut world);
        let host = Host::new(&world);
        let mut frame = case.frame.clone();

        let outcome = host.receive(&mut frame);

        let name = case.name;
        assert_eq!(outcome.counter, case.counter, "{name}");
        assert_eq!(frame, case.out.unwrap_or(case.frame), "{name}: the frame");
        let observed = host.observed();
        let verdicts = observed
            .counters
            .iter()
            .filter(|(c, _)| c.verdict() != Verdict::Event);
        assert_eq!(
            verdicts.map(|(_, n)| n).sum::<u64>(),
            1,
            "{name}: {:?}",
            observed.counters
        );
        (case.check)(&observed);
    }
}

#[test]
fn every_departure_goes_as_it_must() {
    for departure in departures() {
        let mut world = World::at(Clock::HOST);
        (departure.setup)(&mut world);
        let host = Host::new(&world);

        let leaves = host.send(&departure.frame);

        assert_eq!(leaves, departure.refused.is_none(), "{}", departure.name);
        let counters = host.observed().counters;
        let counted: Vec<_> = counters.keys().copied().collect();
        assert_eq!(
            counted,
            Vec::from_iter(departure.refused),
            "{}",
            departure.name
        );
    }
}

/// A verdict that no case reaches has no test.
#[test]
fn the_cases_reach_every_verdict() {
    let reached: Vec<_> = cases().iter().map(|case| case.counter).collect();
    let missed: Vec<_> = Counter::ALL
        .iter()
        .filter(|counter| counter.verdict() != Verdict::Event && !reached.contains(counter))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn a_frame_below_an_ethernet_header_passes() {
    let world = World::at(Clock::HOST);
    for length in 0..14 {
        let outcome = Host::new(&world).receive(&mut std::vec![0xff; length]);
        assert_eq!(outcome.counter, Counter::PassRunt);
    }
}

/// The server side of this law is `hafw trace` and every other node.
#[test]
fn a_flow_and_errors_about_it_go_where_the_hash_says() {
    let mut world = World::at(Clock::HOST);
    world.own(ROUTER_V2);
    for port in 1024..1324u16 {
        let hash = flow_hash4(
            CLIENT_ADDRESS,
            VIP_BOTH,
            port.to_be_bytes(),
            80u16.to_be_bytes(),
            IP_TCP,
        );
        let slot = FIRST_SLOT + slot_of(hash, SLOTS);
        let expected = backend_mac(world.slots[&slot].current());
        let segment = tcp4((CLIENT_ADDRESS, port), (VIP_BOTH, 80), 0x10);
        let reply = tcp4((VIP_BOTH, 80), (CLIENT_ADDRESS, port), 0x10);
        let error = icmp4([192, 0, 2, 1], VIP_BOTH, 3, &reply.bytes());
        for ip in [segment, error] {
            let mut frame = ip.frame(OURS, CLIENT);

            let outcome = Host::new(&world).receive(&mut frame);

            assert_eq!(outcome.counter, Counter::TxSteer);
            assert_eq!(frame[..6], expected, "port {port}");
        }
    }
}

#[test]
fn deadlines_in_jiffies_are_exclusive() {
    let until = Clock::HOST.jiffies + 1;
    let cases = [
        (until - 1, Counter::DropNotServing),
        (until, Counter::TxSteer),
    ];
    for (serve_until, expected) in cases {
        let mut world = World::at(Clock::HOST);
        world.lease(ROUTER_V2).serve_until = serve_until;
        let mut frame = tcp4((CLIENT_ADDRESS, 4000), (VIP_BOTH, 80), 0x10).frame(OURS, CLIENT);

        let outcome = Host::new(&world).receive(&mut frame);

        assert_eq!(outcome.counter, expected);
    }
    let cases = [
        (until - 1, Counter::DropStandby),
        (until, Counter::PassLocal),
    ];
    for (local_until, expected) in cases {
        let mut world = World::at(Clock::HOST);
        world.lease(ROUTER_V2).local_until = local_until;
        let mut frame = tcp4((CLIENT_ADDRESS, 4000), (VIP_BOTH, 443), 0x10).frame(OURS, CLIENT);

        let outcome = Host::new(&world).receive(&mut frame);

        assert_eq!(outcome.counter, expected);
    }
}

/// User space reads the ring from its own map; that it is full must not save a lease.
#[test]
fn a_full_ring_is_counted_and_does_not_save_the_lease() {
    let higher = cases()
        .into_iter()
        .find(|case| case.name == "a higher priority ends the lease");
    let mut frame = higher.expect("the case is there").frame;
    let mut world = World::at(Clock::HOST);
    world.own(ROUTER_V2);
    world.ring_full = true;
    let host = Host::new(&world);

    host.receive(&mut frame);

    let observed = host.observed();
    assert_eq!(observed.counters[&Counter::RingFull], 1);
    assert_eq!(observed.seen[&ROUTER_V2].overflow, 1);
    assert!(observed.seen[&ROUTER_V2].lost);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut frame in vec(any::<u8>(), 0..2000), ours in any::<bool>()) {
        let mut world = World::at(Clock::HOST);
        world.own(ROUTER_V2);
        if ours && frame.len() >= 6 {
            frame[..6].copy_from_slice(&OURS);
        }
        let length = frame.len();

        let outcome = Host::new(&world).receive(&mut frame);

        prop_assert_eq!(frame.len(), length);
        prop_assert!(outcome.counter.verdict() != Verdict::Event);
        let _ = Host::new(&world).send(&frame);
    }
}

/// RFC 8200 §5. On the host alone: the kernel test has one link, of 1500 bytes.
#[test]
fn no_sender_over_ipv6_is_asked_to_go_below_the_least_mtu() {
    let mut world = World::at(Clock::HOST);
    world.own(ROUTER_V6);
    world.mtus.insert(OTHER_IFINDEX, 1300);
    let host = Host::new(&world);
    let client = (CLIENT_ADDRESS_V6, 40_000);
    for (length, counter) in [(1280, Counter::DropTooLong), (1281, Counter::TxTooBig)] {
        let mut segment = tcp6(client, (VIP_V6_BOTH, TUNNEL_PORT_V6), 0x18);
        segment.payload.resize(length - 40, 0);
        let mut frame = segment.frame(OURS, CLIENT);

        let outcome = host.receive(&mut frame);

        assert_eq!(outcome.counter, counter, "{length}");
        if counter == Counter::TxTooBig {
            assert_eq!(frame[14 + 40 + 4..][..4], 1280u32.to_be_bytes());
        }
    }
}
