//! The shared cases in the kernel: expected outcome, and agreement with the host in everything
//! that a run leaves behind.

use hafw_common::counters::Verdict;
use hafw_ebpf::fixtures::{
    Host, World,
    cases::{cases, departures},
    world::LOOPBACK_MTU,
};
use hafw_tests::{Kernel, in_namespace, ip, object};

#[test]
#[ignore = "requires CAP_BPF"]
fn every_case_goes_as_it_must_and_as_on_the_host() {
    let object = object::programs();
    in_namespace(|| {
        ip(&format!("link set lo mtu {LOOPBACK_MTU}"));
        run_cases(&mut Kernel::load(&object));
    });
}

fn run_cases(kernel: &mut Kernel) {
    for case in cases() {
        let name = case.name;
        let mut world = World::at(kernel.clock());
        (case.setup)(&mut world);
        // Sockets are the other module's: here nothing is connected.
        if !world.connections.is_empty() {
            continue;
        }
        let host = Host::new(&world);
        let mut expected = case.frame.clone();
        host.receive(&mut expected);
        kernel.install(&world);

        let (verdict, frame) = kernel.receive(&case.frame);

        assert_eq!(verdict, case.counter.verdict(), "{name}");
        assert_eq!(frame, case.out.unwrap_or(case.frame), "{name}: the frame");
        let observed = kernel.observed();
        assert_eq!(
            observed.counters.get(&case.counter),
            Some(&1),
            "{name}: {:?}",
            observed.counters
        );
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
        assert_eq!(observed, host.observed(), "{name}: kernel and host");
    }
}

#[test]
#[ignore = "requires CAP_BPF"]
fn every_departure_goes_as_it_must() {
    let mut kernel = Kernel::load(&object::programs());
    for departure in departures() {
        let mut world = World::at(kernel.clock());
        (departure.setup)(&mut world);
        kernel.install(&world);

        let leaves = kernel.send(&departure.frame);

        assert_eq!(leaves, departure.refused.is_none(), "{}", departure.name);
        let counters = kernel.observed().counters;
        let counted: Vec<_> = counters.keys().copied().collect();
        assert_eq!(
            counted,
            Vec::from_iter(departure.refused),
            "{}",
            departure.name
        );
    }
}
