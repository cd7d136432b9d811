//! What goes wrong in a run, by number, so that a run that failed can be repeated without some of it.
//!
//! All that a run draws comes from one generator. To leave a disturbance out without changing those
//! after it, the generator is put back before each to where it stood in the run that is repeated.

use std::collections::BTreeSet;

use crate::random::Random;

/// Where the generator stood before each disturbance of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    states: Vec<Random>,
    /// Disturbances of the run that is repeated which do not happen, if one is.
    omitted: Option<BTreeSet<usize>>,
    next: usize,
}

impl Script {
    /// Repeats a run but for some of its disturbances.
    pub(crate) fn without(&self, omitted: BTreeSet<usize>) -> Self {
        Self {
            states: self.states.clone(),
            omitted: Some(omitted),
            next: 0,
        }
    }

    /// How many there were.
    pub(crate) fn disturbances(&self) -> usize {
        self.states.len()
    }

    /// The next disturbance is due. False if it is left out.
    pub(crate) fn step(&mut self, random: &mut Random) -> bool {
        let index = self.next;
        self.next += 1;
        let Some(omitted) = &self.omitted else {
            self.states.push(random.clone());
            return true;
        };
        if let Some(state) = self.states.get(index) {
            *random = state.clone();
        }
        !omitted.contains(&index)
    }
}
