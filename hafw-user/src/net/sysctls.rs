//! `arp_ignore=1` and `arp_announce=2` keep the kernel from answering ARP for VIPs and from asking
//! in their name, should XDP ever be off the interface (invariant 5). What was there before is kept
//! in `state_dir` and put back at the end, by this process or by `hafw detach`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

const WANTED: [(&str, &str); 2] = [
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
];

/// A sysctl or the file of saved ones could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {source}", .path.display())]
pub struct SysctlError {
    path: PathBuf,
    source: io::Error,
}

/// The sysctls of this network namespace and where their old values are kept.
#[derive(Clone, Debug)]
pub struct Sysctls {
    saved: PathBuf,
}

impl Sysctls {
    /// Old values are kept in this folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            saved: state_dir.join("sysctls.json"),
        }
    }

    /// Saves what is there, unless an earlier controller did, and sets what is wanted.
    ///
    /// # Errors
    /// See [`SysctlError`].
    pub fn set(&self) -> Result<(), SysctlError> {
        if !self.saved.exists() {
            let old: BTreeMap<&str, String> = WANTED
                .iter()
                .map(|(name, _)| Ok((*name, read(name)?)))
                .collect::<Result<_, _>>()?;
            let text = serde_json::to_vec(&old).map_err(|e| self.failed(e.into()))?;
            // Whole or not at all: a file cut short would lose the old values.
            let new = self.saved.with_extension("new");
            fs::write(&new, text)
                .and_then(|()| fs::rename(&new, &self.saved))
                .map_err(|e| self.failed(e))?;
        }
        WANTED
            .iter()
            .try_for_each(|(name, value)| write(name, value))
    }

    /// Puts the saved values back. Nothing to do where none were saved.
    ///
    /// # Errors
    /// See [`SysctlError`].
    pub fn restore(&self) -> Result<(), SysctlError> {
        let text = match fs::read(&self.saved) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.failed(e)),
        };
        let old: BTreeMap<String, String> =
            serde_json::from_slice(&text).map_err(|e| self.failed(e.into()))?;
        for (name, value) in &old {
            // The file is root's, but a path from a file is still not to be followed anywhere.
            if WANTED.iter().any(|(wanted, _)| wanted == name) {
                write(name, value)?;
            }
        }
        fs::remove_file(&self.saved).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> SysctlError {
        SysctlError {
            path: self.saved.clone(),
            source,
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn read(name: &str) -> Result<String, SysctlError> {
    let path = path(name);
    match fs::read_to_string(&path) {
        Ok(value) => Ok(value.trim().to_owned()),
        Err(source) => Err(SysctlError { path, source }),
    }
}

fn write(name: &str, value: &str) -> Result<(), SysctlError> {
    let path = path(name);
    fs::write(&path, value).map_err(|source| SysctlError { path, source })
}
