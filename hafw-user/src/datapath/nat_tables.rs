//! The tables of `nat` replies: where they come from, and the mirror of routes and neighbours by
//! which they go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aya::maps::{
    Array, HashMap, MapData, MapError,
    lpm_trie::{Key, LpmTrie},
};
use hafw_common::{
    mapped,
    maps::VIP_FILTER_WORDS,
    nat::{NatKey, NatSource},
    route::{NeighbourKey, Route},
    unmapped,
    vip::filter_bit_of,
};

use super::tables::{TableError, failed, is_full, removed};

/// The tables, open.
pub struct NatTables {
    pub(super) filter: Array<MapData, u64>,
    pub(super) sources: HashMap<MapData, NatKey, NatSource>,
    pub(super) routes: LpmTrie<MapData, [u8; 16], Route>,
    pub(super) neighbours: HashMap<MapData, NeighbourKey, u64>,
}

impl NatTables {
    /// Lets replies from these endpoints through, too.
    ///
    /// # Errors
    /// A map refuses a change.
    pub fn add_sources(&mut self, sources: &BTreeMap<NatKey, NatSource>) -> Result<(), TableError> {
        for (key, source) in sources {
            if self.sources.get(key, 0).ok() != Some(*source) {
                self.sources
                    .insert(key, source, 0)
                    .map_err(failed("NAT_SOURCES"))?;
            }
        }
        // A source's bit comes after its entry, and goes before it.
        let addresses = sources.keys().map(|key| key.address);
        self.each_filter_word(addresses, |present, wanted| present | wanted)
    }

    /// Lets replies from no other endpoints through.
    ///
    /// # Errors
    /// A map refuses a change.
    pub fn retain_sources(
        &mut self,
        sources: &BTreeMap<NatKey, NatSource>,
    ) -> Result<(), TableError> {
        let addresses = sources.keys().map(|key| key.address);
        self.each_filter_word(addresses, |_, wanted| wanted)?;
        let present: BTreeSet<NatKey> = self
            .sources
            .keys()
            .collect::<Result<_, _>>()
            .map_err(failed("NAT_SOURCES"))?;
        for key in present.iter().filter(|key| !sources.contains_key(key)) {
            self.sources.remove(key).map_err(failed("NAT_SOURCES"))?;
        }
        Ok(())
    }

    fn each_filter_word(
        &mut self,
        addresses: impl Iterator<Item = [u8; 16]>,
        change: impl Fn(u64, u64) -> u64,
    ) -> Result<(), TableError> {
        let mut wanted = vec![0u64; VIP_FILTER_WORDS as usize];
        for (word, bit) in addresses.map(filter_bit_of) {
            wanted[word as usize] |= bit;
        }
        for (word, wanted) in (0u32..).zip(wanted) {
            let present = self.filter.get(&word, 0).map_err(failed("NAT_FILTER"))?;
            let changed = change(present, wanted);
            if changed != present {
                self.filter
                    .set(word, changed, 0)
                    .map_err(failed("NAT_FILTER"))?;
            }
        }
        Ok(())
    }

    /// All routes.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn routes(&self) -> Result<BTreeMap<(IpAddr, u8), Route>, TableError> {
        let entry = |entry: Result<(Key<[u8; 16]>, Route), MapError>| {
            let (key, route) = entry.map_err(failed("ROUTES"))?;
            let address = unmapped(key.data());
            let length = key.prefix_len() - bits_before(address);
            // At most 128.
            Ok(((address, u8::try_from(length).unwrap_or(128)), route))
        };
        self.routes.iter().map(entry).collect()
    }

    /// Writes a route, or takes one away.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn set_route(
        &mut self,
        (address, length): (IpAddr, u8),
        route: Option<Route>,
    ) -> Result<(), TableError> {
        let key = Key::new(bits_before(address) + u32::from(length), mapped(address));
        let result = match route {
            Some(route) => self.routes.insert(&key, route, 0),
            None => self.routes.remove(&key),
        };
        result.map_err(failed("ROUTES"))
    }

    /// All neighbours.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn neighbours(&self) -> Result<BTreeMap<NeighbourKey, u64>, TableError> {
        self.neighbours
            .iter()
            .collect::<Result<_, _>>()
            .map_err(failed("NEIGHBOURS"))
    }

    /// Writes a neighbour, or takes one away. One more than the map holds is left out: what is for
    /// it goes up to be resolved.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn set_neighbour(&mut self, key: NeighbourKey, mac: Option<u64>) -> Result<(), TableError> {
        let result = match mac {
            Some(mac) => self.neighbours.insert(key, mac, 0),
            None => removed(self.neighbours.remove(&key)).map(drop),
        };
        match result {
            Err(MapError::SyscallError(e)) if is_full(&e.io_error) => Ok(()),
            result => result.map_err(failed("NEIGHBOURS")),
        }
    }
}

/// Bits of the trie's keys before a prefix of this family.
pub(super) const fn bits_before(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 96,
        IpAddr::V6(_) => 0,
    }
}
