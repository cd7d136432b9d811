//! A group of two to five nodes in a world that goes wrong: each runs [`hafw_vrrp::Engine`], and
//! between its controller and the wire a model of XDP that runs the predicates that XDP runs.
//!
//! `HAFW_SIM_SEED=<seed>` runs one seed and prints what happened; `HAFW_SIM_SEEDS=<number>` runs so
//! many, and with `HAFW_SIM_SHARD=<i>/<n>` every n-th of them; with `HAFW_SIM_FIRST=1` not beyond the
//! first that fails, and without a word on it but that. A seed means the same run for ever, as
//! long as the code and the simulation do. Of the first that fails, what led to it is printed, without
//! the disturbances that it does without. `cargo xtask sim` runs many on all cores.

mod chaos;
mod client;
mod clock;
mod counts;
mod driver;
mod life;
mod network;
mod node;
mod params;
mod random;
mod reconfigure;
mod scenario;
mod script;
mod watch;
mod world;
mod xdp;

use std::env;

use crate::{
    counts::Counts,
    scenario::{Failure, run, seeds, shrink},
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
        println!("{counts}");
        return;
    }
    let number = env::var("HAFW_SIM_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number"));
    let (shard, shards) = shard();
    let mut total = Counts::default();
    let mut failures = Vec::new();
    for seed in seeds(number).skip(shard).step_by(shards) {
        match run(seed, false) {
            Ok((counts, _)) => total.add(&counts),
            Err(failure) if env::var_os("HAFW_SIM_FIRST").is_some() => {
                panic!("HAFW_SIM_SEED={seed}: {}", failure.text);
            }
            Err(failure) => failures.push((seed, failure)),
        }
    }
    if let Some((seed, failure)) = failures.first() {
        let (least, left, all) = shrink(*seed, failure);
        println!("{}", Vec::from(least.lines).join("\n"));
        println!(
            "HAFW_SIM_SEED={seed} with {left} of its {all} disturbances: {}",
            least.text
        );
    }
    let failures: Vec<String> = failures
        .iter()
        .map(|(seed, Failure { text, .. })| format!("HAFW_SIM_SEED={seed}: {text}"))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {number} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    println!("{total}");
    let missing = total.missing();
    assert!(
        number / (shards as u64) < SEEDS || missing.is_empty(),
        "never happened: {missing:?}"
    );
}

/// Which part of the seeds is this process's.
fn shard() -> (usize, usize) {
    let Ok(text) = env::var("HAFW_SIM_SHARD") else {
        return (0, 1);
    };
    let parts = text.split_once('/').and_then(|(shard, shards)| {
        let shard: usize = shard.parse().ok()?;
        let shards = shards.parse().ok()?;
        (shard < shards).then_some((shard, shards))
    });
    parts.expect("HAFW_SIM_SHARD is <i>/<n>, and i is less than n")
}
