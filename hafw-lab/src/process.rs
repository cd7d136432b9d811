//! A program that runs in a namespace, can be hurt, and ends with its handle.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{LabError, Namespace, shell, wait_for};

/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// Whom a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process that was started.
    Process,
    /// It and all its descendants, stopped first so that none of them sees another end.
    Tree,
}

/// A program in a namespace. It can be started again after it ended; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    namespace: Arc<Namespace>,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Describes a program that is not started yet. Its output is appended to `log`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        namespace: &Arc<Namespace>,
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = String>,
        log: PathBuf,
    ) -> Self {
        Self {
            name: name.into(),
            namespace: Arc::clone(namespace),
            program: program.into(),
            args: args.into_iter().collect(),
            log,
            child: None,
        }
    }

    /// Starts it. One that runs is left alone.
    ///
    /// # Errors
    /// It cannot be started, or its log cannot be written.
    pub fn start(&mut self) -> Result<(), LabError> {
        if self.running() {
            return Ok(());
        }
        let what = || format!("open {}", self.log.display());
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(LabError::io(what()))?;
        let stderr = log.try_clone().map_err(LabError::io(what()))?;
        let mut command = Command::new(&self.program);
        // A group of its own: a Ctrl-C on the terminal is for us.
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(stderr)
            .process_group(0);
        let spawned = self.namespace.spawn(&mut command);
        self.child = Some(spawned.map_err(|source| shell::start_error(&command, source))?);
        Ok(())
    }

    /// Whether it runs. A stopped (SIGSTOP) process does.
    pub fn running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// An error with the end of the log if it does not run any more.
    ///
    /// # Errors
    /// [`LabError::Ended`].
    pub fn expect_running(&mut self) -> Result<(), LabError> {
        let status = match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => return Ok(()),
            Some(Ok(Some(status))) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "it was not started".to_owned(),
        };
        Err(LabError::Ended {
            name: self.name.clone(),
            status,
            log: self.log.clone(),
            tail: self.log_tail(),
        })
    }

    /// Its process id, while it was started and not yet reaped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What to show a person.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace that it runs in.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The file with its output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Sends a signal, and for SIGKILL waits for the end.
    ///
    /// # Errors
    /// It does not end.
    pub fn signal(&mut self, scope: Scope, signal: Signal) -> Result<(), LabError> {
        let Some(pid) = self.child.as_ref().map(|child| pid_of(child.id())) else {
            return Ok(());
        };
        let pids = match scope {
            Scope::Process => vec![pid],
            Scope::Tree => freeze_tree(pid),
        };
        // Children first: the kernel wakes a stopped process whose parent ends (POSIX's orphaned
        // process groups), and keepalived's would give its VIPs up then.
        for &pid in pids.iter().rev() {
            // It may have ended meanwhile.
            let _ = kill(pid, signal);
        }
        if signal == Signal::SIGKILL {
            self.wait_for_end(Duration::from_secs(5))?;
        } else if signal != Signal::SIGSTOP && scope == Scope::Tree {
            for &pid in &pids {
                let _ = kill(pid, Signal::SIGCONT);
            }
        }
        Ok(())
    }

    /// Kills its children and not itself: it sees them end.
    ///
    /// # Errors
    /// It has none.
    pub fn kill_children(&self) -> Result<(), LabError> {
        let own = self.child.as_ref().map(|child| pid_of(child.id()));
        let children: Vec<_> = processes()
            .filter(|&pid| own.is_some() && parent_of(pid) == own)
            .collect();
        if children.is_empty() {
            return Err(LabError::Unexpected(format!(
                "{} has no children",
                self.name
            )));
        }
        for pid in children {
            let _ = kill(pid, Signal::SIGKILL);
        }
        Ok(())
    }

    /// The processor time that its tree has used, user and system, by the scheduler's count.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.tree().into_iter().map(cpu_time_of).sum()
    }

    /// The memory that its tree has resident, in bytes; what processes share counts for each.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.tree().into_iter().filter_map(resident_of).sum()
    }

    fn tree(&self) -> Vec<Pid> {
        self.child
            .as_ref()
            .map(|child| descendants(pid_of(child.id())))
            .unwrap_or_default()
    }

    /// Asks it to end (SIGTERM) and returns how long that took; after `patience` its tree is killed.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop(&mut self, patience: Duration) -> Result<Duration, LabError> {
        let start = Instant::now();
        self.signal(Scope::Process, Signal::SIGTERM)?;
        let ended = self.wait_for_end(patience);
        if matches!(ended, Err(LabError::Timeout { .. })) {
            self.signal(Scope::Tree, Signal::SIGKILL)?;
        }
        ended.map(|_| start.elapsed())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<ExitStatus>, LabError> {
        wait_for(patience, format!("{} to end", self.name), || {
            !self.running()
        })?;
        let mut child = self.child.take();
        child
            .as_mut()
            .map(Child::wait)
            .transpose()
            .map_err(LabError::io("reap a process"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.running() {
            let _ = self.signal(Scope::Process, Signal::SIGTERM);
            let start = Instant::now();
            while self.running() && start.elapsed() < Duration::from_millis(300) {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = self.signal(Scope::Tree, Signal::SIGKILL);
        }
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows its peers' logs")]
            {
                eprintln!(
                    "--- the end of {}:\n{}",
                    self.log.display(),
                    self.log_tail()
                );
            }
        }
    }
}

/// Stops a process and its descendants, until no new one appears, and returns them.
fn freeze_tree(root: Pid) -> Vec<Pid> {
    let mut tree = Vec::new();
    loop {
        let found = descendants(root);
        let new: Vec<_> = found
            .into_iter()
            .filter(|pid| !tree.contains(pid))
            .collect();
        if new.is_empty() {
            return tree;
        }
        for pid in new {
            let _ = kill(pid, Signal::SIGSTOP);
            tree.push(pid);
        }
    }
}

fn descendants(root: Pid) -> Vec<Pid> {
    let parents: Vec<_> = processes()
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    tree
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// Of all its threads that live.
fn cpu_time_of(pid: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ')
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    });
    times.sum()
}

fn resident_of(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
