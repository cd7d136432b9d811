//! What tracked checks come to: the priority of a router with everything up, with each check down,
//! and with all of them down. The same arithmetic as of a running node ([`Tracking`]).

use crate::{
    config::Router,
    node::tracking::{Standing, Track, Tracking},
};

/// The priorities that a router can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// With every check up.
    pub up: u8,
    /// Each tracked check, in the order of the file.
    pub checks: Vec<CheckEffect>,
    /// With every check down; None: fault.
    pub all_down: Option<u8>,
}

/// What one check does when it alone goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckEffect {
    /// Its name.
    pub check: String,
    /// Its weight.
    pub weight: i16,
    /// The priority with it down; None: fault.
    pub down: Option<u8>,
    /// The highest weight with which its failure would leave less than another priority: that
    /// other priority less this.
    margin: i32,
}

impl CheckEffect {
    /// The highest weight that lets the check's failure bring the priority below `other`; None if
    /// no weight does.
    #[must_use]
    pub fn weight_to_lose(&self, other: u8) -> Option<i32> {
        let weight = i32::from(other) - self.margin;
        (other > 1 && weight >= -253).then_some(weight.min(-1))
    }
}

/// The effect of one router's checks.
#[must_use]
pub fn effect(router: &Router) -> Effect {
    let lost = |standing: Standing| (!standing.fault).then_some(standing.priority);
    let checks = router.track.iter().enumerate().map(|(index, track)| {
        let positive = router
            .track
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let bonus: i32 = positive
            .map(|(_, other)| i32::from(other.weight.max(0)))
            .sum();
        CheckEffect {
            check: track.check.value.clone(),
            weight: track.weight,
            down: lost(standing(router, |other| other != index)),
            margin: i32::from(router.priority.get()) + bonus + 1,
        }
    });
    Effect {
        up: standing(router, |_| true).priority,
        checks: checks.collect(),
        all_down: lost(standing(router, |_| false)),
    }
}

/// With the checks up that `up` says, by their position in `track`.
fn standing(router: &Router, up: impl Fn(usize) -> bool) -> Standing {
    let names = router
        .track
        .iter()
        .map(|track| (track.check.value.clone(), false))
        .collect();
    let tracks = router.track.iter().enumerate();
    let tracks = tracks
        .map(|(check, track)| Track {
            check,
            weight: track.weight,
        })
        .collect();
    let mut tracking = Tracking::new(names, vec![(router.priority.get(), tracks)]);
    for check in 0..router.track.len() {
        tracking.set_check(check, up(check));
    }
    tracking.standing(0)
}
