//! Turns keepalived's configuration into hafw.toml.
//!
//! Pure: files are read through [`Files`], and whether a text is a right hafw.toml says a reader
//! that is passed in. What the reader's version does not carry out is turned into comments, so that
//! this crate need not know what that is, and the result is always one that `hafw check` takes.
//!
//! Everything that has no equivalent is listed twice: as a [`Remark`] with file, line and column,
//! and as a comment at its place in the result.
#![forbid(unsafe_code)]

mod draft;
mod files;
mod keepalived;
mod place;
mod statement;

use std::path::Path;

use draft::Draft;
pub use draft::Objection;
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

/// Reads keepalived's file and says it in hafw's words. `reader` reads hafw.toml and says what is
/// wrong with it.
///
/// # Errors
/// Whatever is wrong with the input, with its place.
pub fn import(
    keepalived: &Path,
    files: &dyn Files,
    surroundings: &Surroundings,
    reader: &dyn Fn(&str) -> Vec<Objection>,
) -> Result<Imported, Mistakes> {
    let mut draft = Draft::default();
    let statements = keepalived::parse(keepalived, files, &surroundings.config_id)?;
    keepalived::translate(&statements, files, surroundings, &mut draft)?;
    let head = format!("Imported from {}.", keepalived.display());
    let (text, mut remarks) = draft.settle(&place::one_line(&head), reader)?;
    remarks.sort_by(|a, b| a.place.cmp(&b.place));
    remarks.dedup();
    Ok(Imported { text, remarks })
}
