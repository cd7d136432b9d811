//! From one configuration of the services to the next: who keeps which place in the maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use hafw_common::service::{Service, ServiceKey, Slot};
use thiserror::Error;

use crate::{
    adopt::{Inherited, InheritedBackend},
    alloc::{Indices, Regions},
    balancer::{Balancer, Capacity},
    exchange::Told,
    health::{Cause, State},
    identity::entry_identity,
    moves::Progress,
    plan::{MapOp, Retired, plan},
    service::{BackendSpec, Entry, Hop, Placed, ServiceSpec, service_name},
};

/// Services that cannot be had. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigureError {
    /// More services than the map holds.
    #[error("{wanted} services, but there is room for {capacity}")]
    Services {
        /// How many there would be.
        wanted: usize,
        /// How many the map holds.
        capacity: u32,
    },
    /// More backends than the map holds. Those that are replaced count until the new ones stand.
    #[error("no room for backend {backend}: all {capacity} entries are in use")]
    Backends {
        /// The first without an entry.
        backend: SocketAddr,
        /// How many the map holds.
        capacity: u32,
    },
    /// No free region of the slot map is long enough. A service whose number of slots changes
    /// needs its old region until the new one stands.
    #[error(
        "no room for the {slots} slots of service {}: the longest free region has {longest} of \
         {capacity}",
        service_name(service)
    )]
    Slots {
        /// The first without a region.
        service: ServiceKey,
        /// What it needs.
        slots: u32,
        /// What there is in one piece.
        longest: u32,
        /// What the map holds in all.
        capacity: u32,
    },
    /// A service without slots cannot lead anywhere.
    #[error("service {} has no slots", service_name(.0))]
    NoSlots(ServiceKey),
    /// One address, port and protocol twice.
    #[error("service {} is there twice", service_name(.0))]
    DuplicateService(ServiceKey),
    /// One backend twice in a service.
    #[error(
        "backend {backend} is there twice in service {}",
        service_name(service)
    )]
    DuplicateBackend {
        /// The service.
        service: ServiceKey,
        /// The backend.
        backend: SocketAddr,
    },
}

impl Balancer {
    /// Makes the services these. Backends that stay keep their state and the way to them. A new one
    /// is [`State::Unknown`], which counts as up; an inherited one that had no slot is down until
    /// its probes say otherwise. One that goes is left in until no flow is on it, see
    /// [`Self::settle`]; that a service's number of slots changes, no flow survives.
    ///
    /// # Errors
    /// See [`ConfigureError`]; nothing is changed then.
    pub fn configure(&mut self, specs: &[ServiceSpec]) -> Result<Vec<MapOp>, ConfigureError> {
        let Layout {
            places,
            regions,
            indices,
            mut retired,
        } = self.lay_out(specs)?;
        let mut before = std::mem::take(&mut self.services);
        let inherited = std::mem::take(&mut self.inherited);
        for (spec, place) in specs.iter().zip(places) {
            let placed = settle(spec, place, before.remove(&spec.key), &inherited);
            self.services.insert(spec.key, placed);
        }
        self.regions = regions;
        self.indices = indices;
        let entries = self.services.values().flat_map(|placed| &placed.backends);
        let leaving: BTreeSet<_> = entries
            .filter(|entry| entry.leaving)
            .map(|entry| entry.index)
            .collect();
        retired.backends.retain(|index| !leaving.contains(index));

        let ops = plan(&mut self.services, &retired);
        for index in retired.backends {
            self.indices.release(index);
        }
        for region in retired.regions {
            self.regions.release(region);
        }
        Ok(ops)
    }

    /// Whether [`Self::configure`] would go well.
    ///
    /// # Errors
    /// Those of [`Self::configure`].
    pub fn may_become(&self, specs: &[ServiceSpec]) -> Result<(), ConfigureError> {
        self.lay_out(specs).map(drop)
    }

    fn lay_out(&self, specs: &[ServiceSpec]) -> Result<Layout, ConfigureError> {
        validate(specs, self.capacity)?;
        let mut retired = self.leftovers(specs);
        let mut regions = self.regions.clone();
        let mut indices = self.indices.clone();
        for gone in retired.services.iter().filter_map(|key| self.region(*key)) {
            // Its entry is removed before anything is written.
            regions.release(gone.first_slot..gone.first_slot + gone.slots);
        }
        let mut places = Vec::new();
        for spec in specs {
            places.push(self.place(spec, &mut regions, &mut indices, &mut retired)?);
        }
        Ok(Layout {
            places,
            regions,
            indices,
            retired,
        })
    }

    /// What is there and is in none of `specs`.
    fn leftovers(&self, specs: &[ServiceSpec]) -> Retired {
        let keys: BTreeSet<_> = specs.iter().map(|spec| spec.key).collect();
        let identity =
            |spec: &ServiceSpec, backend: &BackendSpec| entry_identity(spec.key, backend.address);
        let identities: BTreeSet<_> = specs
            .iter()
            .flat_map(|spec| {
                spec.backends
                    .iter()
                    .map(move |backend| identity(spec, backend))
            })
            .collect();

        let known = self.services.keys().chain(self.inherited.services.keys());
        let gone = known
            .filter(|key| !keys.contains(key))
            .chain(&self.inherited.unusable);
        let entries = self.services.values().flat_map(|placed| {
            placed
                .backends
                .iter()
                .map(|e| (entry_identity(placed.key, e.address), e.index))
        });
        let inherited = self
            .inherited
            .backends
            .iter()
            .map(|(id, found)| (*id, found.index));
        Retired {
            services: gone.copied().collect(),
            backends: entries
                .chain(inherited)
                .filter(|(identity, _)| !identities.contains(identity))
                .map(|(_, index)| index)
                .collect(),
            regions: Vec::new(),
        }
    }

    /// The entry of a service whose region is in use.
    fn region(&self, key: ServiceKey) -> Option<Service> {
        let placed = self.services.get(&key).map(|placed| placed.service);
        placed.or_else(|| self.inherited.services.get(&key).map(|found| found.service))
    }

    fn place(
        &self,
        spec: &ServiceSpec,
        regions: &mut Regions,
        indices: &mut Indices,
        retired: &mut Retired,
    ) -> Result<Place, ConfigureError> {
        let before = self.region(spec.key);
        let first_slot = match before.filter(|before| before.slots == spec.slots) {
            Some(before) => before.first_slot,
            None => regions
                .take(spec.slots)
                .ok_or_else(|| ConfigureError::Slots {
                    service: spec.key,
                    slots: spec.slots,
                    longest: regions.longest(),
                    capacity: self.capacity.slots,
                })?,
        };
        if let Some(before) = before.filter(|before| before.first_slot != first_slot) {
            retired
                .regions
                .push(before.first_slot..before.first_slot + before.slots);
        }

        let mut known = BTreeMap::new();
        if let Some(placed) = self.services.get(&spec.key) {
            known.extend(
                placed
                    .backends
                    .iter()
                    .map(|entry| (entry.address, entry.index)),
            );
        }
        let index_of = |backend: &BackendSpec| {
            let identity = entry_identity(spec.key, backend.address);
            let inherited = || {
                self.inherited
                    .backends
                    .get(&identity)
                    .map(|found| found.index)
            };
            known
                .get(&backend.address)
                .copied()
                .or_else(inherited)
                .or_else(|| indices.take())
                .ok_or(ConfigureError::Backends {
                    backend: backend.address,
                    capacity: self.capacity.backends,
                })
        };
        let backends = spec
            .backends
            .iter()
            .map(index_of)
            .collect::<Result<_, _>>()?;
        Ok(Place {
            first_slot,
            backends,
        })
    }
}

/// Where everything goes.
struct Layout {
    places: Vec<Place>,
    regions: Regions,
    indices: Indices,
    retired: Retired,
}

/// Where a service goes: its region, and the index of each of its backends.
struct Place {
    first_slot: u32,
    backends: Vec<u32>,
}

fn validate(specs: &[ServiceSpec], capacity: Capacity) -> Result<(), ConfigureError> {
    if specs.len() > capacity.services as usize {
        let wanted = specs.len();
        return Err(ConfigureError::Services {
            wanted,
            capacity: capacity.services,
        });
    }
    let mut keys = BTreeSet::new();
    for spec in specs {
        if spec.slots == 0 {
            return Err(ConfigureError::NoSlots(spec.key));
        }
        if !keys.insert(spec.key) {
            return Err(ConfigureError::DuplicateService(spec.key));
        }
        let mut backends = BTreeSet::new();
        for BackendSpec { address, .. } in &spec.backends {
            if !backends.insert(*address) {
                let (service, backend) = (spec.key, *address);
                return Err(ConfigureError::DuplicateBackend { service, backend });
            }
        }
    }
    Ok(())
}

/// Of a backend that the node that is followed does not have, as far as is known.
const UNTOLD: Told = Told {
    weight: 0,
    state: None,
};

fn settle(
    spec: &ServiceSpec,
    place: Place,
    before: Option<Placed>,
    inherited: &Inherited,
) -> Placed {
    let found = inherited.services.get(&spec.key);
    let known: BTreeMap<_, _> = before
        .iter()
        .flat_map(|placed| &placed.backends)
        .map(|entry| (entry.address, entry))
        .collect();
    let follows = before.as_ref().is_some_and(|placed| {
        placed.follows && placed.service.slots == spec.slots && placed.service.mode == spec.mode
    });
    let words = || found.iter().flat_map(|found| &found.words);
    let serving: BTreeSet<_> = words().map(|word| word.current()).collect();
    let bases: BTreeSet<_> = words().map(|word| word.base()).collect();

    let backends = spec
        .backends
        .iter()
        .zip(place.backends)
        .map(|(backend, index)| {
            let BackendSpec {
                address,
                weight,
                probed,
            } = *backend;
            let known = known.get(&address);
            let left = inherited
                .backends
                .get(&entry_identity(spec.key, address))
                .map(|b| (b.hop, b.lives));
            let idle = left.is_some() && found.is_some() && !serving.contains(&index);
            let state = match (probed, known) {
                (false, _) => State::Up,
                (true, Some(entry)) if entry.probed => entry.state,
                // It may have flows, unless its entry says otherwise.
                (true, None) if idle && left.is_some_and(|(_, lives)| lives) => {
                    State::Down(Cause::TimedOut)
                }
                (true, None) if idle => State::Down(Cause::Failed),
                (true, _) => State::Unknown,
            };
            let (hop, written) = match (known, left) {
                (Some(entry), _) => (entry.hop, entry.written),
                (None, Some(left)) => (left.0, Some(left)),
                (None, None) => (Hop::default(), None),
            };
            Entry {
                address,
                index,
                weight,
                probed,
                state,
                hop,
                written,
                leaving: false,
                left: None,
                told: known
                    .and_then(|entry| entry.told)
                    .or_else(|| follows.then_some(UNTOLD)),
            }
        });
    let mut backends: Vec<_> = backends.collect();

    let ServiceSpec {
        key,
        router,
        mode,
        slots,
        backends: _,
    } = *spec;
    let service = Service {
        router,
        first_slot: place.first_slot,
        slots,
        mode,
    };
    let nothing = (Vec::new(), Vec::new());
    let known: Vec<_> = before.iter().flat_map(|p| &p.backends).copied().collect();
    let (written, mut words, mut progress, built) = match (before, found) {
        // Not copied: they may be many.
        (Some(placed), _) => (placed.written, placed.words, placed.progress, placed.built),
        (None, Some(found)) => (
            Some(found.service),
            found.words.clone(),
            unsettled(&found.words),
            nothing.clone(),
        ),
        (None, None) => (None, Vec::new(), BTreeMap::new(), nothing.clone()),
    };
    let stays = written.is_some_and(|written| written.first_slot == place.first_slot);
    if stays {
        let found = inherited
            .backends
            .iter()
            .filter(|(id, b)| {
                let named = serving.contains(&b.index) || bases.contains(&b.index);
                named && entry_identity(key, b.address) == **id
            })
            .map(|(_, b)| leaving(b));
        let gone: Vec<_> = known
            .into_iter()
            .chain(found)
            .filter(|entry| !spec.backends.iter().any(|b| b.address == entry.address))
            .filter(Entry::lives)
            .collect();
        backends.extend(gone.into_iter().map(|entry| Entry {
            weight: 0,
            probed: false,
            state: State::Up,
            leaving: true,
            ..entry
        }));
    } else {
        words.clear();
        progress.clear();
    }
    let mut placed = Placed {
        key,
        service,
        backends,
        written,
        words,
        progress,
        built: if stays { built } else { nothing },
        follows,
    };
    if !follows {
        placed
            .backends
            .iter_mut()
            .for_each(|entry| entry.told = None);
    }
    placed
}

/// Where a former controller's slots are on their way to rest is not known.
fn unsettled(words: &[Slot]) -> BTreeMap<u32, Progress> {
    let moved = (0..).zip(words).filter(|(_, word)| word.is_moved());
    moved
        .map(|(offset, _)| (offset, Progress::default()))
        .collect()
}

fn leaving(backend: &InheritedBackend) -> Entry {
    let InheritedBackend {
        index,
        hop,
        lives,
        address,
    } = *backend;
    Entry {
        address,
        index,
        weight: 0,
        probed: false,
        state: if lives {
            State::Up
        } else {
            State::Down(Cause::Failed)
        },
        hop,
        written: Some((hop, lives)),
        leaving: true,
        left: None,
        told: None,
    }
}
