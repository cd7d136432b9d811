//! `cargo xtask run`.
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_: &Args, _: Option<&str>) -> Result<()> {
    Ok(())
}
