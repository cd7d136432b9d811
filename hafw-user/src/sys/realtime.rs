//! Real-time scheduling of one thread, and memory that stays in RAM.
//!
//! The thread alone is scheduled so: what it forks is not (SCHED_RESET_ON_FORK), and other threads
//! never were. One that runs without a wait for [`SPIN`] goes back to ordinary scheduling: the kernel
//! says so with SIGXCPU (RLIMIT_RTTIME), and the handler does it in the kernel's own time, whatever
//! the thread is lost in. keepalived leaves that limit's signal to end the process.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    time::Duration,
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{Resource, Rlimit, getpriority_process, getrlimit, setrlimit},
    thread::{CapabilitySet, capabilities, gettid},
};

/// How long a thread with real-time priority may run without waiting for anything.
pub const SPIN: Duration = Duration::from_millis(500);

/// The shortest slice that the kernel gives. A round of the VRRP thread takes less.
const SLICE: Duration = Duration::from_micros(100);

/// The thread that has real-time priority; 0: none.
static THREAD: AtomicI32 = AtomicI32::new(0);
/// It ran for longer than [`SPIN`].
static DEMOTED: AtomicBool = AtomicBool::new(false);

/// Gives the calling thread SCHED_RR with this priority (1 to 99).
///
/// # Errors
/// The kernel does not permit it: no CAP_SYS_NICE and an RLIMIT_RTPRIO below the priority, or a
/// control group without real-time share.
pub fn take_priority(priority: u8) -> io::Result<()> {
    limit_spinning()?;
    THREAD.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    schedule(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, priority)
        .inspect_err(|_| THREAD.store(0, Ordering::Relaxed))
}

/// Whether the thread that took a priority lost it by spinning.
#[must_use]
pub fn is_demoted() -> bool {
    DEMOTED.load(Ordering::Relaxed)
}

/// Asks for [`SLICE`] at a time, for the calling thread with ordinary scheduling: whoever takes less
/// at once is let in earlier. Needs no right.
///
/// # Errors
/// The kernel's, which has no reason to. One before 6.12 takes no notice (857b158dc5e8, "sched/eevdf:
/// Use sched_attr::sched_runtime to set request/slice suggestion").
pub fn shorten_slice() -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        // SCHED_FLAG_RESET_ON_FORK (include/uapi/linux/sched.h).
        sched_flags: 1,
        sched_nice: getpriority_process(None)?,
        sched_priority: 0,
        sched_runtime: u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX),
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags) = (0, 0);
    // SAFETY: the kernel reads `size` bytes of the attributes, which live until the call returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            this_thread,
            std::ptr::from_ref(&attributes),
            no_flags,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Keeps in RAM what this process touches, from its first use on: nothing is read in ahead, so the
/// resident set stays what it is.
///
/// # Errors
/// The process may not lock as much as it may come to have. A limit that is only high is refused
/// too: with it, an allocation would fail one day.
pub fn lock_memory() -> io::Result<()> {
    let capable =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !capable && getrlimit(Resource::Memlock).current.is_some() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(mlockall(flags)?)
}

/// Lets the kernel tell of a spinning thread. A lower limit that stands already is kept.
fn limit_spinning() -> io::Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(demote),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler makes one system call and touches atomics only: async-signal-safe.
    unsafe { sigaction(Signal::SIGXCPU, &action)? };
    let Rlimit { current, maximum } = getrlimit(Resource::Rttime);
    // Microseconds; the kernel kills at the maximum.
    let spin = u64::try_from(SPIN.as_micros()).unwrap_or(u64::MAX);
    let spin = maximum.map_or(spin, |maximum| spin.min(maximum / 2));
    if current.is_none_or(|current| current > spin) {
        let limit = Rlimit {
            current: Some(spin),
            maximum,
        };
        setrlimit(Resource::Rttime, limit)?;
    }
    Ok(())
}

/// Runs in whatever thread the kernel chose.
extern "C" fn demote(_signal: libc::c_int) {
    let thread = THREAD.swap(0, Ordering::Relaxed);
    if thread != 0 {
        // An ordinary policy is always permitted. `errno` is the interrupted code's: not touched by
        // a call that succeeds.
        let _ = schedule(thread, libc::SCHED_OTHER, 0);
        DEMOTED.store(true, Ordering::Relaxed);
    }
}

/// The system call itself: a C library may mean the process by `thread`, or refuse.
fn schedule(thread: i32, policy: libc::c_int, priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: the kernel reads one sched_param, which lives until the call returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            thread,
            policy,
            std::ptr::from_ref(&parameter),
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    /// Field 41 of a process's or thread's `stat` (proc_pid_stat(5)).
    fn policy(stat: &str) -> i32 {
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(38).unwrap().parse().unwrap()
    }

    fn own_policy() -> i32 {
        policy(&std::fs::read_to_string("/proc/thread-self/stat").unwrap())
    }

    /// One test for all: the limit and the thread are the process's.
    #[test]
    fn priority_is_of_one_thread_and_of_nothing_that_it_starts_and_ends_with_spinning() {
        let worker = thread::spawn(|| {
            if let Err(error) = take_priority(1) {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(own_policy(), libc::SCHED_OTHER);
                return;
            }
            assert_eq!(own_policy(), libc::SCHED_RR);
            assert_eq!(thread::spawn(own_policy).join().unwrap(), libc::SCHED_OTHER);
            let child = Command::new("cat").arg("/proc/self/stat").output().unwrap();
            let child = String::from_utf8(child.stdout).unwrap();
            assert_eq!(policy(&child), libc::SCHED_OTHER);
            assert!(!is_demoted());
            while !is_demoted() {
                std::hint::spin_loop();
            }
            assert_eq!(own_policy(), libc::SCHED_OTHER);
        });
        worker.join().unwrap();
        assert_eq!(own_policy(), libc::SCHED_OTHER);
    }
}
