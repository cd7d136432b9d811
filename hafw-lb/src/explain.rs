//! Where a flow goes, and why: what XDP would do, computed from the same state.

use std::{fmt, net::SocketAddr, net::SocketAddrV4};

use hafw_common::{
    flow::{flow_hash4, slot_of},
    service::{NO_BACKEND, ServiceKey},
};

use crate::{
    balancer::Balancer,
    health::{Cause, State},
    maglev,
    service::{BackendStatus, Entry, Placed},
};

/// A flow as its packets to the service carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub source: SocketAddrV4,
    /// The service's VIP and port.
    pub destination: SocketAddrV4,
    /// IP protocol number.
    pub protocol: u8,
}

/// Where a flow goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The service that takes it.
    pub service: ServiceKey,
    /// [`flow_hash4`] of it.
    pub hash: u32,
    /// Its slot, from 0 within the service.
    pub slot: u32,
    /// That slot's index in the SLOTS map.
    pub index: u32,
    /// The backend that the slot leads to, or none: the packet is dropped.
    pub backend: Option<BackendStatus>,
    /// Why that one.
    pub why: Why,
}

/// Why a slot leads where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It would with all backends up, too.
    FirstChoice,
    /// With all backends up another one would have it.
    InsteadOf {
        /// The first choice.
        backend: SocketAddr,
        /// Its state. If that is not down, its weight moved slots about.
        state: State,
    },
    /// All backends of the service are down; those that merely timed out are kept.
    AllTimedOut,
    /// No backend has a weight and is up.
    NoBackend,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstChoice => f.write_str("the slot's first choice"),
            Self::InsteadOf { backend, state } => {
                let state = match state {
                    State::Unknown | State::Up => "is up, but others' absence moved its slots",
                    State::Down(Cause::TimedOut) => "does not answer",
                    State::Down(Cause::Failed) => "is down",
                };
                write!(f, "the slot's first choice, {backend}, {state}")
            }
            Self::AllTimedOut => f.write_str(
                "no backend is up; those whose probes merely timed out keep what they have",
            ),
            Self::NoBackend => f.write_str("no backend is up and has a weight"),
        }
    }
}

impl Balancer {
    /// Where a flow goes, if a service takes it. Builds a table: some milliseconds of work.
    #[must_use]
    pub fn choose(&self, flow: Flow) -> Option<Explanation> {
        let Flow {
            source,
            destination,
            protocol,
        } = flow;
        let key = ServiceKey {
            address: destination.ip().octets(),
            port: destination.port().to_be_bytes(),
            protocol,
            reserved: 0,
        };
        let placed = self.services.get(&key)?;
        let source_port = source.port().to_be_bytes();
        let hash = flow_hash4(
            source.ip().octets(),
            key.address,
            source_port,
            key.port,
            key.protocol,
        );
        let slot = slot_of(hash, placed.service.slots);
        let chosen = placed
            .table
            .get(slot as usize)
            .copied()
            .unwrap_or(NO_BACKEND);
        let status = placed.status();
        Some(Explanation {
            service: key,
            hash,
            slot,
            index: placed.service.first_slot + slot,
            backend: status
                .backends
                .into_iter()
                .find(|backend| backend.index == chosen),
            why: why(placed, slot, chosen),
        })
    }
}

fn why(placed: &Placed, slot: u32, chosen: u32) -> Why {
    let Some(entry) = placed.backends.iter().find(|entry| entry.index == chosen) else {
        return Why::NoBackend;
    };
    if matches!(entry.state, State::Down(_)) {
        return Why::AllTimedOut;
    }
    let backends: Vec<_> = placed.backends.iter().map(Entry::full_share).collect();
    let table = maglev::build(&backends, placed.service.slots);
    let first = table[slot as usize].map(|index| &placed.backends[index as usize]);
    match first {
        Some(first) if first.index != chosen => Why::InsteadOf {
            backend: first.address,
            state: first.state,
        },
        Some(_) | None => Why::FirstChoice,
    }
}
