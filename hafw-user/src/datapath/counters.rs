//! Reading the per-CPU counters.

use aya::maps::{MapData, MapError, PerCpuArray};
use hafw_common::{backend::Traffic, counters::Counter};

/// The counters of the packet path, summed over the CPUs when read.
pub struct Counters {
    counters: PerCpuArray<MapData, u64>,
    traffic: PerCpuArray<MapData, Traffic>,
}

impl Counters {
    pub(super) fn new(
        counters: PerCpuArray<MapData, u64>,
        traffic: PerCpuArray<MapData, Traffic>,
    ) -> Self {
        Self { counters, traffic }
    }

    /// One counter.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn get(&self, counter: Counter) -> Result<u64, MapError> {
        let values = self.counters.get(&(counter as u32), 0)?;
        Ok(values.iter().sum())
    }

    /// All counters, in their order.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn all(&self) -> Result<Vec<(Counter, u64)>, MapError> {
        Counter::ALL
            .iter()
            .map(|&counter| Ok((counter, self.get(counter)?)))
            .collect()
    }

    /// What was steered to a backend.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn traffic(&self, backend: u32) -> Result<Traffic, MapError> {
        let values = self.traffic.get(&backend, 0)?;
        Ok(values.iter().fold(Traffic::default(), |sum, one| Traffic {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
        }))
    }
}
