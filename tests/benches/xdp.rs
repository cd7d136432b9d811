//! Prints what a packet costs in the XDP program: `cargo xtask bench xdp`. Needs CAP_BPF and
//! CAP_NET_ADMIN. `--quick`: one round.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use hafw_tests::{object, xdp_bench};

fn main() {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not measure.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let rounds = if std::env::args().any(|arg| arg == "--quick") {
        1
    } else {
        9
    };
    println!(
        "ns a packet, net of a program that only passes (median, lowest, highest; null gross)"
    );
    for figure in xdp_bench::measure(&object::programs(), &object::feeder(), rounds) {
        let (low, high) = (figure.net[0], figure.net[figure.net.len() - 1]);
        println!(
            "{:34} {:7} flows {:6.1}  ({low:.1} to {high:.1}; {:.1})",
            figure.name,
            figure.flows,
            figure.median(),
            figure.null
        );
    }
}
