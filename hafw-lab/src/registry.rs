//! Which labs there are: a folder each below /run/hafw-lab, locked while the owner lives.
//!
//! The lock, not the process id, says whether a lab is alive: an id may be used again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use nix::sys::signal::{Signal, kill};

use crate::{LabError, Station, netns, wait_for};

const ROOT: &str = "/run/hafw-lab";
const PINS: &str = "/sys/fs/bpf";
/// What the switch's namespace is called, beside the stations'.
pub(crate) const SWITCH: &str = "switch";

/// Removes what labs left whose processes are gone, and returns their names.
///
/// # Errors
/// Something cannot be removed.
pub fn sweep() -> Result<Vec<String>, LabError> {
    let _guard = lock()?;
    let Ok(entries) = fs::read_dir(ROOT) else {
        return Ok(Vec::new());
    };
    let mut swept = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Ok(lock) = File::options().write(true).open(entry.path().join("owner")) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            remove_everything(&name)?;
            swept.push(name);
        }
    }
    Ok(swept)
}

/// The right to a lab's name, and its folder. Dropping it removes all that goes by the name.
#[derive(Debug)]
pub(crate) struct Claim {
    name: String,
    _lock: File,
}

impl Claim {
    /// Claims a name.
    pub(crate) fn new(name: &str) -> Result<Self, LabError> {
        let _guard = lock()?;
        let dir = dir_of(name);
        // Without a folder it is not ours to remove.
        let foreign = hosts()
            .map(|host| qualified(name, host))
            .find(|name| netns::exists(name));
        if let (false, Some(name)) = (dir.exists(), foreign) {
            return Err(LabError::Left { name });
        }
        let what = || format!("claim {}", dir.display());
        fs::create_dir_all(&dir).map_err(LabError::io(what()))?;
        let owner = dir.join("owner");
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&owner)
            .map_err(LabError::io(what()))?;
        if lock.try_lock().is_err() {
            let pid = fs::read_to_string(&owner).unwrap_or_default();
            return Err(LabError::Running {
                name: name.to_owned(),
                pid,
            });
        }
        let written = lock
            .set_len(0)
            .and_then(|()| write!(lock, "{}", process::id()));
        written.map_err(LabError::io(what()))?;
        Ok(Self {
            name: name.to_owned(),
            _lock: lock,
        })
    }

    /// The lab's folder.
    pub(crate) fn dir(&self) -> PathBuf {
        dir_of(&self.name)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next sweep tries again.
        let _ = remove_everything(&self.name);
    }
}

/// Keeps a sweep from removing a folder that is not locked yet.
fn lock() -> Result<File, LabError> {
    let path = format!("{ROOT}.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    file.and_then(|file| file.lock().map(|()| file))
        .map_err(LabError::io(format!("lock {path}")))
}

/// Name of a station's namespace, and of its folder of pins.
pub(crate) fn qualified(lab: &str, host: &str) -> String {
    format!("{lab}-{host}")
}

/// A station's folder for pins.
pub(crate) fn pin_dir(lab: &str, host: &str) -> PathBuf {
    Path::new(PINS).join(qualified(lab, host))
}

fn dir_of(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// All namespaces of a lab.
fn hosts() -> impl Iterator<Item = &'static str> {
    Station::ALL
        .iter()
        .map(|station| station.name())
        .chain([SWITCH])
}

/// Processes first: a namespace lives as long as somebody is in it.
fn remove_everything(lab: &str) -> Result<(), LabError> {
    for host in hosts() {
        end_processes(&qualified(lab, host))?;
    }
    for host in hosts() {
        remove_tree(&pin_dir(lab, host))?;
        netns::delete(&qualified(lab, host))?;
    }
    remove_tree(&dir_of(lab))
}

fn end_processes(namespace: &str) -> Result<(), LabError> {
    let signal_all = |signal| {
        for pid in netns::processes_of(namespace) {
            // It may have ended meanwhile.
            let _ = kill(pid, signal);
        }
    };
    if netns::processes_of(namespace).is_empty() {
        return Ok(());
    }
    signal_all(Signal::SIGTERM);
    signal_all(Signal::SIGCONT);
    let gone = || netns::processes_of(namespace).is_empty();
    let start = std::time::Instant::now();
    while !gone() && start.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(5));
    }
    if gone() {
        return Ok(());
    }
    signal_all(Signal::SIGKILL);
    match wait_for(
        Duration::from_secs(2),
        format!("the processes of {namespace} to end"),
        gone,
    ) {
        Err(LabError::Interrupted) | Ok(_) => Ok(()),
        Err(other) => Err(other),
    }
}

fn remove_tree(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
