//! `cargo xtask bench`: hafw beside its peers, measured in one run on one machine.
//!
//! Every figure is a median with its range; what is compared is measured in turns, because a shared
//! machine is not equally fast all the time.

mod controller;
mod failover;
mod l4;
mod l7;
mod load;
mod pair;
mod reload;
mod stats;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::{build, privilege::become_root, setup, setup::Part};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// With debug builds: to see that it works, not for figures (failover, load, controller, reload)
    #[arg(long, global = true)]
    debug: bool,
}

#[derive(Subcommand)]
enum What {
    /// What a client sees when a node fails, and for how long two nodes answer
    Failover(failover::Args),
    /// Whether a busy machine makes a node take over from one that lives
    Load(load::Args),
    /// What a packet costs in the XDP program
    Xdp,
    /// L4 beside nftables: cost of a packet, packets a second, TCP, the death of a backend
    L4(l4::Args),
    /// What a request costs in the proxy, beside nginx and haproxy
    L7(l7::Args),
    /// What a controller costs while nothing happens, beside keepalived
    Controller(controller::Args),
    /// How long a reload takes that changes one backend among 10,000
    Reload(reload::Args),
}

pub(crate) fn run(args: &Args, runner: Option<&str>) -> Result<()> {
    become_root(runner)?;
    setup::require(&[Part::Toolchain, Part::Lab, Part::Bench])?;
    let release = !args.debug;
    match &args.what {
        What::Failover(args) => {
            if args.needs_hafw() {
                build::binaries(release)?;
            }
            failover::run(args, release)
        }
        What::Load(args) => {
            if args.needs_hafw() {
                build::binaries(release)?;
            }
            load::run(args, release)
        }
        What::Xdp => l4::kernel_bench("xdp", false),
        What::L4(args) => {
            if args.needs_hafw() {
                build::binaries(true)?;
            }
            l4::run(args)
        }
        What::L7(args) => {
            if args.needs_hafw() {
                build::proxy(true)?;
            }
            l7::run(args)
        }
        What::Controller(args) => {
            build::binaries(release)?;
            controller::run(args, release)
        }
        What::Reload(args) => {
            build::binaries(release)?;
            reload::run(args, release)
        }
    }
}

/// What was asked for; everything where nothing was.
fn chosen<T: ValueEnum>(given: &[T]) -> Vec<T> {
    if given.is_empty() {
        T::value_variants().to_vec()
    } else {
        given.to_vec()
    }
}
