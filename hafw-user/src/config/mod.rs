//! The node's configuration: what was written ([`read`], over [`hafw_config`]), what it means
//! ([`model`]), whether its parts fit together ([`validate`]), and whether they fit the machine
//! ([`system`]).

mod model;
mod read;
mod system;
#[cfg(test)]
mod tests;
mod validate;

use std::path::{Path, PathBuf};

use hafw_config::{Document, Problems};

pub use model::{
    Alerting, Auth, Backend, Check, CheckKind, Config, Health, HealthKind, HttpHealth, Interface,
    Mode, Node, Protocol, Remains, Router, Service, TlsHealth, Track, Vip,
};
pub use system::{InterfaceFacts, SystemFacts, against_system, remarks, source_of, witness_source};

/// Where `hafw` looks when it is told nothing.
pub const DEFAULT_FILE: &str = "/etc/hafw/hafw.toml";

/// Reads a file and what it includes, and checks all that can be checked without the machine it is
/// for.
///
/// # Errors
/// Every mistake that was found, with its place.
pub fn load(path: &Path) -> Result<Config, Problems> {
    finish(Document::load(path)?)
}

/// As [`load`], of a text, which can include nothing.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str) -> Result<Config, Problems> {
    finish(Document::parse(name, text)?)
}

/// The folder of the control socket, from a file that may have mistakes elsewhere: who looks at a
/// running node must not depend on an edit that is under way.
///
/// # Errors
/// The file cannot be read, or its `state_dir`.
pub fn state_dir(path: &Path) -> Result<PathBuf, Problems> {
    let document = Document::load(path)?;
    read::state_dir(&document).ok_or_else(|| document.into_problems())
}

/// Where the node of a file leaves something, from a file that may have mistakes elsewhere: what a
/// dead controller left must be removable with the file that killed it.
///
/// # Errors
/// The file cannot be read, or its `state_dir` or `pin_dir`.
pub fn remains(path: &Path) -> Result<Remains, Problems> {
    let document = Document::load(path)?;
    read::remains(&document).ok_or_else(|| document.into_problems())
}

fn finish(document: Document) -> Result<Config, Problems> {
    let draft = read::draft(&document);
    validate::validate(&draft, &document);
    match draft.into_config(document.warnings()) {
        Some(config) if !document.has_problems() => Ok(config),
        Some(_) | None => Err(document.into_problems()),
    }
}
