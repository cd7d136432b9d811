//! What was met in a run, to know that it proves something.

use std::{collections::BTreeMap, fmt};

/// How often what happened. A run of many seeds must have met all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<Met, u64>);

/// What a run should have met to prove something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Met {
    Takeover,
    /// Of these: after the lease of a controller that hung had run out.
    TakeoverFromHung,
    Superseded,
    Adopted,
    Announced,
    /// An announcement that the egress program had to drop.
    AnnouncementDropped,
    RingOverflow,
    RevokedByXdp,
    /// A controller was stopped or killed in the middle of a run.
    Stalled,
    Muted,
    AdvertLost,
    AdvertLate,
    Duplicated,
    Overtaken,
    /// A controller was killed in the middle of a command that gives the addresses up.
    KilledGivingUp,
    Reconfigured,
    /// Two that know each other exchanged their priorities.
    Crossed,
    /// A machine woke with a lease that its clock had not let run out.
    WokeWithLease,
    /// Two that hear each other attracted at a time.
    Overlap,
    /// Of these: the older one hung, and had precedence. Its lease must end by itself.
    OverlapWithHung,
}

impl Met {
    const ALL: [Self; 20] = [
        Self::Takeover,
        Self::TakeoverFromHung,
        Self::Superseded,
        Self::Adopted,
        Self::Announced,
        Self::AnnouncementDropped,
        Self::RingOverflow,
        Self::RevokedByXdp,
        Self::Stalled,
        Self::Muted,
        Self::AdvertLost,
        Self::AdvertLate,
        Self::Duplicated,
        Self::Overtaken,
        Self::KilledGivingUp,
        Self::Reconfigured,
        Self::Crossed,
        Self::WokeWithLease,
        Self::Overlap,
        Self::OverlapWithHung,
    ];
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(what, times)| writeln!(f, "met {what:?}: {times}"))
    }
}

impl Counts {
    pub(crate) fn meet(&mut self, what: Met) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn of(&self, what: Met) -> u64 {
        self.0.get(&what).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(*what).or_default() += times;
        }
    }

    pub(crate) fn missing(&self) -> Vec<Met> {
        Met::ALL
            .into_iter()
            .filter(|what| self.of(*what) == 0)
            .collect()
    }
}
