//! The shared cases, on the host. The kernel runs the same ones: see `tests/datapath`.

mod adverts;

use std::{vec, vec::Vec};

use hafw_common::counters::{Counter, Verdict};

use crate::fixtures::{
    Clock, Host, World,
    cases::{cases, departures},
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

        assert_eq!(leaves, departure.leaves, "{}", departure.name);
        let counted = host.observed().counters.contains_key(&Counter::EgressArp);
        assert_eq!(counted, !leaves, "{}", departure.name);
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
    assert_eq!(missed, vec![&Counter::PassRunt; 0]);
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
        let outcome = Host::new(&world).receive(&mut vec![0xff; length]);
        assert_eq!(outcome.counter, Counter::PassRunt);
    }
}
