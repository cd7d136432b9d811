//! Becoming root for the verbs that make namespaces.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::build;

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Returns at once as root. Otherwise builds as the user, and then starts this program again with
/// the runner before it, so that root writes nothing into the target folder.
pub(crate) fn become_root(runner: Option<&str>) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let Some(runner) = runner else {
        bail!("this needs root; try `--runner \"sudo -E\"`");
    };
    build::binaries(false)?;
    Err(again_with(runner)?.exec()).with_context(|| format!("cannot start `{runner}`"))
}

/// This program and its arguments, under a runner.
pub(crate) fn again_with(runner: &str) -> Result<Command> {
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().context("the runner is empty")?);
    command
        .args(words)
        .arg(env::current_exe().context("find this program's file")?);
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--runner" {
            args.next();
        } else if !arg.to_string_lossy().starts_with("--runner=") {
            command.arg(arg);
        }
    }
    Ok(command)
}
