//! The tables that say what is ours: routers, VIPs, interfaces, services, slots, backends.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::offset_of,
    net::{IpAddr, SocketAddr},
};

use aya::maps::{Array, HashMap, MapData, MapError};
use hafw_common::{
    Node, as_v4,
    backend::{BACKEND_DEAD, BACKEND_RESOLVED, Backend},
    iface::Iface,
    mac_to_word, mapped,
    maps::{MAX_BACKENDS, VIP_FILTER_WORDS, vrid_index},
    nat::Rewrite,
    router::{PeerKey, PeerSeen, RouterConfig},
    service::{SERVICE_MODE, Service, ServiceKey},
    vip::{Vip, VipKey, filter_bit_of},
};
use hafw_lb::{Found, FoundService, MapOp};
use thiserror::Error;

use super::guard_table::Guards;
use crate::sys::words::Words;

const BACKEND_WORDS: usize = size_of::<Backend>() / 8;

/// A map refused a change.
#[derive(Debug, Error)]
pub enum TableError {
    /// The kernel's answer.
    #[error("{map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// An index beyond the map.
    #[error("{map}: index {index} is beyond its {entries} entries")]
    Beyond {
        /// The map.
        map: &'static str,
        /// The index.
        index: usize,
        /// How many entries there are.
        entries: usize,
    },
}

/// The tables, open.
pub struct Tables {
    pub(super) node: Array<MapData, Node>,
    pub(super) ifaces: Array<MapData, Iface>,
    pub(super) vrids: Array<MapData, u32>,
    pub(super) routers: Array<MapData, RouterConfig>,
    pub(super) vip_filter: Array<MapData, u64>,
    pub(super) vips: HashMap<MapData, VipKey, Vip>,
    pub(super) services: HashMap<MapData, ServiceKey, Service>,
    pub(super) guards: Guards,
    /// The services that have guards.
    pub(super) guarded: BTreeSet<ServiceKey>,
    pub(super) slots: Words,
    pub(super) backends: Words,
}

/// One virtual router as XDP knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterEntry {
    /// What adverts are judged by.
    pub config: RouterConfig,
    /// Its VIPs and their flags.
    pub vips: Vec<(IpAddr, u32)>,
}

impl Tables {
    /// Maps the word arrays. `slots`: how many the SLOTS map has.
    pub(super) fn words(
        slots_map: &MapData,
        slots: u32,
        backends_map: &MapData,
    ) -> io::Result<(Words, Words)> {
        let slots = Words::map(slots_map.fd(), slots as usize)?;
        let backends = Words::map(backends_map.fd(), MAX_BACKENDS as usize * BACKEND_WORDS)?;
        Ok((slots, backends))
    }

    /// Node-wide facts.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn set_node(&mut self, node: Node) -> Result<(), TableError> {
        self.node.set(0, node, 0).map_err(failed("NODE"))
    }

    /// The interface in a slot; None: there is none.
    ///
    /// # Errors
    /// The map refuses the change.
    pub fn set_iface(&mut self, slot: u32, iface: Option<Iface>) -> Result<(), TableError> {
        let none = Iface {
            mac: 0,
            ifindex: 0,
            reserved: 0,
        };
        let iface = iface.unwrap_or(none);
        self.ifaces.set(slot, iface, 0).map_err(failed("IFACES"))
    }

    /// What the maps say of the router with this index.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn router(&self, index: u32) -> Result<RouterConfig, TableError> {
        self.routers.get(&index, 0).map_err(failed("ROUTERS"))
    }

    /// Makes the routers and their VIPs these, by index. What stays is not touched, so that a
    /// restarted controller changes nothing under running traffic. A router's entry stands before
    /// its VRID and VIPs lead to it.
    ///
    /// # Errors
    /// A map refuses a change.
    pub fn set_routers(&mut self, routers: &[RouterEntry]) -> Result<(), TableError> {
        let mut vrids = BTreeMap::new();
        let mut vips = BTreeMap::new();
        for (index, router) in (0u32..).zip(routers) {
            if self.router(index)? != router.config {
                self.routers
                    .set(index, router.config, 0)
                    .map_err(failed("ROUTERS"))?;
            }
            let RouterConfig {
                source,
                iface,
                vrid,
                ..
            } = router.config;
            vrids.insert(vrid_index(iface, as_v4(source).is_none(), vrid), index + 1);
            for (address, flags) in &router.vips {
                let key = mapped(*address);
                vips.insert(
                    key,
                    Vip {
                        router: index,
                        flags: *flags,
                    },
                );
            }
        }
        self.set_vips(&vips)?;
        for entry in 0..self.vrids.len() {
            let wanted = vrids.get(&entry).copied().unwrap_or(0);
            let present = self.vrids.get(&entry, 0).map_err(failed("VRIDS"))?;
            if present != wanted {
                self.vrids.set(entry, wanted, 0).map_err(failed("VRIDS"))?;
            }
        }
        Ok(())
    }

    fn set_vips(&mut self, wanted: &BTreeMap<[u8; 16], Vip>) -> Result<(), TableError> {
        let mut filter = vec![0u64; VIP_FILTER_WORDS as usize];
        for address in wanted.keys() {
            let (word, bit) = filter_bit_of(*address);
            filter[word as usize] |= bit;
        }
        // A VIP that goes loses its entry first and its bit last; one that comes, the reverse.
        let present: Vec<VipKey> = self
            .vips
            .keys()
            .collect::<Result<_, _>>()
            .map_err(failed("VIPS"))?;
        for key in present
            .iter()
            .filter(|key| !wanted.contains_key(&key.address))
        {
            self.vips.remove(key).map_err(failed("VIPS"))?;
        }
        for (word, bits) in (0u32..).zip(&filter) {
            if self
                .vip_filter
                .get(&word, 0)
                .map_err(failed("VIP_FILTER"))?
                != *bits
            {
                self.vip_filter
                    .set(word, bits, 0)
                    .map_err(failed("VIP_FILTER"))?;
            }
        }
        for (address, vip) in wanted {
            let key = VipKey { address: *address };
            if self.vips.get(&key, 0).ok() != Some(*vip) {
                self.vips.insert(key, vip, 0).map_err(failed("VIPS"))?;
            }
        }
        Ok(())
    }

    /// Carries out one step of a service plan.
    ///
    /// # Errors
    /// A map refuses the change.
    pub fn apply(&mut self, op: &MapOp) -> Result<(), TableError> {
        match op {
            MapOp::PutBackend {
                index,
                next_hop,
                source,
                ifindex,
                identity,
                service,
                backend,
                dead,
            } => {
                let [address, address_end] = bytemuck::cast(mapped(backend.ip()));
                let dead = if *dead { BACKEND_DEAD } else { 0 };
                let next_hop = dead | next_hop.map_or(0, |mac| mac_to_word(mac) | BACKEND_RESOLVED);
                let (source, ifindex) = (mac_to_word(*source), u64::from(*ifindex));
                self.put_backend(
                    *index,
                    &Backend {
                        next_hop,
                        source,
                        ifindex,
                        identity: *identity,
                        address,
                        address_end,
                        rewrite: rewrite(service, *backend),
                        reserved: 0,
                    },
                )
            }
            MapOp::RemoveBackend { index } => {
                let at = self.backend_at(*index)?;
                // The other words stay: a run of the program may still be on its way to them.
                self.backends
                    .store(at + offset_of!(Backend, identity) / 8, 0);
                Ok(())
            }
            MapOp::SetSlots { first, words } => {
                for (offset, word) in words {
                    let index = (*first + *offset) as usize;
                    check(index, self.slots.len(), "SLOTS")?;
                    self.slots.store(index, *word);
                }
                Ok(())
            }
            MapOp::PutService { key, service } => {
                let service = self.with_guard(key, *service);
                self.services
                    .insert(key, service, 0)
                    .map_err(failed("SERVICES"))
            }
            MapOp::RemoveService { key } => {
                let there = removed(self.services.remove(key));
                there.map(drop).map_err(failed("SERVICES"))
            }
        }
    }

    /// What a former controller left of services and backends.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn found(&self) -> Result<Found, TableError> {
        let mut found = Found::default();
        for entry in self.services.iter() {
            let (key, mut service) = entry.map_err(failed("SERVICES"))?;
            service.mode &= SERVICE_MODE;
            let first = service.first_slot as usize;
            let words = (first..first + service.slots as usize)
                .take_while(|slot| *slot < self.slots.len())
                .map(|slot| self.slots.load(slot));
            found.services.push(FoundService {
                key,
                service,
                words: words.collect(),
            });
        }
        for index in 0..MAX_BACKENDS {
            let backend = self.backend(index)?;
            if backend.identity != 0 {
                found.backends.push((index, backend));
            }
        }
        Ok(found)
    }

    fn backend(&self, index: u32) -> Result<Backend, TableError> {
        let at = self.backend_at(index)?;
        let word = |offset: usize| self.backends.load(at + offset / 8);
        Ok(Backend {
            next_hop: word(offset_of!(Backend, next_hop)),
            source: word(offset_of!(Backend, source)),
            ifindex: word(offset_of!(Backend, ifindex)),
            identity: word(offset_of!(Backend, identity)),
            address: word(offset_of!(Backend, address)),
            address_end: word(offset_of!(Backend, address_end)),
            rewrite: word(offset_of!(Backend, rewrite)),
            reserved: 0,
        })
    }

    fn put_backend(&mut self, index: u32, backend: &Backend) -> Result<(), TableError> {
        let present = self.backend(index)?;
        let at = self.backend_at(index)?;
        let put = |offset: usize, value| self.backends.store(at + offset / 8, value);
        let whole = Backend {
            next_hop: backend.next_hop,
            ..present
        };
        if whole != *backend {
            // Not resolved while its words do not belong together.
            put(offset_of!(Backend, next_hop), 0);
            put(offset_of!(Backend, source), backend.source);
            put(offset_of!(Backend, ifindex), backend.ifindex);
            put(offset_of!(Backend, address), backend.address);
            put(offset_of!(Backend, address_end), backend.address_end);
            put(offset_of!(Backend, rewrite), backend.rewrite);
        }
        put(offset_of!(Backend, next_hop), backend.next_hop);
        put(offset_of!(Backend, identity), backend.identity);
        Ok(())
    }

    fn backend_at(&self, index: u32) -> Result<usize, TableError> {
        let at = index as usize * BACKEND_WORDS;
        check(at, self.backends.len(), "BACKENDS")?;
        Ok(at)
    }
}

/// What `nat` mode replaces for this backend, as [`Backend::rewrite`] has it.
fn rewrite(service: &ServiceKey, backend: SocketAddr) -> u64 {
    let vip = service.destination();
    Rewrite::between((vip.ip(), vip.port()), (backend.ip(), backend.port())).to_word()
}

/// The peers whose adverts XDP has seen.
pub struct PeerTable {
    pub(super) peers: HashMap<MapData, PeerKey, PeerSeen>,
}

impl PeerTable {
    /// Those of all routers.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn all(&self) -> Result<Vec<(PeerKey, PeerSeen)>, TableError> {
        self.peers
            .iter()
            .collect::<Result<_, _>>()
            .map_err(failed("PEERS"))
    }

    /// Those of one router.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn of(&self, router: usize) -> Result<Vec<(PeerKey, PeerSeen)>, TableError> {
        Ok(self
            .all()?
            .into_iter()
            .filter(|(key, _)| key.router as usize == router)
            .collect())
    }
}

pub(super) fn failed(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Map { map, source }
}

/// Whether an entry that was to go was there. For one that was not the kernel says ENOENT, which aya
/// hands on as it is.
pub(super) fn removed(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// A hash without room for one more.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::E2BIG)
}

fn check(index: usize, entries: usize, map: &'static str) -> Result<(), TableError> {
    if index < entries {
        Ok(())
    } else {
        Err(TableError::Beyond {
            map,
            index,
            entries,
        })
    }
}
