//! Values that no message and no log repeats.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::document::{beside, describe, read_bytes};

/// The longest file that a secret is read from.
const MAX_BYTES: u64 = 64 << 10;

/// A string that is not shown: `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    file: Option<PathBuf>,
}

impl Secret {
    pub(crate) const fn new(text: String) -> Self {
        Self { text, file: None }
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The file it was read from; None if it stands in the configuration.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The bytes of a regular file, named relative to the folder of `named_in`.
pub(crate) fn read_beside(named_in: &Path, file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let path = beside(named_in, file);
    // A pipe or a device would hold up whoever reads it.
    let is_file = std::fs::metadata(&path).map(|metadata| metadata.is_file());
    let bytes = match is_file {
        Ok(true) => read_bytes(&path, limit),
        Ok(false) => Err(io::Error::other("it is not a regular file")),
        Err(error) => Err(error),
    };
    bytes.map_err(|error| describe(&error))
}

/// Reads the file that `named_in` names, up to its last line's end.
pub(crate) fn read(named_in: &Path, file: &Path) -> Result<Secret, String> {
    let bytes = read_beside(named_in, file, MAX_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
    Ok(Secret {
        text,
        file: Some(beside(named_in, file)),
    })
}
