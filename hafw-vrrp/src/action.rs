//! What a virtual router wants done.

use std::time::Duration;

use crate::Priority;

/// One thing to do. Actions are taken in their order.
///
/// What the order promises:
/// - attracting ends (`Revoke`) before a priority of 0 is advertised, before a fault is entered and
///   before the router steps down, and so does everything that was asked for the lease;
/// - the lease is written only after the advert that renews it was sent (the engine's part);
/// - `Announce` comes only after the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advert with this priority. With `renew`, and only once it was sent, the lease runs
    /// anew from the time read before.
    Advertise {
        /// What it carries; the effective priority, or [`Priority::RELEASE`].
        priority: Priority,
        /// It claims the addresses. Without: a last word.
        renew: bool,
    },
    /// Stop attracting, now.
    Revoke(Revocation),
    /// Send gratuitous ARP, or an unsolicited Neighbor Advertisement, for every address.
    Announce,
    /// The state has changed.
    Transition(Transition),
}

/// Why attracting ends, and what is still served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The router steps down in order: what still arrives is served for the grace.
    Orderly {
        /// For how long.
        grace: Duration,
    },
    /// A check failed or the link is gone: services are steered for the grace, but what the local
    /// proxy can still do only its own check says.
    Fault {
        /// For how long.
        grace: Duration,
    },
    /// A router that has precedence was heard, and owns the addresses from now on.
    Preempted {
        /// For how long.
        grace: Duration,
    },
    /// The lease had run out and another router took over: as orderly, for neighbours that were
    /// not reached.
    Superseded {
        /// For how long.
        grace: Duration,
    },
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: StateKind,
    /// After.
    pub to: StateKind,
    /// Why.
    pub cause: Cause,
}

/// A state without its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKind {
    /// Takes no part (RFC 9568 §6.4.1).
    Initialize,
    /// Stands by (§6.4.2).
    Backup,
    /// Owns the addresses (§6.4.3).
    Active,
    /// Must not own them: a check of weight 0 failed or the link is gone. Not in the RFC;
    /// keepalived's FAULT.
    Fault,
}

impl StateKind {
    /// As `hafw status` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
            Self::Fault => "fault",
        }
    }
}

/// What made a router change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was started.
    Startup,
    /// It was stopped.
    Shutdown,
    /// It went on with a lease that a former controller left.
    Adopted,
    /// The Active was not heard for Active_Down_Interval.
    ActiveDown,
    /// The Active gave the addresses up.
    Released,
    /// A router with a higher priority, or an equal one and a higher address.
    HigherPriority,
    /// The Active was heard after all, before the claim was out.
    ActiveHeard,
    /// Its lease had run out and another router took over.
    Superseded,
    /// A check of weight 0, or the link.
    Fault,
    /// Another router of its sync group gave its addresses up or is in fault.
    SyncGroup,
    /// The fault is over.
    Recovery,
}

impl Cause {
    /// For a log line.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Startup => "started",
            Self::Shutdown => "stopped",
            Self::Adopted => "went on with the lease of the controller before",
            Self::ActiveDown => "the Active was not heard any more",
            Self::Released => "the Active gave its addresses up",
            Self::HigherPriority => "heard a router that has precedence",
            Self::ActiveHeard => "the Active was heard after all",
            Self::Superseded => "its lease had run out and another router took over",
            Self::Fault => "a tracked check or the link failed",
            Self::SyncGroup => "its sync group moves together",
            Self::Recovery => "the fault is over",
        }
    }
}
