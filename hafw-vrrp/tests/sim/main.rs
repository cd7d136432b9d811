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

/// Seeds that fail when the code has the defect: found by `cargo xtask sim --mutants`, or by chance. They
/// tell it as long as the simulation draws as it does; whoever changes that finds new ones in that way.
const TELLING: [(u64, &str); 12] = [
    (
        33_240_600_127_126,
        "a renewal does not drain the ring again",
    ),
    (93_117_357_648_057, "timers fire before the ring is drained"),
    (
        189_847_422_680_138,
        "the lease is renewed though the advert was not sent",
    ),
    (
        78_873_148_468_632,
        "the lease is written before the advert is sent",
    ),
    (273_157_287_411_517, "whoever yields keeps the lease"),
    (129_669_120_969_284, "no last word on stepping down"),
    (44_772_830_735_380, "announced once"),
    (199_986_583_856_114, "XDP looks only at who wins"),
    (
        37_569_447_236_808,
        "no doubt of what was heard within a renewal",
    ),
    (33_816_013_231_322, "no doubt of an old lease"),
    (
        5_098_876_164_296,
        "a command carries the time before the drain",
    ),
    (
        7_285_783_392_131,
        "a start ignores what was heard before it",
    ),
];

/// How many seeds run unless told otherwise.
const SEEDS: u64 = 500;

/// What happened in a seed that failed.
fn trace(seed: u64) -> String {
    let lines = run(seed, true).map_or_else(|failure| failure.lines, |(_, lines)| lines);
    Vec::from(lines).join("\n")
}

#[test]
fn seeds_that_told_a_defect_pass() {
    for (seed, defect) in TELLING {
        if let Err(Failure { text, .. }) = run(seed, false) {
            println!("{}", trace(seed));
            panic!("HAFW_SIM_SEED={seed}: {text}; as when {defect}");
        }
    }
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
