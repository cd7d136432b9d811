//! What the node that has a service's VIP tells the others of it, so that whoever takes the VIP over
//! steers by the same plan from the first packet.
//!
//! The table follows from the backends' weights and states, which all nodes put into the same
//! Maglev; only the bases of slots that have moved are told slot by slot.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use hafw_common::service::{NO_BACKEND, ServiceKey, Slot};
use thiserror::Error;

use crate::{
    balancer::Balancer,
    health::State,
    maglev::diff,
    moves::Progress,
    plan::{MapOp, Retired, plan, put_backends},
    service::{Entry, Hop, Placed, table},
};

/// How one service is steered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// VIP, port and protocol.
    pub key: ServiceKey,
    /// As in [`crate::ServiceSpec::mode`].
    pub mode: u32,
    /// Table size.
    pub slots: u32,
    /// Its backends, those that are leaving too.
    pub backends: Vec<PlannedBackend>,
    /// Slots that have moved, ascending, each with the backend of the flows that were there before,
    /// by its place in `backends`.
    pub moved: Vec<(u32, Option<u32>)>,
}

/// A backend of a [`ServicePlan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedBackend {
    /// Address and port.
    pub address: SocketAddr,
    /// Its share; 0 for one that is drained or leaving.
    pub weight: u32,
    /// What the teller's probes say.
    pub state: State,
    /// It is not in the teller's configuration any more.
    pub leaving: bool,
}

/// Why a plan cannot be followed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// This node has no such service.
    #[error("there is no such service here")]
    NoService,
    /// Packets would reach the backends in another way.
    #[error("it has another mode here")]
    Mode,
    /// Flows would have other slots.
    #[error("it has {here} slots here and {there} there")]
    Slots {
        /// This node's.
        here: u32,
        /// The teller's.
        there: u32,
    },
    /// It contradicts itself.
    #[error("its plan makes no sense")]
    Invalid,
    /// No room for a backend that this node does not have.
    #[error("there is no room for its backends")]
    Full,
}

/// What another node says of a backend while this one follows its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) weight: u32,
    /// None: it does not have that backend.
    pub(crate) state: Option<State>,
}

impl Balancer {
    /// How a service is steered now.
    #[must_use]
    pub fn plan_of(&self, service: ServiceKey) -> Option<ServicePlan> {
        let placed = self.services.get(&service)?;
        let places: BTreeMap<_, _> = placed
            .backends
            .iter()
            .map(|entry| entry.index)
            .zip(0..)
            .collect();
        let planned = |entry: &Entry| PlannedBackend {
            address: entry.address,
            weight: entry.weight(),
            state: entry.state(),
            leaving: entry.leaving,
        };
        let base = |offset: &u32| {
            let word = placed.words.get(*offset as usize)?;
            Some((*offset, places.get(&word.base()).copied()))
        };
        Some(ServicePlan {
            key: service,
            mode: placed.service.mode,
            slots: placed.service.slots,
            backends: placed.backends.iter().map(planned).collect(),
            moved: placed.progress.keys().filter_map(base).collect(),
        })
    }

    /// Steers a service as another node does, whatever this node's own probes and weights are, until
    /// [`Self::unfollow`]. A backend that this node does not have is taken in without a share of its
    /// own: it goes like one that is leaving.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn follow(&mut self, told: &ServicePlan) -> Result<Vec<MapOp>, FollowError> {
        let placed = self.services.get_mut(&told.key);
        let placed = placed.ok_or(FollowError::NoService)?;
        fits(told, placed)?;
        let mut indices = self.indices.clone();
        let mut strangers = Vec::new();
        for PlannedBackend { address, .. } in &told.backends {
            if placed.backend(*address).is_none() {
                let index = indices.take().ok_or(FollowError::Full)?;
                strangers.push(stranger(*address, index));
            }
        }
        self.indices = indices;
        placed.backends.append(&mut strangers);
        for entry in &mut placed.backends {
            let known = told.backends.iter().find(|b| b.address == entry.address);
            entry.told = Some(Told {
                weight: known.map_or(0, |known| known.weight),
                state: known.map(|known| known.state),
            });
            if known.is_some() {
                entry.left = None;
            }
        }
        placed.follows = true;
        let mut ops = Vec::new();
        put_backends(placed, &mut ops);
        ops.extend(placed.take_words(told));
        Ok(ops)
    }

    /// Steers a service by this node's own probes and weights again. What was told stays where that
    /// is possible: slots that moved have moved, and where this node's probes have not found
    /// anything yet, what was told counts.
    #[must_use]
    pub fn unfollow(&mut self, service: ServiceKey) -> Vec<MapOp> {
        let Some(placed) = self.services.get_mut(&service).filter(|p| p.follows) else {
            return Vec::new();
        };
        placed.follows = false;
        for entry in &mut placed.backends {
            let told = entry.told.take().and_then(|told| told.state);
            if entry.leaving || entry.probed && entry.state == State::Unknown {
                entry.state = told.unwrap_or(entry.state);
            }
        }
        // Nothing was heard of the flows here so far.
        let clocks = placed.progress.values_mut();
        clocks.for_each(|progress| *progress = Progress::default());
        plan(&mut self.services, &Retired::default())
    }

    /// Backends that are in no configuration of this node, and that flows may be on.
    pub fn leaving(&self) -> impl Iterator<Item = (ServiceKey, SocketAddr)> {
        self.services.values().flat_map(|placed| {
            let leaving = placed.backends.iter().filter(|entry| entry.leaving);
            leaving.map(|entry| (placed.key, entry.address))
        })
    }

    /// The router that owns a service's VIP, see [`crate::ServiceSpec::router`].
    #[must_use]
    pub fn router_of(&self, service: ServiceKey) -> Option<u32> {
        Some(self.services.get(&service)?.service.router)
    }

    /// The index of a service's backend.
    #[must_use]
    pub fn index_of(&self, service: ServiceKey, backend: SocketAddr) -> Option<u32> {
        let entry = self.services.get(&service)?.backend(backend)?;
        Some(entry.index)
    }

    /// The inverse of [`Self::index_of`].
    #[must_use]
    pub fn address_of(&self, service: ServiceKey, index: u32) -> Option<SocketAddr> {
        let mut entries = self.services.get(&service)?.backends.iter();
        Some(entries.find(|entry| entry.index == index)?.address)
    }

    /// Whether a service is steered as another node says.
    #[must_use]
    pub fn follows(&self, service: ServiceKey) -> bool {
        self.services
            .get(&service)
            .is_some_and(|placed| placed.follows)
    }
}

impl Placed {
    fn backend(&self, address: SocketAddr) -> Option<&Entry> {
        self.backends.iter().find(|entry| entry.address == address)
    }

    /// Makes the slots those of the plan, whose backends all have entries.
    fn take_words(&mut self, told: &ServicePlan) -> Option<MapOp> {
        let index = |place: u32| {
            let address = told.backends.get(place as usize)?.address;
            Some(self.backend(address)?.index)
        };
        let bases: BTreeMap<_, _> = told
            .moved
            .iter()
            .map(|(offset, base)| (*offset, base.and_then(index).unwrap_or(NO_BACKEND)))
            .collect();
        let wanted = (self.shares(), self.living());
        let table = table(&wanted.0, self.service.slots);
        let words: Vec<_> = (0..)
            .zip(&table)
            .map(|(offset, current)| match bases.get(&offset) {
                Some(base) => Slot::moved(*current, *base),
                None => Slot::at_rest(*current),
            })
            .collect();
        let changed: Vec<_> = diff(&self.words, &words).collect();
        for (offset, word) in &changed {
            self.set_word(*offset, *word);
        }
        self.built = wanted;
        (!changed.is_empty()).then(|| MapOp::SetSlots {
            first: self.service.first_slot,
            words: changed.into_iter().map(|(at, word)| (at, word.0)).collect(),
        })
    }
}

fn fits(told: &ServicePlan, placed: &Placed) -> Result<(), FollowError> {
    let here = placed.service;
    if told.slots != here.slots {
        return Err(FollowError::Slots {
            here: here.slots,
            there: told.slots,
        });
    }
    if told.mode != here.mode {
        return Err(FollowError::Mode);
    }
    let addresses: BTreeSet<_> = told.backends.iter().map(|b| b.address).collect();
    let ascending = told.moved.is_sorted_by(|(a, _), (b, _)| a < b);
    let within = told.moved.iter().all(|(offset, base)| {
        *offset < told.slots && base.is_none_or(|base| (base as usize) < told.backends.len())
    });
    if addresses.len() == told.backends.len() && ascending && within {
        Ok(())
    } else {
        Err(FollowError::Invalid)
    }
}

fn stranger(address: SocketAddr, index: u32) -> Entry {
    Entry {
        address,
        index,
        weight: 0,
        probed: false,
        state: State::Up,
        hop: Hop::default(),
        written: None,
        leaving: true,
        left: None,
        told: None,
    }
}
