//! The states and their timers.

use std::net::IpAddr;

use crate::{Instant, Interval, Priority, StateKind};

/// The state, with the timers that live in it. [`crate::VirtualRouter`] has the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// RFC 9568 §6.4.1.
    Initialize,
    /// §6.4.2.
    Backup {
        /// Active_Down_Timer: when it fires, this router takes over.
        active_down_timer: Instant,
        /// Active_Adver_Interval, learnt from the Active.
        active_adver_interval: Interval,
        /// When an advert of priority 0 arrived, if one shortened the timer.
        released_at: Option<Instant>,
    },
    /// §6.4.3.
    Active {
        /// Adver_Timer: when it fires, the next advert is due.
        adver_timer: Instant,
        /// When an advert out of turn is due, which answers another router's; or a claim that had
        /// to wait.
        answer_timer: Option<Instant>,
        /// When the lease ends, as far as this side knows. None until it was tried to send the
        /// first advert of the tenure: the claim.
        leased_until: Option<Instant>,
        /// XDP may have ended the lease (`hafw_common::lease::ends_lease`), until the next renewal:
        /// another router was heard when the last one was older than an interval or not written
        /// yet, or one that beats what was advertised, though not the priority of now.
        doubtful: bool,
        /// The next renewal has waited once, and waits no more: see
        /// [`VirtualRouter::is_held`](crate::VirtualRouter::is_held).
        waited: bool,
    },
    /// See [`StateKind::Fault`].
    Fault,
}

impl State {
    /// Without the timers.
    #[must_use]
    pub const fn kind(self) -> StateKind {
        match self {
            Self::Initialize => StateKind::Initialize,
            Self::Backup { .. } => StateKind::Backup,
            Self::Active { .. } => StateKind::Active,
            Self::Fault => StateKind::Fault,
        }
    }
}

/// The other router that was last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivePeer {
    /// Source of its adverts.
    pub source: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// When it was heard.
    pub at: Instant,
}
