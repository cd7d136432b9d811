//! Host and kernel make the same of any frame: arbitrary bytes, and the shared cases' frames with
//! bytes changed, cut off and added.

use std::{cell::RefCell, collections::BTreeMap};

use hafw_ebpf::fixtures::{Host, Observed, World, cases::cases, world::OURS};
use hafw_tests::{Kernel, object};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};

/// How many frames; each is one system call and a dozen map reads.
const FRAMES: u32 = 6000;

/// The longest frame that fits the buffer of `BPF_PROG_TEST_RUN` with room to spare.
const LONGEST: usize = 1600;

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<_> = cases().into_iter().map(|case| case.frame).collect();
    let noise = vec(any::<u8>(), 14..200).prop_map(|mut bytes| {
        // Half of it would fail at the first check otherwise.
        if bytes[0] & 1 == 0 {
            bytes[..6].copy_from_slice(&OURS);
        }
        bytes
    });
    let edits = vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4);
    let changed = (0..known.len(), edits).prop_map({
        let known = known.clone();
        move |(index, edits)| {
            let mut frame = known[index].clone();
            // The MACs stay: what is behind them is of more interest.
            for (place, value) in edits {
                let place = 12 + place.index(frame.len() - 12);
                frame[place] = value;
            }
            frame
        }
    });
    let resized = (0..known.len(), 14..LONGEST).prop_map(move |(index, length)| {
        let mut frame = known[index].clone();
        frame.resize(length.min(frame.len() + 64), 0xee);
        frame
    });
    prop_oneof![1 => noise, 6 => changed, 2 => resized]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Standby,
    Owner,
    Grace,
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Standby), Just(State::Owner), Just(State::Grace)]
}

fn world(kernel: &Kernel, state: State) -> World {
    let mut world = World::at(kernel.clock());
    let routers: Vec<_> = world.routers.keys().copied().collect();
    for router in routers {
        match state {
            State::Standby => (),
            State::Owner => {
                world.own(router);
                // The renewal does not get stale while the test runs.
                let until = world.lease(router).attract_until;
                world.lease(router).renewed_at = until;
            }
            State::Grace => world.grace(router),
        }
    }
    world
}

#[test]
#[ignore = "requires CAP_BPF"]
fn host_and_kernel_make_the_same_of_any_frame() {
    let mut runner = TestRunner::new(Config {
        cases: FRAMES,
        failure_persistence: None,
        ..Config::default()
    });
    let tested = RefCell::new(BTreeMap::new());
    let kernel = RefCell::new(Kernel::load(&object::programs()));
    let installed: RefCell<Option<(State, World)>> = RefCell::new(None);
    let outcome = runner.run(&(states(), frames()), |(state, frame)| {
        let mut kernel = kernel.borrow_mut();
        let mut installed = installed.borrow_mut();
        if installed.as_ref().is_some_and(|(last, _)| *last == state) {
            kernel.forget();
        } else {
            let world = world(&kernel, state);
            kernel.install(&world);
            *installed = Some((state, world));
        }
        let (_, world) = installed.as_ref().expect("just installed");
        let host = Host::new(world);
        let mut expected = frame.clone();
        let outcome = host.receive(&mut expected);

        let (verdict, out) = kernel.receive(&frame);

        *tested.borrow_mut().entry(outcome.counter).or_insert(0) += 1;
        assert_eq!(verdict, outcome.counter.verdict());
        assert_eq!(out, expected, "the frame");
        let left: Observed = kernel.observed();
        assert_eq!(left, host.observed());
        Ok(())
    });
    println!("{:?}", tested.borrow());
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
