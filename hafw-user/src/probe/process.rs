//! A process that lives, by name, in this network namespace.
//!
//! `/proc` is searched for one, and its pidfd is held: the kernel says at once when it ends, and
//! while it lives nothing is searched. No proc connector is needed, which keepalived's
//! `track_process` relies on and which exists only in the initial namespaces
//! (`cn_proc_mcast_ctl`, drivers/connector/cn_proc.c).

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::spawn_blocking,
};

use super::{Limit, Report};

/// The longest name that the kernel keeps (TASK_COMM_LEN less the zero, include/linux/sched.h).
const COMM: usize = 15;

/// Which process is looked for. Two are equal if they look for the same.
#[derive(Clone, Debug)]
pub struct ProcessProbe {
    wanted: Wanted,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// `/proc/PID/comm`; a longer name is compared with the program's too.
    Name(String),
    /// `/proc/PID/exe`.
    Program(PathBuf),
}

/// A process that was found. Readable once it has ended (pidfd_open(2)).
#[derive(Clone, Debug)]
struct Held {
    pid: Pid,
    descriptor: Arc<AsyncFd<OwnedFd>>,
}

impl ProcessProbe {
    /// `process`: a name, or a program's absolute path.
    #[must_use]
    pub fn new(process: &str) -> Self {
        let wanted = if process.starts_with('/') {
            Wanted::Program(process.into())
        } else {
            Wanted::Name(process.to_owned())
        };
        Self {
            wanted,
            held: Arc::default(),
        }
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        if let Some(held) = self.held()
            && self.wanted.is(held.pid)
            && lives(held.descriptor.get_ref())
        {
            return found(held.pid);
        }
        self.hold(None);
        let wanted = self.wanted.clone();
        let search = limit.wait("end of the search", spawn_blocking(move || wanted.search()));
        match search.await {
            Err(report) => report,
            Ok(Err(error)) => Report::bad(format!("the search for it failed: {error}")),
            Ok(Ok(Err(error))) => Report::bad(format!("cannot look into /proc: {error}")),
            Ok(Ok(Ok(None))) => Report::bad("no such process here"),
            Ok(Ok(Ok(Some((pid, descriptor))))) => {
                match watch(descriptor) {
                    Ok(descriptor) => self.hold(Some(Held {
                        pid,
                        descriptor: Arc::new(descriptor),
                    })),
                    Err(error) => return Report::bad(format!("cannot wait for it: {error}")),
                }
                found(pid)
            }
        }
    }

    /// Waits for the end of the process that was found last; for ever if there is none.
    pub(super) async fn stirred(&self) {
        match self.held() {
            // An error of the descriptor is for the next look.
            Some(held) => drop(held.descriptor.readable().await),
            None => std::future::pending().await,
        }
    }

    fn held(&self) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    fn hold(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

impl PartialEq for ProcessProbe {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted
    }
}

impl Eq for ProcessProbe {}

fn found(pid: Pid) -> Report {
    Report::ok(format!("process {}", pid.as_raw_nonzero()))
}

impl Wanted {
    /// The first that fits. It is looked at again once its descriptor is there: until then the
    /// number may become another's.
    fn search(&self) -> io::Result<Option<(Pid, OwnedFd)>> {
        let here = namespace_of("self")?;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Some(pid) = Pid::from_raw(pid) else {
                continue;
            };
            let fits = || self.is(pid) && namespace_of(&number(pid)).is_ok_and(|n| n == here);
            if fits()
                && let Ok(descriptor) = pidfd_open(pid, PidfdFlags::NONBLOCK)
                && lives(&descriptor)
                && fits()
            {
                return Ok(Some((pid, descriptor)));
            }
        }
        Ok(None)
    }

    fn is(&self, pid: Pid) -> bool {
        let folder = Path::new("/proc").join(number(pid));
        match self {
            Self::Name(name) => {
                let comm = fs::read(folder.join("comm")).unwrap_or_default();
                let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
                let name = name.as_bytes();
                if name.len() <= COMM {
                    comm == name
                } else {
                    comm == &name[..COMM] && program_of(&folder).as_deref() == Some(name)
                }
            }
            Self::Program(path) => {
                let exe = fs::read_link(folder.join("exe")).unwrap_or_default();
                let exe = exe.as_os_str().as_encoded_bytes();
                // As the kernel names one whose file was replaced by an upgrade (d_path, fs/d_path.c).
                let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
                exe == path.as_os_str().as_encoded_bytes()
            }
        }
    }
}

fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is open, belongs to the value that is handed over, and nothing replaces
    // it there.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watched.map_err(io::Error::other)
}

/// The last part of the path that a process was started by.
fn program_of(folder: &Path) -> Option<Vec<u8>> {
    let line = fs::read(folder.join("cmdline")).ok()?;
    let program = line.split(|byte| *byte == 0).next()?;
    program.rsplit(|byte| *byte == b'/').next().map(Vec::from)
}

fn namespace_of(process: &str) -> io::Result<(u64, u64)> {
    let namespace = fs::metadata(format!("/proc/{process}/ns/net"))?;
    Ok((namespace.dev(), namespace.ino()))
}

fn number(pid: Pid) -> String {
    pid.as_raw_nonzero().to_string()
}

/// A process that only waits to be reaped does not live.
fn lives(descriptor: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(descriptor, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command},
        time::Duration,
    };

    use hafw_lb::Outcome;
    use tempfile::TempDir;

    use super::*;
    use crate::probe::Probe;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A program of this name that waits.
    struct Program {
        folder: TempDir,
        name: String,
        child: Child,
    }

    impl Program {
        fn start(name: &str) -> Self {
            let folder = TempDir::new().unwrap();
            let file = folder.path().join(name);
            fs::copy("/bin/sleep", &file).unwrap();
            let child = Command::new(&file).arg("1000").spawn().unwrap();
            // A program has its name only a little after the parent of a vfork goes on
            // (begin_new_exec, fs/exec.c).
            let comm = format!("/proc/{}/comm", child.id());
            let short = &name.as_bytes()[..name.len().min(COMM)];
            while fs::read(&comm).unwrap().trim_ascii_end() != short {
                std::thread::yield_now();
            }
            Self {
                folder,
                name: name.to_owned(),
                child,
            }
        }

        fn path(&self) -> String {
            self.folder.path().join(&self.name).display().to_string()
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    fn probe(process: &str) -> Probe {
        Probe::Process(ProcessProbe::new(process))
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_name_or_its_program() {
        let short = Program::start("hafw-t-short");
        let long = Program::start("hafw-t-name-of-many-letters");
        for (program, process) in [
            (&short, short.name.clone()),
            (&long, long.name.clone()),
            (&long, long.name[..COMM].to_owned()),
            (&short, short.path()),
        ] {
            let report = probe(&process).run(MINUTE).await;
            assert_eq!(report, found(Pid::from_child(&program.child)), "{process}");
        }
        for stranger in [
            "hafw-t-shor",
            "hafw-t-short2",
            "hafw-t-name-of-many-letterz",
            "/bin/hafw-t-short",
        ] {
            let report = probe(stranger).run(MINUTE).await;
            assert_eq!(report.outcome, Outcome::Bad, "{stranger}");
        }
    }

    #[tokio::test]
    async fn its_end_is_noticed_at_once_even_while_nobody_reaps_it() {
        let mut program = Program::start("hafw-t-ends");
        let probe = probe("hafw-t-ends");
        assert_eq!(probe.run(MINUTE).await.outcome, Outcome::Ok);
        program.child.kill().unwrap();

        tokio::time::timeout(MINUTE, probe.stirred()).await.unwrap();
        let report = probe.run(MINUTE).await;
        assert_eq!(report, Report::bad("no such process here"));
    }

    #[tokio::test]
    async fn another_of_the_name_takes_its_place() {
        let mut programs = [
            Program::start("hafw-t-twice"),
            Program::start("hafw-t-twice"),
        ];
        let probe = probe("hafw-t-twice");
        let first = probe.run(MINUTE).await;
        let at = programs
            .iter()
            .position(|one| found(Pid::from_child(&one.child)) == first)
            .unwrap();
        programs[at].child.kill().unwrap();

        probe.stirred().await;
        let other = Pid::from_child(&programs[1 - at].child);
        assert_eq!(probe.run(MINUTE).await, found(other));
    }
}
