//! `cargo xtask run`: a pair of nodes at work in a network of namespaces, from nothing; or, with
//! arguments for `hafw run`, a node on this host.

mod config;
mod live;
mod network;
mod report;
mod story;

use std::{
    io::{IsTerminal as _, stdout},
    os::unix::process::CommandExt as _,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use hafw_lab::LabError;

use crate::{build, privilege::become_root, setup, setup::Part, workspace};
use network::Network;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build it optimised
    #[arg(long)]
    release: bool,
    /// Arguments for `hafw run`, for instance `-c FILE`: run a node on this host instead
    #[arg(last = true)]
    hafw: Vec<String>,
}

pub(crate) fn run(args: &Args, runner: Option<&str>) -> Result<()> {
    become_root(runner)?;
    if !args.hafw.is_empty() {
        build::binaries(args.release)?;
        let mut hafw = Command::new(workspace::binary("hafw", args.release)?);
        return Err(hafw.arg("run").args(&args.hafw).exec()).context("cannot start hafw");
    }
    setup::require(&[Part::Toolchain, Part::Lab])?;
    build::binaries(args.release)?;
    demonstrate(args.release)
}

fn demonstrate(release: bool) -> Result<()> {
    let mut report = Report::default();
    let mut network = Network::start(release)?;
    let told = story::tell(&mut network, &mut report);
    if let Err(error) = &told {
        report.failed(&format!("{error:#}"));
    }
    let ok = report.close();
    if ok && stdout().is_terminal() {
        match live::watch(&mut network) {
            Ok(()) => {}
            // The way to leave it.
            Err(error) if is_interrupt(&error) => {}
            Err(error) => return Err(error),
        }
    }
    drop(network);
    println!(
        "The network is gone. The nodes' configurations and logs stay in {}.",
        network::FILES
    );
    if ok {
        Ok(())
    } else {
        bail!("the demonstration failed")
    }
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LabError::Interrupted))
}
