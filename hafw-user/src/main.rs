//! The `hafw` binary. Called by the name `hafw-l7` it is the proxy: one file is both.

use std::{
    env,
    ffi::OsStr,
    io::{IsTerminal as _, stderr},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;
use hafw_user::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let name = env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(OsStr::new("hafw-l7")) {
        return hafw_l7::main();
    }
    let filter = EnvFilter::try_from_env("HAFW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would tell of a log that cannot be written by a panic.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal())
        .init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "where errors go")]
fn report(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
