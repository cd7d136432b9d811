//! What can go wrong in a lab.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

/// An error of a lab. Its text says what to do where there is something to do.
#[derive(Debug, Error)]
pub enum LabError {
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program is not installed.
    #[error("{program} is not installed; `cargo xtask setup` installs what a lab needs")]
    Missing {
        /// The program.
        program: String,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// A daemon ended where it should have gone on.
    #[error("{name} ended ({status}); the end of {log}:\n{tail}", log = log.display())]
    Ended {
        /// The daemon.
        name: String,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something did not come about in time.
    #[error("waited {waited:?} for {what}{detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// What was seen instead, or empty.
        detail: String,
    },
    /// A namespace of this name exists and no lab's process stands behind it.
    #[error(
        "the network namespace {name} is left from before, or somebody else's; \
         remove it with `ip netns delete {name}`"
    )]
    Left {
        /// The namespace.
        name: String,
    },
    /// Another process runs a lab of this name.
    #[error("the lab {name} runs already, in process {pid}; end it first")]
    Running {
        /// The lab.
        name: String,
        /// Its owner.
        pid: String,
    },
    /// The lab needs root.
    #[error("a lab makes network namespaces: run it as root (`sudo -E cargo xtask …`)")]
    NotRoot,
    /// There is no bpffs for pins.
    #[error("no bpffs on /sys/fs/bpf; mount it: mount -t bpf bpf /sys/fs/bpf")]
    NoBpffs,
    /// Ctrl-C, or another signal that asks the process to end.
    #[error("interrupted")]
    Interrupted,
    /// What a peer or a probe answered is not what it should be.
    #[error("{0}")]
    Unexpected(String),
}

impl LabError {
    /// For `map_err` on IO.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
