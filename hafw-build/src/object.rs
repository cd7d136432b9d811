//! Building the object, and linting the crate it is made of.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::Toolchain;

/// The target that the programs are compiled for.
pub const TARGET: &str = "bpfel-unknown-none";
/// File name of the built object.
pub const OBJECT_NAME: &str = "hafw-xdp";
/// File name of the object that feeds the programs with frames, to time them.
pub const FEEDER_NAME: &str = "hafw-feeder";
/// File name of the object that takes datagrams out of tunnels on a backend.
pub const DECAP_NAME: &str = "hafw-decap";
/// What the object is made of, below the workspace's root.
pub const SOURCES: &[&str] = &[
    "hafw-ebpf/Cargo.toml",
    "hafw-ebpf/src",
    "hafw-common/Cargo.toml",
    "hafw-common/src",
    "Cargo.lock",
];

/// Why there is no object.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The compiler could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The compiler.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compiler failed; its own messages went to stderr.
    #[error("{name} could not {what} the eBPF crate: {status}")]
    Failed {
        /// The toolchain.
        name: String,
        /// What it was to do.
        what: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
    },
}

/// Builds the object below `workspace` into `target_dir` and returns its path.
///
/// # Errors
/// The compiler cannot be started or fails.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<PathBuf, BuildError> {
    build_bin(OBJECT_NAME, toolchain, workspace, target_dir)
}

/// Builds the feeder as [`build`] does the programs.
///
/// # Errors
/// The compiler cannot be started or fails.
pub fn build_feeder(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<PathBuf, BuildError> {
    build_bin(FEEDER_NAME, toolchain, workspace, target_dir)
}

/// Builds the program of backends as [`build`] does those of nodes.
///
/// # Errors
/// The compiler cannot be started or fails.
pub fn build_decap(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<PathBuf, BuildError> {
    build_bin(DECAP_NAME, toolchain, workspace, target_dir)
}

fn build_bin(
    name: &str,
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<PathBuf, BuildError> {
    let mut command = toolchain.cargo_command();
    command.args(["build", "--release", "--bin", name]);
    // BTF comes from debug information; aya needs it for the maps' types and the kernel for
    // names in its verifier's log.
    command.env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf");
    run(command, toolchain, workspace, target_dir, "build")?;
    Ok(target_dir.join(TARGET).join("release").join(name))
}

/// Runs clippy over the eBPF crate for the BPF target. The toolchain must have clippy.
///
/// # Errors
/// The compiler cannot be started, or there are findings.
pub fn clippy(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<(), BuildError> {
    let mut command = toolchain.cargo_command();
    command.args(["clippy", "--release"]);
    command.env("CARGO_ENCODED_RUSTFLAGS", "");
    run(command, toolchain, workspace, target_dir, "lint")
}

fn run(
    mut command: Command,
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    what: &'static str,
) -> Result<(), BuildError> {
    command
        .args([
            "--locked",
            "--package",
            "hafw-ebpf",
            "--target",
            TARGET,
            "-Z",
            "build-std=core",
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(workspace);
    if what == "lint" {
        command.args(["--", "--deny", "warnings"]);
    }
    let status = command.status().map_err(|source| BuildError::Start {
        program: toolchain.cargo.clone(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Failed {
        name: toolchain.name.clone(),
        what,
        status,
    })
}
