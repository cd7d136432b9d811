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
    let mut cargo = workspace::cargo();
    cargo.args([
        "build",
        "--package",
        "hafw-user",
        "--package",
        "hafw-l7",
        "--bins",
    ]);
    if release {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(workspace::target_dir()?);
    cargo_step("building hafw, hafw-l7 and the eBPF object", &mut cargo)
}
