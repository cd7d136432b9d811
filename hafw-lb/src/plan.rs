//! From what should be to an ordered list of map operations.
//!
//! The order is the point: after every single operation, every slot of every service names a
//! backend whose entry is there and is the one that was meant, or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Range,
};

use hafw_common::service::{Service, ServiceKey, Slot};

use crate::{
    identity::entry_identity,
    maglev::diff,
    moves,
    service::{Placed, table},
};

/// One step. To be carried out in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapOp {
    /// Writes a backend's entry.
    PutBackend {
        /// Index into the BACKENDS map.
        index: u32,
        /// It serves nobody any more: see [`hafw_common::backend::BACKEND_DEAD`].
        dead: bool,
        /// MAC of the next hop; `None` while it is not resolved.
        next_hop: Option<[u8; 6]>,
        /// MAC of the interface that leads there.
        source: [u8; 6],
        /// Kernel index of that interface.
        ifindex: u32,
        /// Which backend of which service it is, see [`hafw_common::backend::Backend::identity`].
        identity: u64,
        /// The service.
        service: ServiceKey,
        /// The backend.
        backend: SocketAddr,
    },
    /// Replaces slot words, each in one store.
    SetSlots {
        /// First slot of the service's region.
        first: u32,
        /// Offsets into the region, ascending, and the words, see [`Slot`].
        words: Vec<(u32, u64)>,
    },
    /// Writes a service's entry.
    PutService {
        /// Which.
        key: ServiceKey,
        /// Its entry.
        service: Service,
    },
    /// Removes a service's entry.
    RemoveService {
        /// Which.
        key: ServiceKey,
    },
    /// Frees a backend's entry: its identity becomes 0. Its other words should stay, for a program
    /// run that is under way and has read a slot before it moved.
    RemoveBackend {
        /// Index into the BACKENDS map.
        index: u32,
    },
}

/// What is no longer wanted, and must not be used for anything else before the plan is carried
/// out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retired {
    /// Services whose entries go first.
    pub(crate) services: Vec<ServiceKey>,
    /// Backend indices whose entries go last.
    pub(crate) backends: Vec<u32>,
    /// Regions of services that have moved to another one.
    pub(crate) regions: Vec<Range<u32>>,
}

/// The steps from what is written to what should be; what is written is taken to be that then.
pub(crate) fn plan(services: &mut BTreeMap<ServiceKey, Placed>, retired: &Retired) -> Vec<MapOp> {
    let mut ops: Vec<_> = retired
        .services
        .iter()
        .map(|key| MapOp::RemoveService { key: *key })
        .collect();
    for placed in services.values_mut() {
        put_backends(placed, &mut ops);
        set_slots(placed, &mut ops);
        put_service(placed, &mut ops);
    }
    ops.extend(
        retired
            .backends
            .iter()
            .map(|index| MapOp::RemoveBackend { index: *index }),
    );
    ops
}

pub(crate) fn put_backends(placed: &mut Placed, ops: &mut Vec<MapOp>) {
    for entry in &mut placed.backends {
        let wanted = (entry.hop, entry.lives());
        if entry.written != Some(wanted) {
            entry.written = Some(wanted);
            ops.push(MapOp::PutBackend {
                index: entry.index,
                dead: !entry.lives(),
                next_hop: entry.hop.next_hop,
                source: entry.hop.source,
                ifindex: entry.hop.ifindex,
                identity: entry_identity(placed.key, entry.address),
                service: placed.key,
                backend: entry.address,
            });
        }
    }
}

fn set_slots(placed: &mut Placed, ops: &mut Vec<MapOp>) {
    let wanted = (placed.shares(), placed.living());
    let fresh = placed.words.is_empty();
    if !fresh && wanted == placed.built {
        return;
    }
    let table = table(&wanted.0, placed.service.slots);
    let words: Vec<_> = if fresh {
        placed.progress.clear();
        placed.words = table.iter().map(|index| Slot::at_rest(*index)).collect();
        (0..).zip(placed.words.iter().map(|word| word.0)).collect()
    } else {
        let living: BTreeSet<_> = wanted.1.iter().collect();
        let lives = |index| living.contains(&index);
        let next = |(word, current): (&Slot, &u32)| moves::next(*word, *current, lives);
        let next: Vec<_> = placed.words.iter().zip(&table).map(next).collect();
        let changed: Vec<_> = diff(&placed.words, &next).collect();
        for (offset, word) in &changed {
            placed.set_word(*offset, *word);
        }
        changed
            .into_iter()
            .map(|(offset, word)| (offset, word.0))
            .collect()
    };
    placed.built = wanted;
    if !words.is_empty() {
        ops.push(MapOp::SetSlots {
            first: placed.service.first_slot,
            words,
        });
    }
}

fn put_service(placed: &mut Placed, ops: &mut Vec<MapOp>) {
    if placed.written != Some(placed.service) {
        placed.written = Some(placed.service);
        ops.push(MapOp::PutService {
            key: placed.key,
            service: placed.service,
        });
    }
}

#[cfg(test)]
mod tests;
