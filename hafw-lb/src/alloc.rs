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
