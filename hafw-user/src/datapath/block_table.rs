//! Sources that are kept out for a time. The times end in XDP, whether or not the controller lives.

use std::{net::IpAddr, time::Duration};

use aya::maps::{HashMap, MapData, MapError};
use hafw_common::{blocked::Source, mapped, unmapped};
use hafw_vrrp::Instant;

use super::{
    jiffies::Jiffies,
    tables::{TableError, failed, removed},
};

/// The table, open.
pub struct BlockTable {
    pub(super) blocked: HashMap<MapData, Source, u64>,
    pub(super) jiffies: Jiffies,
}

impl BlockTable {
    /// Keeps a source out until then. One more than the map holds is left out: false.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn block(&mut self, source: IpAddr, until: Instant) -> Result<bool, TableError> {
        match self.blocked.insert(key(source), self.jiffies.of(until), 0) {
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::E2BIG) => {
                Ok(false)
            }
            result => result.map(|()| true).map_err(failed("BLOCKED")),
        }
    }

    /// Lets a source in again. False: it was not kept out.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn unblock(&mut self, source: IpAddr) -> Result<bool, TableError> {
        removed(self.blocked.remove(&key(source))).map_err(failed("BLOCKED"))
    }

    /// The sources that are in the map, and for how long still at `now`.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn sources(&self, now: Instant) -> Result<Vec<(IpAddr, Duration)>, TableError> {
        let entries = self.blocked.iter().map(|entry| {
            let (source, until) = entry.map_err(failed("BLOCKED"))?;
            Ok((unmapped(source.address), self.jiffies.left(until, now)))
        });
        entries.collect()
    }
}

fn key(source: IpAddr) -> Source {
    Source {
        address: mapped(source.to_canonical()),
    }
}
