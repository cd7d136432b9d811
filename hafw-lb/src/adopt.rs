//! What a former controller left in the maps, so that its successor goes on with it instead of
//! writing everything anew under running traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use hafw_common::{
    backend::{BACKEND_DEAD, BACKEND_RESOLVED, Backend},
    mac_from_word,
    nat::Rewrite,
    service::{NO_BACKEND, Service, ServiceKey, Slot},
};

use crate::{
    alloc::{Indices, Regions},
    service::Hop,
};

/// The service tables as they were found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All entries of the SERVICES map.
    pub services: Vec<FoundService>,
    /// The entries of the BACKENDS map that have an identity, with their indices.
    pub backends: Vec<(u32, Backend)>,
}

/// One service as it was found.
#[derive(Clone, Debug)]
pub struct FoundService {
    /// VIP, port and protocol.
    pub key: ServiceKey,
    /// Its entry.
    pub service: Service,
    /// The words of its region.
    pub words: Vec<u64>,
}

/// What was found and can be used, until the first configuration takes its pick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) services: BTreeMap<ServiceKey, InheritedService>,
    /// By identity.
    pub(crate) backends: BTreeMap<u64, InheritedBackend>,
    /// Services that cannot be gone on with.
    pub(crate) unusable: Vec<ServiceKey>,
}

#[derive(Clone, Debug)]
pub(crate) struct InheritedService {
    pub(crate) service: Service,
    /// Every slot.
    pub(crate) words: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct InheritedBackend {
    pub(crate) index: u32,
    pub(crate) hop: Hop,
    pub(crate) lives: bool,
    /// Where it is.
    pub(crate) address: SocketAddr,
}

/// Marks what was found as in use. Of two backends with one identity the first counts. A service is
/// unusable if its region lies outside the map, overlaps another or was not read whole, or if a
/// slot names a backend that has no entry.
pub(crate) fn inherit(found: &Found, regions: &mut Regions, indices: &mut Indices) -> Inherited {
    let mut inherited = Inherited::default();
    let mut present = BTreeSet::from([NO_BACKEND]);
    for (index, backend) in &found.backends {
        let known = inherited.backends.contains_key(&backend.identity);
        if backend.identity != 0 && !known && indices.claim(*index) {
            let known = InheritedBackend {
                index: *index,
                hop: hop(backend),
                lives: backend.next_hop & BACKEND_DEAD == 0,
                address: address(backend),
            };
            inherited.backends.insert(backend.identity, known);
            present.insert(*index);
        }
    }
    for FoundService {
        key,
        service,
        words,
    } in &found.services
    {
        let is_whole = |word: &Slot| {
            let (current, base) = (word.current(), word.base());
            let known = [Slot::at_rest(current), Slot::moved(current, base)].contains(word);
            known && present.contains(&current) && present.contains(&base)
        };
        let words: Vec<_> = words.iter().copied().map(Slot).collect();
        let whole = words.len() == service.slots as usize;
        let end = service.first_slot.checked_add(service.slots);
        let mut claim = |end| regions.claim(service.first_slot..end);
        match end {
            Some(end) if whole && words.iter().all(is_whole) && claim(end) => {
                inherited.services.insert(
                    *key,
                    InheritedService {
                        service: *service,
                        words,
                    },
                );
            }
            Some(_) | None => inherited.unusable.push(*key),
        }
    }
    inherited
}

fn address(backend: &Backend) -> SocketAddr {
    let halves = u128::from(backend.address_end) << 64 | u128::from(backend.address);
    let address = hafw_common::unmapped(halves.to_le_bytes());
    let port = Rewrite::from_word(backend.rewrite).port;
    SocketAddr::new(address, u16::from_be_bytes(port))
}

fn hop(backend: &Backend) -> Hop {
    Hop {
        next_hop: (backend.next_hop & BACKEND_RESOLVED != 0)
            .then(|| mac_from_word(backend.next_hop)),
        source: mac_from_word(backend.source),
        ifindex: u32::try_from(backend.ifindex).unwrap_or(0),
    }
}
