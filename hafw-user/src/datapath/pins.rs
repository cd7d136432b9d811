//! The pin directory: what keeps maps and links alive without a controller, and the lock that
//! lets one controller use them.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use thiserror::Error;

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Why a pin directory cannot be used.
#[derive(Debug, Error)]
pub enum PinError {
    /// Not on a bpffs.
    #[error(
        "pin_dir {} is not on a BPF file system that outlives this process: mount one \
         (`mount -t bpf bpf /sys/fs/bpf`); inside `ip netns exec`, which mounts a /sys of its own, \
         use `nsenter --net=FILE` instead", .0.display()
    )]
    NotBpffs(PathBuf),
    /// Another controller is at work.
    #[error("pin_dir {} is in use by another `hafw run`", .0.display())]
    InUse(PathBuf),
    /// Anything else.
    #[error("pin_dir {}: cannot {what}: {source}", .path.display())]
    Io {
        /// The directory or an entry of it.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

/// A locked pin directory.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
    // The lock is the descriptor's: it ends with the process, however that ends.
    _lock: OwnedFd,
}

impl PinDir {
    /// Makes the directory where it is missing, and takes its lock.
    ///
    /// # Errors
    /// See [`PinError`].
    pub fn lock(path: &Path) -> Result<Self, PinError> {
        let parent = path
            .ancestors()
            .skip(1)
            .find(|p| p.exists())
            .ok_or_else(|| PinError::NotBpffs(path.into()))?;
        let on = if path.exists() { path } else { parent };
        let stat = statfs(on).map_err(|e| failed(on, "examine it")(e.into()))?;
        if stat.f_type != BPF_FS_MAGIC {
            return Err(PinError::NotBpffs(path.into()));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed(path, "make it"))?;
        let lock = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| failed(path, "open it")(e.into()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.into(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PinError::InUse(path.into())),
            Err(e) => Err(failed(path, "lock it")(e.into())),
        }
    }

    /// Where the object of this name is pinned.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Names of what is pinned here.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn entries(&self) -> Result<Vec<String>, PinError> {
        let list = || -> io::Result<Vec<String>> {
            fs::read_dir(&self.path)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        list().map_err(failed(&self.path, "list it"))
    }

    /// Takes one pin away. What was pinned ends with its last user.
    ///
    /// # Errors
    /// The entry cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), PinError> {
        let path = self.entry(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(&path, "remove it")(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes every pin away, links first, and then the directory.
    ///
    /// # Errors
    /// An entry or the directory cannot be removed.
    pub fn clear(&self) -> Result<(), PinError> {
        let (links, maps): (Vec<_>, Vec<_>) = self
            .entries()?
            .into_iter()
            .partition(|name| name.starts_with("link_"));
        for name in links.iter().chain(&maps) {
            self.remove(name)?;
        }
        Ok(())
    }

    /// Removes the directory itself. It must be empty.
    ///
    /// # Errors
    /// It is not empty, or cannot be removed.
    pub fn remove_dir(self) -> Result<(), PinError> {
        fs::remove_dir(&self.path).map_err(failed(&self.path, "remove it"))
    }
}

fn failed(path: &Path, what: &'static str) -> impl Fn(io::Error) -> PinError {
    let path = path.to_path_buf();
    move |source| PinError::Io {
        path: path.clone(),
        what,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_elsewhere_is_refused_with_what_to_do() {
        let error = PinDir::lock(&std::env::temp_dir().join("hafw-no-bpffs")).unwrap_err();
        assert!(matches!(error, PinError::NotBpffs(_)));
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    }
}
