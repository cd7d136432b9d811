//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4) with weights.
//!
//! Every backend has a permutation of the slots, made from its key alone. Backends take turns; in
//! its turn a backend takes the first slot of its permutation that is still free. With weights,
//! the turns follow the Sainte-Laguë sequence: the `k`-th turn (from 0) of a backend of weight `w`
//! comes at time (2k + 1) / 2w. So all shares are within about one slot of the ideal at any
//! moment, whatever the weights, and turns of heavy and light backends are spread evenly.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::identity::mix;

/// One backend of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// What its permutation comes from, see [`crate::backend_key`]. Unique within a table.
    pub key: u64,
    /// Its share relative to the others'. 0: drained, never chosen.
    pub weight: u32,
}

/// Fills `slots` slots with indices into `backends`: the same assignment of keys to slots whatever
/// the order of `backends`. `None` throughout where no backend has a weight, else nowhere.
///
/// `slots` should be a prime, and 100 times the number of backends for shares within 1 %; any other
/// number is filled completely too.
#[must_use]
pub fn build(backends: &[Weighted], slots: u32) -> Vec<Option<u32>> {
    let walks = backends
        .iter()
        .map(|backend| Walk::new(backend.key, slots))
        .collect();
    fill(backends, walks, slots)
}

fn fill(backends: &[Weighted], mut walks: Vec<Walk>, slots: u32) -> Vec<Option<u32>> {
    let mut table = vec![None; slots as usize];
    let mut queue: BinaryHeap<Reverse<Turn>> = (0u32..)
        .zip(backends)
        .filter(|(_, backend)| backend.weight > 0)
        .map(|(index, &backend)| {
            Reverse(Turn {
                number: 0,
                backend,
                index,
            })
        })
        .collect();
    for _ in 0..slots {
        let Some(mut next) = queue.peek_mut() else {
            break;
        };
        let Turn { number, index, .. } = &mut next.0;
        *number += 1;
        let walk = &mut walks[*index as usize];
        // A permutation comes by every slot, and one is free.
        while table[walk.at as usize].is_some() {
            walk.step(slots);
        }
        table[walk.at as usize] = Some(*index);
    }
    table
}

/// Offsets at which `new` differs from `old`, with what stands there in `new`. Where `old` is
/// shorter, the rest of `new` is all different.
pub fn diff<'a, T: Copy + PartialEq>(
    old: &'a [T],
    new: &'a [T],
) -> impl Iterator<Item = (u32, T)> + 'a {
    (0u32..).zip(new).filter_map(move |(offset, value)| {
        (old.get(offset as usize) != Some(value)).then_some((offset, *value))
    })
}

/// A backend's place in its permutation of the slots.
struct Walk {
    at: u32,
    skip: u32,
}

impl Walk {
    fn new(key: u64, slots: u32) -> Self {
        let Some(others) = slots.checked_sub(1).filter(|others| *others > 0) else {
            return Self { at: 0, skip: 0 };
        };
        // Two independent values from one key; the constants only keep them apart.
        let at = mix(key ^ 0x9e37_79b9_7f4a_7c15) % u64::from(slots);
        let skip = mix(key ^ 0xc2b2_ae3d_27d4_eb4f) % u64::from(others) + 1;
        let [at, mut skip] = [at, skip]
            .map(|value| u32::try_from(value).expect("a remainder of a division by a u32 is one"));
        // At once true for a prime.
        while gcd(skip, slots) != 1 {
            skip = skip % others + 1;
        }
        Self { at, skip }
    }

    fn step(&mut self, slots: u32) {
        let room = slots - self.at;
        self.at = if self.skip >= room {
            self.skip - room
        } else {
            self.at + self.skip
        };
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The next turn of a backend. Ordered by time, then by key, so that the order of the input has no
/// say.
#[derive(PartialEq, Eq)]
struct Turn {
    number: u32,
    backend: Weighted,
    index: u32,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // (2k + 1) / 2w compared exactly, crosswise: below 2^33 * 2^32.
        let time = |a: &Self, b: &Self| {
            u128::from(2 * u64::from(a.number) + 1) * u128::from(b.backend.weight)
        };
        time(self, other)
            .cmp(&time(other, self))
            .then_with(|| self.backend.key.cmp(&other.backend.key))
            .then_with(|| self.index.cmp(&other.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
