//! The files that are being read, each named by the one before.

use std::path::{Path, PathBuf};

use crate::{
    files::Files,
    place::{Mistake, Place},
};

/// How deep includes may lead.
const MAX_INCLUDES: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// The innermost last.
    open: Vec<PathBuf>,
}

impl Chain {
    /// Opens a file; `named_at`: the include that names it. It is to be closed again.
    pub(crate) fn open(
        &mut self,
        files: &dyn Files,
        path: &Path,
        named_at: Option<&Place>,
    ) -> Result<String, Mistake> {
        let canonical = files.canonical(path);
        if let Some(place) = named_at {
            if self.open.contains(&canonical) {
                let message = format!("include: {} includes itself", path.display());
                return Err(Mistake::at(place, message));
            }
            if self.open.len() >= MAX_INCLUDES {
                let message = format!("include: more than {MAX_INCLUDES} files within each other");
                return Err(Mistake::at(place, message));
            }
        }
        let text = files.read(path).map_err(|why| Mistake {
            place: named_at.cloned(),
            message: format!("cannot read {}: {why}", path.display()),
        })?;
        self.open.push(canonical);
        Ok(text)
    }

    /// Closes the file that was opened last.
    pub(crate) fn close(&mut self) {
        self.open.pop();
    }
}
