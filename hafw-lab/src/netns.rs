//! One named network namespace.
//!
//! It is entered by a thread of its own: `setns` moves a single thread, and a program started there
//! inherits the namespace. `ip netns exec` would mount a private /sys without the host's bpffs.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command},
    thread::{self, JoinHandle},
};

use nix::{
    sched::{CloneFlags, setns},
    unistd::Pid,
};

use crate::{LabError, shell};

/// A network namespace. The lab that made it deletes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    inode: (u64, u64),
}

impl Namespace {
    /// Makes the namespace and sets its loopback up.
    pub(crate) fn create(name: &str) -> Result<Self, LabError> {
        shell::run("ip", &["netns", "add", name])?;
        let opened = File::open(path_of(name)).and_then(|file| {
            let inode = inode_of(&path_of(name))?;
            Ok(Self {
                name: name.to_owned(),
                file,
                inode,
            })
        });
        let namespace = opened.map_err(LabError::io(format!("open the namespace {name}")))?;
        shell::run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it, for `nsenter --net=`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Runs `work` in the namespace, on a thread of its own.
    ///
    /// # Errors
    /// The namespace cannot be entered. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            entered
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread that stays in the namespace. It must end before the lab is dropped.
    ///
    /// # Errors
    /// The thread cannot be started. That the namespace cannot be entered is the thread's outcome.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let file = self.file.try_clone()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            drop(file);
            work()
        })
    }

    /// Starts a program in the namespace.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())?
    }

    /// Runs a program in the namespace to its end and returns what it printed.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn output(&self, command: &mut Command) -> Result<String, LabError> {
        let output = self.run(|| command.output()).and_then(|result| result);
        shell::check(command, output)
    }

    /// Processes in the namespace, this one left out.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        processes_in(self.inode)
    }
}

/// Whether there is a namespace of this name.
pub(crate) fn exists(name: &str) -> bool {
    path_of(name).exists()
}

/// Deletes a namespace by name; it is no error if there is none.
pub(crate) fn delete(name: &str) -> Result<(), LabError> {
    if exists(name) {
        shell::run("ip", &["netns", "delete", name])?;
    }
    Ok(())
}

/// Processes in a namespace, by its name.
pub(crate) fn processes_of(name: &str) -> Vec<Pid> {
    inode_of(&path_of(name))
        .map(processes_in)
        .unwrap_or_default()
}

fn processes_in(inode: (u64, u64)) -> Vec<Pid> {
    let own = process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| pid != own)
        .filter(|pid| inode_of(Path::new(&format!("/proc/{pid}/ns/net"))).is_ok_and(|i| i == inode))
        .filter_map(|pid| i32::try_from(pid).ok().map(Pid::from_raw))
        .collect()
}

fn inode_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn path_of(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}
