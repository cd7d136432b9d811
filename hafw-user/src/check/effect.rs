//! What tracked checks come to: the priority of a router with everything up, with each check down,
//! and with all of them down; a file's number is 0 for up and 1 for down. The same arithmetic as of a running node ([`Tracking`]).

use crate::{
    config::{Check, CheckKind, Router},
    node::tracking::{Found, Standing, Track, Tracking},
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
    /// It finds a number rather than up or down.
    pub number: bool,
    /// The priority with it down; None: fault.
    pub down: Option<u8>,
    /// The highest weight with which its failure would leave less than another priority: that
    /// other priority less this.
    margin: i32,
}

impl CheckEffect {
    /// What it is called when it does harm.
    #[must_use]
    pub fn failed(&self) -> &'static str {
        if self.number { "says 1" } else { "down" }
    }

    /// The number of least size with which it brings the priority `up` below `other`; None where
    /// the weight is 0, so that any does, or no number is large enough.
    #[must_use]
    pub fn number_to_lose(&self, up: u8, other: u8) -> Option<i32> {
        let (weight, surplus) = (i32::from(self.weight), i32::from(up) - i32::from(other));
        // The clamp leaves at least 1; a product below -253 is fault.
        let least = if other > 1 { surplus + 1 } else { 254 };
        (weight != 0)
            .then(|| -weight.signum() * (least + weight.abs() - 1).div_euclid(weight.abs()))
    }

    /// The highest weight that lets the check's failure bring the priority below `other`; None if
    /// no weight does.
    #[must_use]
    pub fn weight_to_lose(&self, other: u8) -> Option<i32> {
        let weight = i32::from(other) - self.margin;
        (other > 1 && weight >= -253).then_some(weight.min(-1))
    }
}

/// The effect of one router's checks, which are among `checks`.
#[must_use]
pub fn effect(router: &Router, checks: &[Check]) -> Effect {
    let numbers: Vec<_> = router
        .track
        .iter()
        .map(|track| has_number(&track.check.value, checks))
        .collect();
    let standing = |up: &dyn Fn(usize) -> bool| standing(router, &numbers, up);
    let lost = |standing: Standing| (!standing.fault).then_some(standing.priority);
    let effects = router.track.iter().enumerate().map(|(index, track)| {
        let positive = router
            .track
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index && !numbers[*other]);
        let bonus: i32 = positive
            .map(|(_, other)| i32::from(other.weight.max(0)))
            .sum();
        CheckEffect {
            check: track.check.value.clone(),
            weight: track.weight,
            number: numbers[index],
            down: lost(standing(&|other| other != index)),
            margin: i32::from(router.priority.get()) + bonus + 1,
        }
    });
    Effect {
        up: standing(&|_| true).priority,
        checks: effects.collect(),
        all_down: lost(standing(&|_| false)),
    }
}

fn has_number(name: &str, checks: &[Check]) -> bool {
    let check = checks.iter().find(|check| check.name.value == name);
    check.is_some_and(|check| matches!(check.kind, CheckKind::File(_)))
}

/// With the checks up that `up` says, by their position in `track`.
fn standing(router: &Router, numbers: &[bool], up: &dyn Fn(usize) -> bool) -> Standing {
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
    for (check, number) in numbers.iter().enumerate() {
        let found = match (number, up(check)) {
            (true, up) => Found::Number(i32::from(!up)),
            (false, true) => Found::Up,
            (false, false) => Found::Down,
        };
        tracking.set_check(check, found);
    }
    tracking.standing(0)
}
