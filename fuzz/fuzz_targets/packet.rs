//! The packet path over any bytes, and over the shared cases' frames with bytes changed.
//!
//! The first byte says what the node owns, the second whether the rest is a frame or edits of a
//! case's frame.
#![no_main]

use std::sync::LazyLock;

use hafw_common::counters::{Counter, Verdict};
use hafw_ebpf::fixtures::{Clock, Host, World, cases::cases};
use libfuzzer_sys::fuzz_target;

static FRAMES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| cases().into_iter().map(|case| case.frame).collect());

static WORLDS: LazyLock<[World; 4]> = LazyLock::new(|| {
    let with = |change: fn(&mut World, u32)| {
        let mut world = World::at(Clock::HOST);
        let routers: Vec<_> = world.routers.keys().copied().collect();
        routers
            .into_iter()
            .for_each(|router| change(&mut world, router));
        world
    };
    [
        with(|_, _| ()),
        with(World::own),
        with(World::grace),
        with(|world, router| {
            world.own(router);
            world.hand_on(router);
        }),
    ]
});

fn frame(input: &[u8]) -> Vec<u8> {
    match input {
        [kind, index, edits @ ..] if kind & 1 == 1 => {
            let mut frame = FRAMES[usize::from(*index) % FRAMES.len()].clone();
            for edit in edits.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % frame.len();
                frame[at] = edit[2];
            }
            frame
        }
        [_, bytes @ ..] => bytes.to_vec(),
        [] => Vec::new(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((state, input)) = input.split_first() else {
        return;
    };
    let received = frame(input);
    let host = Host::new(&WORLDS[usize::from(*state) % WORLDS.len()]);
    let mut left = received.clone();

    let outcome = host.receive(&mut left);

    let counters = host.observed().counters;
    let verdicts = counters
        .iter()
        .filter(|(counter, _)| counter.verdict() != Verdict::Event);
    assert_eq!(
        verdicts.map(|(_, n)| n).sum::<u64>(),
        1,
        "one verdict a frame"
    );
    match outcome.counter.verdict() {
        Verdict::Pass | Verdict::Drop => assert_eq!(left, received, "nothing else is rewritten"),
        Verdict::Tx | Verdict::Redirect if outcome.counter == Counter::TxArpReply => {
            assert_eq!(left.get(42..), received.get(42..), "padding stays");
        }
        Verdict::Tx | Verdict::Redirect => {
            assert_eq!(
                left.get(12..),
                received.get(12..),
                "only the MACs are rewritten"
            );
        }
        Verdict::Event => panic!("an event is no verdict"),
    }
    let _ = host.send(&received);
});
