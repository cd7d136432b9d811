//! Prints how many packets a second a director forwards, beside nftables: `cargo xtask bench l4`.
//! Needs root. `--quick`: one short round.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::time::Duration;

use hafw_tests::{
    forward_bench::{LOADS, Plan, measure},
    object,
};

fn main() {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not measure.
    let given = |option: &str| std::env::args().any(|arg| arg == option);
    if !given("--bench") {
        return;
    }
    let plan = if given("--quick") {
        Plan {
            rounds: 1,
            length: Duration::from_millis(400),
        }
    } else {
        Plan {
            rounds: 5,
            length: Duration::from_secs(1),
        }
    };
    let (cores, rows) = measure(&object::programs(), &object::feeder(), plan);
    println!(
        "Million packets a second delivered, 60-byte frames over veth, {cores}: median (range) of {} \
         rounds; how many times nftables' median",
        plan.rounds
    );
    let nft = rows.last().expect("nftables is the last").median();
    for row in &rows {
        println!("{}", row.director.name());
        for (load, name) in LOADS.iter().map(|load| load.name).enumerate() {
            let (low, high) = row.range(load);
            println!(
                "  {name:20} {:6.3} ({low:.3} to {high:.3}) {:6.1}",
                row.median()[load],
                row.median()[load] / nft[load],
            );
        }
    }
}
