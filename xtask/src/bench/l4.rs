//! L4: what a packet costs, how many get through, what TCP makes of it, and how long a dead backend
//! is still sent to; beside nftables' destination NAT where there is such a thing.

mod death;
mod tcp;

use anyhow::Result;
use clap::ValueEnum;

use crate::{step::aloud, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured; all if not given
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Little of each, to see that it works: a minute in all
    #[arg(long)]
    quick: bool,
    /// How often TCP and the death of a backend are repeated
    #[arg(long, default_value_t = 5)]
    repeat: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// ns a packet in the program, in every mode
    Packet,
    /// Packets a second over veth
    Rate,
    /// Throughput and connections a second through a nat service
    Tcp,
    /// From a backend's death to the last new connection that is sent to it
    Death,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    pub(super) fn needs_hafw(&self) -> bool {
        self.wants(Part::Tcp) || self.wants(Part::Death)
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let repeat = if args.quick { 1 } else { args.repeat };
    if args.wants(Part::Packet) {
        kernel_bench("xdp", args.quick)?;
    }
    if args.wants(Part::Rate) {
        kernel_bench("l4", args.quick)?;
    }
    if args.wants(Part::Tcp) {
        tcp::run(repeat, if args.quick { 1 } else { 5 })?;
    }
    if args.wants(Part::Death) {
        death::run(repeat)?;
    }
    Ok(())
}

/// A benchmark of the package `hafw-tests`.
pub(super) fn kernel_bench(name: &str, quick: bool) -> Result<()> {
    let mut bench = workspace::cargo();
    bench.args(["bench", "--package", "hafw-tests", "--bench", name]);
    if quick {
        bench.args(["--", "--quick"]);
    }
    aloud(&mut bench)
}
