//! What is known of a router.

use std::time::Duration;

use super::{ActivePeer, State, VirtualRouter};
use crate::{Instant, Interval, Priority, RouterConfig, wire::Advertisement};

impl VirtualRouter {
    /// The advert with this priority.
    #[must_use]
    pub fn advertisement(&self, priority: Priority) -> Advertisement {
        self.config.advertisement(priority)
    }

    /// L of invariant 1.
    #[must_use]
    pub fn lease_length(&self) -> Duration {
        self.config.lease_length()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the state is Active. Attracting takes a live lease besides.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    /// Whether the state is Backup.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        matches!(self.state, State::Backup { .. })
    }

    /// Whether it is Active and its lease certainly runs at `at`.
    #[must_use]
    pub fn is_leased(&self, at: Instant) -> bool {
        match self.state {
            State::Active {
                leased_until,
                doubtful,
                ..
            } => !doubtful && leased_until.is_some_and(|until| at < until),
            State::Initialize | State::Backup { .. } | State::Fault => false,
        }
    }

    /// Whether it is a Backup whose Active_Down_Timer has fired.
    #[must_use]
    pub fn takes_over(&self, now: Instant) -> bool {
        match self.state {
            State::Backup {
                active_down_timer, ..
            } => now >= active_down_timer,
            State::Initialize | State::Active { .. } | State::Fault => false,
        }
    }

    /// Whether the next renewal has to wait for the answer's time. An advert of another router may
    /// have ended the lease that is to be renewed or claimed; XDP writes when it did with a time
    /// that it reads after the advert is in the ring, and a renewal from before that has no power.
    /// It waits once: a flood must not keep it waiting.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self.state {
            State::Active {
                answer_timer,
                leased_until,
                doubtful,
                waited,
                ..
            } => answer_timer.is_some() && !waited && (leased_until.is_none() || doubtful),
            State::Initialize | State::Backup { .. } | State::Fault => false,
        }
    }

    /// In this state since.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The effective priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Changes of state so far.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The other router that was last heard.
    #[must_use]
    pub fn peer(&self) -> Option<ActivePeer> {
        self.peer
    }

    /// Skew_Time with the effective priority.
    #[must_use]
    pub fn skew_time(&self, active_adver_interval: Interval) -> Duration {
        self.config.skew_time(self.priority, active_adver_interval)
    }

    /// Active_Down_Interval with the effective priority.
    #[must_use]
    pub fn active_down_interval(&self, active_adver_interval: Interval) -> Duration {
        self.config
            .active_down_interval(self.priority, active_adver_interval)
    }
}
