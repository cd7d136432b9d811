//! All services of a node: what changes them, and the plan that each change gives.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use hafw_common::{
    maps::{MAX_BACKENDS, MAX_SERVICES},
    service::ServiceKey,
};

use crate::{
    adopt::{Found, Inherited, inherit},
    alloc::{Indices, Regions},
    health::State,
    plan::{MapOp, Retired, plan},
    service::{Entry, Hop, Placed, ServiceStatus},
};

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of the SLOTS map.
    pub slots: u32,
    /// Of the BACKENDS map.
    pub backends: u32,
    /// Of the SERVICES map.
    pub services: u32,
}

impl Capacity {
    /// The maps as they are made, with this many slots.
    #[must_use]
    pub const fn with_slots(slots: u32) -> Self {
        Self {
            slots,
            backends: MAX_BACKENDS,
            services: MAX_SERVICES,
        }
    }
}

/// Something that happened to a backend. What names a service or backend that is not there (any
/// more) is without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its probes say something new. Without effect on a backend that is not probed.
    State {
        /// The service that probes it.
        service: ServiceKey,
        /// The backend.
        backend: SocketAddr,
        /// Its state.
        state: State,
    },
    /// It is to have another share. Holds until the next configuration.
    Weight {
        /// The service.
        service: ServiceKey,
        /// The backend.
        backend: SocketAddr,
        /// 0: drained.
        weight: u32,
    },
    /// The way to an address is another.
    Hop {
        /// The address of backends, of any service.
        address: IpAddr,
        /// The way.
        hop: Hop,
    },
}

/// All services of a node, as they should be and as the maps have them. Whoever carries out a plan
/// carries out all of it, in order, before the next one is asked for.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub(crate) capacity: Capacity,
    pub(crate) regions: Regions,
    pub(crate) indices: Indices,
    pub(crate) services: BTreeMap<ServiceKey, Placed>,
    pub(crate) inherited: Inherited,
}

impl Balancer {
    /// For maps that are empty.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self::adopt(capacity, &Found::default())
    }

    /// For maps that a former controller filled. The first configuration goes on with the
    /// services and backends it finds there, and removes the others.
    #[must_use]
    pub fn adopt(capacity: Capacity, found: &Found) -> Self {
        let mut regions = Regions::new(capacity.slots);
        let mut indices = Indices::new(capacity.backends);
        let inherited = inherit(found, &mut regions, &mut indices);
        Self {
            capacity,
            regions,
            indices,
            services: BTreeMap::new(),
            inherited,
        }
    }

    /// Takes changes in, several at once for one plan.
    #[must_use]
    pub fn update(&mut self, changes: &[Change]) -> Vec<MapOp> {
        let mut hops = BTreeMap::new();
        for change in changes {
            match *change {
                Change::State {
                    service,
                    backend,
                    state,
                } => {
                    if let Some(entry) = self.entry(service, backend)
                        && entry.probed
                    {
                        entry.state = state;
                    }
                }
                Change::Weight {
                    service,
                    backend,
                    weight,
                } => {
                    // One that is leaving gets no new flows, whatever is said of it.
                    let entry = self.entry(service, backend);
                    if let Some(entry) = entry.filter(|entry| !entry.leaving) {
                        entry.weight = weight;
                    }
                }
                Change::Hop { address, hop } => {
                    hops.insert(address, hop);
                }
            }
        }
        if !hops.is_empty() {
            for entry in self.services.values_mut().flat_map(|s| &mut s.backends) {
                if let Some(hop) = hops.get(&entry.address.ip()) {
                    entry.hop = *hop;
                }
            }
        }
        plan(&mut self.services, &Retired::default())
    }

    /// All services, by key.
    pub fn services(&self) -> impl Iterator<Item = ServiceStatus> {
        self.services.values().map(Placed::status)
    }

    /// One service.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> Option<ServiceStatus> {
        self.services.get(&key).map(Placed::status)
    }

    /// What is thought of a backend.
    #[must_use]
    pub fn state_of(&self, service: ServiceKey, backend: SocketAddr) -> Option<State> {
        let mut entries = self.services.get(&service)?.backends.iter();
        Some(entries.find(|entry| entry.address == backend)?.state())
    }

    fn entry(&mut self, service: ServiceKey, backend: SocketAddr) -> Option<&mut Entry> {
        let placed = self.services.get_mut(&service)?;
        placed
            .backends
            .iter_mut()
            .find(|entry| entry.address == backend)
    }
}
