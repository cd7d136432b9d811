//! Whether load on the machine can keep the VRRP thread waiting: what was asked for, what the kernel
//! permitted, and what to do about the rest.

use tracing::{error, info, warn};

use crate::sys::realtime::{SPIN, is_demoted, lock_memory, shorten_slice, take_priority};

/// What `[node]` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// SCHED_RR priority of the VRRP thread, 1 to 99; None: ordinary scheduling.
    pub priority: Option<u8>,
    /// Keep the process's memory in RAM.
    pub lock_memory: bool,
}

/// What it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// SCHED_RR priority of the VRRP thread; None: ordinary scheduling.
    pub priority: Option<u8>,
    /// Its memory stays in RAM.
    pub memory_locked: bool,
    /// Why either is not as asked for; empty if it is.
    pub reason: String,
}

impl Wanted {
    /// Asks the kernel, for the calling thread. A refusal is no error: adverts are sent either way.
    pub(super) fn ask(self) -> Granted {
        let mut reasons = Vec::new();
        let priority = self.priority.filter(|priority| {
            take_priority(*priority)
                .inspect_err(|error| {
                    reasons.push(format!(
                        "no SCHED_RR: {error} (CAP_SYS_NICE, or RLIMIT_RTPRIO)"
                    ));
                })
                .is_ok()
        });
        if priority.is_none()
            && let Err(error) = shorten_slice()
        {
            warn!(%error, "the VRRP thread's slice cannot be shortened");
        }
        let memory_locked = self.lock_memory
            && lock_memory()
                .inspect_err(|error| {
                    reasons.push(format!(
                        "memory not locked: {error} (CAP_IPC_LOCK, or RLIMIT_MEMLOCK unlimited)"
                    ));
                })
                .is_ok();
        let granted = Granted {
            priority,
            memory_locked,
            reason: reasons.join("; "),
        };
        if granted.reason.is_empty() {
            info!(priority, memory_locked, "scheduling of the VRRP thread");
        } else {
            warn!(
                priority,
                memory_locked, "load may delay adverts: {}", granted.reason
            );
        }
        granted
    }
}

impl Granted {
    /// As it is now: a thread that spun has lost its priority.
    #[must_use]
    pub fn now(&self) -> Self {
        if self.priority.is_none() || !is_demoted() {
            return self.clone();
        }
        Self {
            priority: None,
            reason: format!("SCHED_RR taken away: it ran for {SPIN:?} without a wait"),
            ..self.clone()
        }
    }

    /// Logs the loss of the priority, once.
    pub(super) fn notice(&mut self) {
        let now = self.now();
        if now.priority != self.priority {
            error!("VRRP thread: {}", now.reason);
            *self = now;
        }
    }
}
