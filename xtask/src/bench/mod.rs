//! `cargo xtask bench`: hafw beside its peers, measured in one run on one machine.
//!
//! Every figure is a median with its range; what is compared is measured in turns, because a shared
//! machine is not equally fast all the time.

mod failover;
mod pair;
mod stats;

use anyhow::Result;
use clap::Subcommand;

use crate::{build, privilege::become_root, setup, setup::Part};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a client sees when a node fails, and for how long two nodes answer
    Failover(failover::Args),
}

pub(crate) fn run(args: &Args, runner: Option<&str>) -> Result<()> {
    become_root(runner)?;
    setup::require(&[Part::Toolchain, Part::Lab, Part::Bench])?;
    hafw_lab::handle_signals()?;
    match &args.what {
        What::Failover(args) => {
            if args.needs_hafw() {
                build::binaries(true)?;
            }
            failover::run(args)
        }
    }
}
