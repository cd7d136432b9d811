//! Killing a command with everything that it started.
//!
//! Its process group is not enough: `timeout` and shells with job control give their children
//! groups of their own. Its descendants are not enough: a child whose parent ended has another.
//! Both together are all but those that left both, as daemons do: such a one lives on, as keepalived
//! and shells have it. A check may start the service that it found dead.

use std::{fs, mem};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

/// Stops all of them, so that none starts another or sees one end, until no new one is found; then
/// kills them. `leader` leads the group, and was not waited for.
pub(super) fn kill(leader: Pid) {
    // These fail only for those that have ended meanwhile.
    let _ = kill_process_group(leader, Signal::STOP);
    let mut tree = vec![leader];
    let mut outside: Vec<OwnedFd> = Vec::new();
    loop {
        let known = tree.len();
        for (pid, kin) in processes() {
            if tree.contains(&pid) || !kin.belongs(leader, &tree) {
                continue;
            }
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            // The number may have become another's before the descriptor was there.
            if !kin_of(pid).is_some_and(|kin| kin.belongs(leader, &tree)) {
                continue;
            }
            let _ = pidfd_send_signal(&process, Signal::STOP);
            tree.push(pid);
            outside.push(process);
        }
        if tree.len() == known {
            break;
        }
    }
    let _ = kill_process_group(leader, Signal::KILL);
    for process in mem::take(&mut outside) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

/// What a process has in common with others.
struct Kin {
    parent: Option<Pid>,
    group: Option<Pid>,
}

impl Kin {
    fn belongs(&self, leader: Pid, tree: &[Pid]) -> bool {
        self.group == Some(leader) || self.parent.is_some_and(|parent| tree.contains(&parent))
    }
}

fn processes() -> impl Iterator<Item = (Pid, Kin)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        Some((pid, kin_of(pid)?))
    })
}

fn kin_of(pid: Pid) -> Option<Kin> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name, in parentheses, may hold anything; then follow state, parent and group
    // (proc_pid_stat(5)).
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(1).map(str::parse);
    let mut next = || Pid::from_raw(fields.next()?.ok()?);
    Some(Kin {
        parent: next(),
        group: next(),
    })
}
