//! Where a flow goes, and why: what XDP would do, computed from the same state.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use hafw_common::{
    flow::{flow_hash4, flow_hash6, slot_of},
    mapped,
    moved::FlowKey,
    service::{NO_BACKEND, ServiceKey, Slot},
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
    pub source: SocketAddr,
    /// The service's VIP and port, of the same family.
    pub destination: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
}

/// Where a flow goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The service that takes it.
    pub service: ServiceKey,
    /// The flow's key in the table of flows.
    pub flow: FlowKey,
    /// [`flow_hash4`] or [`flow_hash6`] of it.
    pub hash: u32,
    /// Its slot, from 0 within the service.
    pub slot: u32,
    /// That slot's index in the SLOTS map.
    pub index: u32,
    /// The backend that the slot leads to, or none: the packet is dropped.
    pub backend: Option<BackendStatus>,
    /// Of a slot that has moved: the backend, if there is one, of flows that were there before.
    pub base: Option<Option<BackendStatus>>,
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
        let key = ServiceKey::new(destination.ip(), destination.port(), protocol);
        let placed = self.services.get(&key)?;
        let hash = hash(source, destination, protocol)?;
        let slot = slot_of(hash, placed.service.slots);
        let word = placed.words.get(slot as usize).copied();
        let word = word.unwrap_or(Slot::at_rest(NO_BACKEND));
        let chosen = word.current();
        let status = placed.status();
        let named = |index: u32| status.backends.iter().find(|b| b.index == index).copied();
        Some(Explanation {
            service: key,
            flow: FlowKey {
                client: mapped(source.ip()),
                vip: key.address,
                client_port: source.port().to_be_bytes(),
                port: key.port,
                protocol,
                reserved: [0; 3],
            },
            hash,
            slot,
            index: placed.service.first_slot + slot,
            backend: named(chosen),
            base: word.is_moved().then(|| named(word.base())),
            why: why(placed, slot, chosen),
        })
    }
}

/// What XDP computes. None where the families differ: there is no such packet.
fn hash(source: SocketAddr, destination: SocketAddr, protocol: u8) -> Option<u32> {
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(flow_hash4(
            from.octets(),
            to.octets(),
            ports[0],
            ports[1],
            protocol,
        )),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(flow_hash6(
            from.octets(),
            to.octets(),
            ports[0],
            ports[1],
            protocol,
        )),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn why(placed: &Placed, slot: u32, chosen: u32) -> Why {
    let Some(entry) = placed.backends.iter().find(|entry| entry.index == chosen) else {
        return Why::NoBackend;
    };
    if matches!(entry.state(), State::Down(_)) {
        return Why::AllTimedOut;
    }
    let backends: Vec<_> = placed.backends.iter().map(Entry::full_share).collect();
    let table = maglev::build(&backends, placed.service.slots);
    let first = table[slot as usize].map(|index| &placed.backends[index as usize]);
    match first {
        Some(first) if first.index != chosen => Why::InsteadOf {
            backend: first.address,
            state: first.state(),
        },
        Some(_) | None => Why::FirstChoice,
    }
}

#[cfg(test)]
mod tests {
    use hafw_common::{proto::IP_TCP, service::MODE_DSR, v4_mapped};

    use super::*;
    use crate::{BackendSpec, Capacity, Change, ServiceSpec, Weighted, backend_key};

    const KEY: ServiceKey = ServiceKey {
        address: v4_mapped([10, 0, 0, 3]),
        port: [0x1f, 0x90],
        protocol: IP_TCP,
        reserved: 0,
    };

    fn balancer(backends: u8) -> Balancer {
        let backend = |n| BackendSpec {
            address: address(n),
            weight: 1,
            probed: true,
        };
        let backends = (0..backends).map(backend).collect();
        let spec = ServiceSpec {
            key: KEY,
            router: 0,
            mode: MODE_DSR,
            slots: 101,
            backends,
        };
        let mut balancer = Balancer::new(Capacity::with_slots(101));
        balancer.configure(&[spec]).unwrap();
        balancer
    }

    fn address(n: u8) -> SocketAddr {
        ([10, 0, 1, n], 8080).into()
    }

    fn down(backend: SocketAddr, cause: Cause) -> Change {
        Change::State {
            service: KEY,
            backend,
            state: State::Down(cause),
        }
    }

    fn flow(port: u16) -> Flow {
        Flow {
            source: ([10, 0, 0, 1], port).into(),
            destination: ([10, 0, 0, 3], 8080).into(),
            protocol: IP_TCP,
        }
    }

    #[test]
    fn a_flow_goes_where_its_hash_and_the_table_say() {
        let balancer = balancer(3);
        let answer = balancer.choose(flow(49_153)).unwrap();
        // The hash that hafw-common pins; 101 * hash / 2^32.
        assert_eq!(
            (answer.hash, answer.slot, answer.index),
            (3_930_879_357, 92, 92)
        );
        let backends: Vec<_> = (0..3)
            .map(|n| Weighted {
                key: backend_key(address(n)),
                weight: 1,
            })
            .collect();
        let expected = maglev::build(&backends, 101)[92].unwrap();
        assert_eq!(answer.backend.unwrap().index, expected);
        assert_eq!(answer.why, Why::FirstChoice);
    }

    #[test]
    fn another_choice_names_the_first_one_and_its_state() {
        let mut balancer = balancer(3);
        let first = balancer.choose(flow(1)).unwrap().backend.unwrap().address;
        let _ = balancer.update(&[down(first, Cause::Failed)]);
        let answer = balancer.choose(flow(1)).unwrap();
        assert_ne!(answer.backend.unwrap().address, first);
        let state = State::Down(Cause::Failed);
        assert_eq!(
            answer.why,
            Why::InsteadOf {
                backend: first,
                state
            }
        );
        assert_eq!(
            answer.why.to_string(),
            format!("the slot's first choice, {first}, is down")
        );
    }

    #[test]
    fn all_down_is_told_apart_from_all_timed_out() {
        let mut balancer = balancer(2);
        let all = |cause| [0, 1].map(|n| down(address(n), cause));
        let _ = balancer.update(&all(Cause::TimedOut));
        let answer = balancer.choose(flow(1)).unwrap();
        assert!(answer.backend.is_some());
        assert_eq!(answer.why, Why::AllTimedOut);
        let _ = balancer.update(&all(Cause::Failed));
        let answer = balancer.choose(flow(1)).unwrap();
        assert_eq!((answer.backend, answer.why), (None, Why::NoBackend));
    }

    #[test]
    fn a_flow_of_no_service_has_no_answer() {
        let other = Flow {
            protocol: 17,
            ..flow(1)
        };
        assert_eq!(balancer(1).choose(other), None);
    }
}
