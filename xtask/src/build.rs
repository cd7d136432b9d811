//! `cargo xtask build`: the two binaries. `hafw-user`'s build script builds the eBPF object.

use anyhow::Result;

use crate::{setup, step::cargo_step, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised, as it is meant to run
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    binaries(args.release)?;
    for name in ["hafw", "hafw-l7"] {
        println!("{}", workspace::binary(name, args.release)?.display());
    }
    Ok(())
}

/// Builds `hafw` and `hafw-l7`, with the toolchain that [`setup`] finds or installs.
pub(crate) fn binaries(release: bool) -> Result<()> {
    setup::require(&[setup::Part::Toolchain])?;
    let what = "building hafw, hafw-l7 and the eBPF object";
    cargo_build(
        what,
        &["--package", "hafw-user", "--package", "hafw-l7"],
        release,
    )
}

/// Builds `hafw-l7` alone, which needs no eBPF.
pub(crate) fn proxy(release: bool) -> Result<()> {
    cargo_build("building hafw-l7", &["--package", "hafw-l7"], release)
}

fn cargo_build(what: &str, packages: &[&str], release: bool) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--bins"]).args(packages);
    if release {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(workspace::target_dir()?);
    cargo_step(what, &mut cargo)
}
