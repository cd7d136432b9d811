//! One service: how it should be, and how the maps have it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hafw_common::{
    proto::{IP_TCP, IP_UDP},
    service::{NO_BACKEND, Service, ServiceKey, Slot},
};

use crate::{
    exchange::Told,
    health::{Cause, State},
    identity::backend_key,
    maglev::{self, Weighted},
    moves::Progress,
};

/// A service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// VIP, port and protocol.
    pub key: ServiceKey,
    /// Index of the router that owns the VIP.
    pub router: u32,
    /// How packets reach the backends, for instance [`hafw_common::service::MODE_DSR`].
    pub mode: u32,
    /// Table size, at least 1; see [`maglev::build`].
    pub slots: u32,
    /// Its backends, in any order.
    pub backends: Vec<BackendSpec>,
}

/// A backend as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendSpec {
    /// Its identity: address and port.
    pub address: SocketAddr,
    /// Its share relative to the others'. 0: drained.
    pub weight: u32,
    /// Someone probes it and reports its state; otherwise it is up for ever.
    pub probed: bool,
}

/// The way to a backend, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// MAC of the next hop; `None` while it is not resolved.
    pub next_hop: Option<[u8; 6]>,
    /// MAC of the interface that leads there.
    pub source: [u8; 6],
    /// Kernel index of that interface; 0 while there is no route.
    pub ifindex: u32,
}

/// A service, for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// VIP, port and protocol.
    pub key: ServiceKey,
    /// Its map entry.
    pub service: Service,
    /// Its backends, in the order of the configuration; then those that are leaving.
    pub backends: Vec<BackendStatus>,
}

/// A backend, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// Address and port.
    pub address: SocketAddr,
    /// Index into the BACKENDS and TRAFFIC maps.
    pub index: u32,
    /// Current weight.
    pub weight: u32,
    /// What its probes say.
    pub state: State,
    /// The way to it.
    pub hop: Hop,
    /// Slots that send new flows to it.
    pub slots: u32,
    /// Slots that have moved away from it, and may have flows on it still.
    pub moved_slots: u32,
    /// It is no longer configured, and goes when no flow is on it any more.
    pub leaving: bool,
}

/// A service with its place in the maps.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) key: ServiceKey,
    pub(crate) service: Service,
    pub(crate) backends: Vec<Entry>,
    /// The map entry as written; `None` before it is.
    pub(crate) written: Option<Service>,
    /// Every slot as written; empty for a region that holds anything.
    pub(crate) words: Vec<Slot>,
    /// The slots among them that have moved, by offset.
    pub(crate) progress: BTreeMap<u32, Progress>,
    /// What `words` were made from: the shares, and who lives.
    pub(crate) built: (Vec<(Weighted, u32)>, Vec<u32>),
    /// It is steered as another node says: each backend has been told of.
    pub(crate) follows: bool,
}

/// A backend with its place in the maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) address: SocketAddr,
    pub(crate) index: u32,
    pub(crate) weight: u32,
    pub(crate) probed: bool,
    pub(crate) state: State,
    pub(crate) hop: Hop,
    /// The map entry as written, and whether it says that the backend lives; `None` before it is.
    pub(crate) written: Option<(Hop, bool)>,
    /// No longer configured: it goes when no flow is on it any more.
    pub(crate) leaving: bool,
    /// Since when nothing leads to it, as far as the slots say.
    pub(crate) left: Option<Duration>,
    /// What another node says of it, which counts instead of `weight` and `state`.
    pub(crate) told: Option<Told>,
}

impl Placed {
    /// What the table should be built from: each backend's effective weight, and its index.
    ///
    /// Backends that are not down take all. Without any, those that merely timed out keep what
    /// they have: the probes may be what is lost, in a flood for instance, and nothing is gained
    /// by steering to nobody. Without those either, nobody is left.
    pub(crate) fn shares(&self) -> Vec<(Weighted, u32)> {
        let serves = |state| matches!(state, State::Unknown | State::Up);
        let any = self
            .backends
            .iter()
            .any(|b| b.weight() > 0 && serves(b.state()));
        let chosen = |state| {
            if any {
                serves(state)
            } else {
                state == State::Down(Cause::TimedOut)
            }
        };
        let share = |entry: &Entry| {
            let full = entry.full_share();
            let weight = if chosen(entry.state()) {
                full.weight
            } else {
                0
            };
            (Weighted { weight, ..full }, entry.index)
        };
        self.backends.iter().map(share).collect()
    }

    pub(crate) fn status(&self) -> ServiceStatus {
        // One pass, however many backends there are.
        let mut counts = BTreeMap::<u32, [u32; 2]>::new();
        for word in &self.words {
            let (current, base) = (word.current(), word.base());
            counts.entry(current).or_default()[0] += 1;
            if base != current {
                counts.entry(base).or_default()[1] += 1;
            }
        }
        let backends = self.backends.iter().map(|entry| {
            let [slots, moved_slots] = counts.get(&entry.index).copied().unwrap_or_default();
            BackendStatus {
                address: entry.address,
                index: entry.index,
                weight: entry.weight(),
                state: entry.state(),
                hop: entry.hop,
                slots,
                moved_slots,
                leaving: entry.leaving,
            }
        });
        ServiceStatus {
            key: self.key,
            service: self.service,
            backends: backends.collect(),
        }
    }
}

impl Entry {
    /// Its key and share, as long as it is up.
    pub(crate) fn full_share(&self) -> Weighted {
        Weighted {
            key: backend_key(self.address),
            weight: self.weight(),
        }
    }

    /// Its share, as long as it is up.
    pub(crate) fn weight(&self) -> u32 {
        self.told.map_or(self.weight, |told| told.weight)
    }

    /// What is thought of it.
    pub(crate) fn state(&self) -> State {
        let told = self.told.and_then(|told| told.state);
        told.unwrap_or(self.state)
    }
}

/// A service as people write it: `10.0.0.3:8080/tcp`, `[2001:db8::3]:8080/tcp`.
#[must_use]
pub fn service_name(key: &ServiceKey) -> String {
    let destination = key.destination();
    match key.protocol {
        IP_TCP => format!("{destination}/tcp"),
        IP_UDP => format!("{destination}/udp"),
        other => format!("{destination}/{other}"),
    }
}

/// The backend index of every slot.
pub(crate) fn table(shares: &[(Weighted, u32)], slots: u32) -> Vec<u32> {
    let backends: Vec<_> = shares.iter().map(|(weighted, _)| *weighted).collect();
    let index = |chosen: Option<u32>| chosen.map_or(NO_BACKEND, |i| shares[i as usize].1);
    maglev::build(&backends, slots)
        .into_iter()
        .map(index)
        .collect()
}
