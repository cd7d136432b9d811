//! `cargo xtask`: build, run, test, lint and measure hafw. What CI calls is what a person calls.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool"
)]

mod bench;
mod build;
mod lint;
mod privilege;
mod run;
mod setup;
mod sim;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Build, run, test, lint and measure hafw"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How to become root for what needs it, for instance "sudo -E"
    #[arg(long, global = true, value_name = "COMMAND")]
    runner: Option<String>,
}

#[derive(Subcommand)]
enum Verb {
    /// Check what hafw needs, and as root on Debian install what is missing
    Setup,
    /// Build hafw, hafw-l7 and the eBPF object
    Build(build::Args),
    /// Show a pair of nodes at work in a network of namespaces, or run a node on this host
    Run(run::Args),
    /// Run tests; `bpf` and `netns` need root
    Test(test::Args),
    /// Run the VRRP simulation over many seeds
    Sim(sim::Args),
    /// Check format, lints, documentation and house rules
    Lint,
    /// Measure hafw beside its peers
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runner = cli.runner.as_deref();
    // Ctrl-C reaches the programs that run; this one then cleans up behind them.
    let outcome = hafw_lab::handle_signals()
        .map_err(Into::into)
        .and_then(|()| match cli.verb {
            Verb::Setup => setup::run(runner),
            Verb::Build(args) => build::run(&args),
            Verb::Run(args) => run::run(&args, runner),
            Verb::Test(args) => test::run(&args, runner),
            Verb::Sim(args) => sim::run(&args),
            Verb::Lint => lint::run(),
            Verb::Bench(args) => bench::run(&args, runner),
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
