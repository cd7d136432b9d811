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
const SEEDS: u64 = 500;

/// What happened in a seed that failed.
fn trace(seed: u64) -> String {
    let lines = run(seed, true).map_or_else(|failure| failure.lines, |(_, lines)| lines);
    Vec::from(lines).join("\n")
}

#[test]
fn whatever_goes_wrong_the_invariants_hold() {
    if let Ok(seed) = env::var("HAFW_SIM_SEED") {
        let seed = seed.parse().expect("HAFW_SIM_SEED is a number");
        println!("{}", trace(seed));
        let (counts, _) = run(seed, false).unwrap_or_else(|Failure { text, .. }| panic!("{text}"));
        println!("{counts:?}");
        return;
    }
    let number = env::var("HAFW_SIM_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number"));
    let mut total = Counts::default();
    let mut failures = Vec::new();
    for seed in seeds(number) {
        match run(seed, false) {
            Ok((counts, _)) => total.add(&counts),
            Err(Failure { text, .. }) => failures.push((seed, text)),
        }
    }
    if let Some((first, _)) = failures.first() {
        println!("{}", trace(*first));
    }
    let failures: Vec<String> = failures
        .iter()
        .map(|(seed, text)| format!("HAFW_SIM_SEED={seed}: {text}"))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {number} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    println!("{total:?}");
    let missing = total.missing();
    assert!(
        number < SEEDS || missing.is_empty(),
        "never happened: {missing:?}"
    );
}
