//! Turns keepalived's and nginx's configuration into hafw.toml.
//!
//! Pure: files are read through [`Files`], and whether a text is a right hafw.toml says a reader
//! that is passed in. What the reader's version does not carry out is turned into comments, so that
//! this crate need not know what that is, and the result is always one that `hafw check` takes.
//!
//! Everything that has no equivalent is listed twice: as a [`Remark`] with file, line and column,
//! and as a comment at its place in the result.
#![forbid(unsafe_code)]

mod chain;
mod draft;
mod files;
mod keepalived;
mod nginx;
mod notes;
mod place;
mod statement;

use std::{net::IpAddr, path::Path};

pub use draft::Objection;
use draft::{Draft, Section};
pub use files::Files;
pub use place::{Mistake, Mistakes, Place, Remark};

/// What an input may ask for that stands in none of its files.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The host's name: the node's, where keepalived's file has no `router_id`.
    pub host_name: String,
    /// What `@id` lines are compared with (keepalived's `--config-id`).
    pub config_id: String,
}

/// A configuration of hafw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// As a file.
    pub text: String,
    /// What has no equivalent, in the order of the input.
    pub remarks: Vec<Remark>,
}

/// What is imported: one of the files, or both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// keepalived.conf.
    pub keepalived: Option<&'a Path>,
    /// nginx.conf, or a file of its `http` block.
    pub nginx: Option<&'a Path>,
    /// What nginx's `listen 80` stands for, beside the VIPs of keepalived's file.
    pub addresses: &'a [IpAddr],
}

/// Reads the files and says them in hafw's words. `reader` reads hafw.toml and says what is wrong
/// with it.
///
/// # Errors
/// Whatever is wrong with the inputs, with its place.
pub fn import(
    inputs: Inputs<'_>,
    files: &dyn Files,
    surroundings: &Surroundings,
    reader: &dyn Fn(&str) -> Vec<Objection>,
) -> Result<Imported, Mistakes> {
    let mut draft = Draft::default();
    let mut addresses = Vec::new();
    if let Some(path) = inputs.keepalived {
        let statements = keepalived::parse(path, files, &surroundings.config_id)?;
        addresses = keepalived::translate(&statements, files, surroundings, &mut draft)?;
    } else {
        let mut node = Section::new("[node]", None, "");
        node.text("id", &surroundings.host_name, None);
        draft.sections.push(node);
    }
    if let Some(path) = inputs.nginx {
        let statements = nginx::parse(path, files)?;
        addresses.extend(inputs.addresses);
        let folder = files.canonical(path.parent().unwrap_or(Path::new("")));
        nginx::translate(&statements, folder, &addresses, &mut draft)?;
    }
    let from: Vec<_> = inputs
        .keepalived
        .into_iter()
        .chain(inputs.nginx)
        .map(|path| path.display().to_string())
        .collect();
    let head = place::one_line(&format!("Imported from {}.", from.join(" and ")));
    let (text, mut remarks) = draft.settle(&head, reader)?;
    remarks.sort_by(|a, b| a.place.cmp(&b.place));
    remarks.dedup();
    Ok(Imported { text, remarks })
}
