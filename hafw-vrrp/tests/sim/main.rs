//! A group of two to four nodes in a world that goes wrong: each runs [`hafw_vrrp::Engine`], and
//! between its controller and the wire a model of XDP that runs the predicates that XDP runs.
//!
//! `HAFW_SIM_SEED=<seed>` runs one seed and prints what happened; `HAFW_SIM_SEEDS=<number>` runs so
//! many. A seed means the same run for ever, as long as the code and the simulation do.

mod chaos;
mod client;
mod clock;
mod driver;
mod node;
mod params;
mod random;
mod scenario;
mod watch;
mod world;
mod xdp;

use std::env;

use crate::{
    scenario::{Failure, run, seeds},
    watch::Counts,
};

/// How many seeds run unless told otherwise.
const SEEDS: u64 = 300;

/// Runs a seed; if it fails, runs it again with a trace and tells all.
#[track_caller]
fn check(seed: u64) -> Counts {
    match run(seed, false) {
        Ok((counts, _)) => counts,
        Err(Failure { text, .. }) => {
            let lines = run(seed, true).map_or_else(|failure| failure.lines, |(_, lines)| lines);
            let trace: Vec<String> = lines.into();
            panic!("{}\nHAFW_SIM_SEED={seed}: {text}", trace.join("\n"));
        }
    }
}

#[test]
fn whatever_goes_wrong_the_invariants_hold() {
    if let Ok(seed) = env::var("HAFW_SIM_SEED") {
        let seed = seed.parse().expect("HAFW_SIM_SEED is a number");
        let (failed, lines) = match run(seed, true) {
            Ok((counts, lines)) => (format!("{counts:?}"), lines),
            Err(Failure { text, lines }) => (text, lines),
        };
        for line in lines {
            println!("{line}");
        }
        println!("{failed}");
        check(seed);
        return;
    }
    let number = env::var("HAFW_SIM_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number"));
    let mut total = Counts::default();
    for seed in seeds(number) {
        total.add(check(seed));
    }
    println!("{total:?}");
}
