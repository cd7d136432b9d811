//! Which indices of the SLOTS and BACKENDS maps are in use.

use std::{collections::BTreeSet, ops::Range};

/// Regions of a map: contiguous, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    /// Free ranges, in order, none empty, no two adjacent.
    free: Vec<Range<u32>>,
}

impl Regions {
    pub(crate) fn new(capacity: u32) -> Self {
        let all = 0..capacity;
        Self {
            free: Some(all)
                .filter(|all| !all.is_empty())
                .into_iter()
                .collect(),
        }
    }

    /// The first entry of `length` free ones, now in use.
    pub(crate) fn take(&mut self, length: u32) -> Option<u32> {
        let found = self
            .free
            .iter()
            .position(|range| range.end - range.start >= length)?;
        let start = self.free[found].start;
        self.cut(found, start..start + length);
        Some(start)
    }

    /// Marks a particular region as in use. False, and nothing done, if part of it is not free.
    pub(crate) fn claim(&mut self, region: Range<u32>) -> bool {
        let within = |free: &Range<u32>| free.start <= region.start && region.end <= free.end;
        match self.free.iter().position(within) {
            Some(found) if !region.is_empty() => {
                self.cut(found, region);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Gives a region back.
    pub(crate) fn release(&mut self, region: Range<u32>) {
        let at = self
            .free
            .partition_point(|range| range.start < region.start);
        self.free.insert(at, region);
        self.free.dedup_by(|next, range| {
            let adjacent = range.end == next.start;
            if adjacent {
                range.end = next.end;
            }
            adjacent
        });
    }

    /// Length of the longest free region.
    pub(crate) fn longest(&self) -> u32 {
        self.free
            .iter()
            .map(|range| range.end - range.start)
            .max()
            .unwrap_or(0)
    }

    fn cut(&mut self, found: usize, used: Range<u32>) {
        let Range { start, end } = self.free[found];
        let rest = [start..used.start, used.end..end];
        self.free.splice(
            found..=found,
            rest.into_iter().filter(|range| !range.is_empty()),
        );
    }
}

/// Single entries of a map, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct Indices {
    capacity: u32,
    /// Everything from here on is free.
    end: u32,
    /// What is free below `end`.
    holes: BTreeSet<u32>,
}

impl Indices {
    pub(crate) const fn new(capacity: u32) -> Self {
        Self {
            capacity,
            end: 0,
            holes: BTreeSet::new(),
        }
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(hole) = self.holes.pop_first() {
            return Some(hole);
        }
        let index = self.end;
        self.end = (index < self.capacity).then_some(index + 1)?;
        Some(index)
    }

    /// Marks a particular entry as in use. False if it is not free.
    pub(crate) fn claim(&mut self, index: u32) -> bool {
        if index >= self.capacity {
            return false;
        }
        if index >= self.end {
            self.holes.extend(self.end..index);
            self.end = index + 1;
            return true;
        }
        self.holes.remove(&index)
    }

    pub(crate) fn release(&mut self, index: u32) {
        self.holes.insert(index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: u32 = 64;

    fn overlap(a: &Range<u32>, b: &Range<u32>) -> bool {
        a.start < b.end && b.start < a.end
    }

    proptest! {
        /// Steps: take so many, or give back the n-th of those taken.
        #[test]
        fn regions_never_overlap_and_none_is_lost(
            steps in prop::collection::vec((any::<bool>(), 1..20u32), 1..60),
        ) {
            let mut regions = Regions::new(CAPACITY);
            let mut taken: Vec<Range<u32>> = Vec::new();
            for (take, number) in steps {
                if take {
                    let longest = regions.longest();
                    let start = regions.take(number);
                    prop_assert_eq!(start.is_some(), number <= longest);
                    if let Some(start) = start {
                        let region = start..start + number;
                        prop_assert!(region.end <= CAPACITY);
                        prop_assert!(!taken.iter().any(|other| overlap(other, &region)));
                        taken.push(region);
                    }
                } else if !taken.is_empty() {
                    regions.release(taken.swap_remove(number as usize % taken.len()));
                }
            }
            for region in taken {
                regions.release(region);
            }
            prop_assert_eq!(regions.longest(), CAPACITY);
        }

        #[test]
        fn a_region_is_claimed_only_where_all_of_it_is_free(
            claims in prop::collection::vec((0..80u32, 0..20u32), 1..20),
        ) {
            let mut regions = Regions::new(CAPACITY);
            let mut taken: Vec<Range<u32>> = Vec::new();
            for (start, length) in claims {
                let region = start..start + length;
                let free = length > 0
                    && region.end <= CAPACITY
                    && !taken.iter().any(|other| overlap(other, &region));
                prop_assert_eq!(regions.claim(region.clone()), free);
                taken.extend(free.then_some(region));
            }
        }

        #[test]
        fn an_index_is_in_use_once(
            steps in prop::collection::vec((0..3u8, 0..24u32), 1..80),
        ) {
            let mut indices = Indices::new(20);
            let mut taken = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => {
                        let index = indices.take();
                        prop_assert_eq!(index, (0..20).find(|index| !taken.contains(index)));
                        taken.extend(index);
                    }
                    1 => {
                        let free = number < 20 && !taken.contains(&number);
                        prop_assert_eq!(indices.claim(number), free);
                        taken.extend(free.then_some(number));
                    }
                    _ => {
                        if taken.remove(&number) {
                            indices.release(number);
                        }
                    }
                }
            }
        }
    }
}
