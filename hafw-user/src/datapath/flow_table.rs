//! Entries of flows in slots that have moved, and when the bases of such slots were last used.

use std::{path::PathBuf, time::Duration};

use aya::maps::{HashMap, Map, MapData, MapError};
use hafw_common::{
    maps,
    moved::{FLOW_CLOSING, FlowEntry, FlowKey},
    service::NO_BACKEND,
};
use hafw_vrrp::Instant;

use super::{
    jiffies::Jiffies,
    tables::{TableError, failed, is_full, removed},
};
use crate::sys::words::Words;

/// The tables, open.
pub struct FlowTable {
    pub(super) flows: HashMap<MapData, FlowKey, FlowEntry>,
    pub(super) base_seen: Words,
    pub(super) jiffies: Jiffies,
    pub(super) pin: PathBuf,
}

/// One flow, as its entry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowState {
    /// The backend's index.
    pub backend: u32,
    /// The client has ended it.
    pub closing: bool,
    /// Since the client's last packet.
    pub idle: Duration,
}

/// Lists the flows, on a thread that may wait: a system call for each.
#[derive(Clone, Debug)]
pub struct FlowLister(PathBuf);

impl FlowTable {
    /// The entry of a flow, if it has one.
    #[must_use]
    pub fn get(&self, key: &FlowKey, now: Instant) -> Option<FlowState> {
        let entry = self.flows.get(key, 0).ok()?;
        Some(self.state(&entry, now))
    }

    /// What an entry says.
    #[must_use]
    pub fn state(&self, entry: &FlowEntry, now: Instant) -> FlowState {
        FlowState {
            // 24 bits.
            backend: u32::try_from(entry.backend & u64::from(NO_BACKEND)).unwrap_or(NO_BACKEND),
            closing: entry.backend & FLOW_CLOSING != 0,
            idle: self.jiffies.since(entry.seen_at, now),
        }
    }

    /// Makes an entry, or replaces one. False if there is no room.
    ///
    /// # Errors
    /// The map refuses.
    pub fn put(
        &mut self,
        key: &FlowKey,
        state: FlowState,
        now: Instant,
    ) -> Result<bool, TableError> {
        let closing = if state.closing { FLOW_CLOSING } else { 0 };
        let entry = FlowEntry {
            backend: u64::from(state.backend) | closing,
            seen_at: self.jiffies.of(now - state.idle),
        };
        match self.flows.insert(key, entry, 0) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(e)) if is_full(&e.io_error) => Ok(false),
            Err(error) => Err(failed(maps::FLOWS)(error)),
        }
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// The map refuses.
    pub fn remove(&mut self, key: &FlowKey) -> Result<(), TableError> {
        let there = removed(self.flows.remove(key));
        there.map(drop).map_err(failed("FLOWS"))
    }

    /// How long ago the base of a slot was last used, by index in the SLOTS map; None if it never
    /// was.
    #[must_use]
    pub fn base_idle(&self, slot: u32, now: Instant) -> Option<Duration> {
        let slot = slot as usize;
        if slot >= self.base_seen.len() {
            return None;
        }
        let seen = self.base_seen.load(slot);
        (seen != 0).then(|| self.jiffies.since(seen, now))
    }

    /// To list the flows by.
    #[must_use]
    pub fn lister(&self) -> FlowLister {
        FlowLister(self.pin.clone())
    }
}

impl FlowLister {
    /// All flows. What comes or goes meanwhile may be missing or there.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn list(&self) -> Result<Vec<(FlowKey, FlowEntry)>, TableError> {
        let open = || {
            let map = Map::from_map_data(MapData::from_pin(&self.0)?)?;
            HashMap::<_, FlowKey, FlowEntry>::try_from(map)
        };
        let flows = open().map_err(failed(maps::FLOWS))?;
        flows
            .iter()
            .collect::<Result<_, _>>()
            .map_err(failed(maps::FLOWS))
    }
}
