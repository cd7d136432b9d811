//! What a node tells its peers of the services whose VIPs it owns: how each is steered, and which
//! established connections are not where their slots lead. In parts of bounded length, in order:
//!
//! ```text
//! begin  (service backends* slots* planned)*  (flows | gone)*  complete  ...
//! ```
//! What comes between `begin` and `complete` replaces what was told before; what comes later changes
//! it. An entry of a flow stands behind the plan of its service.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use hafw_common::{
    maps::MAX_BACKENDS,
    moved::FlowKey,
    service::{NO_BACKEND, ServiceKey},
};
use hafw_lb::{Cause, PlannedBackend, ServicePlan, State};
use serde::{Deserialize, Serialize};

/// The version of all this. Nodes with different ones tell each other nothing of their services.
pub(super) const STATE_FORMAT: u16 = 1;

/// Of each kind in one message, so that none comes near the longest.
const BACKENDS: usize = 4_000;
const SLOTS: usize = 40_000;
const FLOWS: usize = 4_000;

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// Everything is told anew.
    Begin,
    /// The plan of a service begins.
    Service {
        /// Which.
        service: ServiceName,
        /// How packets reach its backends, see [`hafw_common::service::MODE_DSR`] and beside it.
        mode: u32,
        /// Table size.
        slots: u32,
    },
    /// Backends of that service.
    Backends {
        /// In order.
        backends: Vec<Backend>,
    },
    /// Slots of that service that have moved.
    Slots {
        /// Whose flows were there before, by its place among the backends.
        base: Option<u32>,
        /// Which.
        slots: Vec<u32>,
    },
    /// The plan is whole.
    Planned,
    /// Established connections on a backend, each in a slot that has moved and with another base.
    Flows {
        /// Of which service.
        service: ServiceName,
        /// Where they are.
        backend: SocketAddr,
        /// By their clients' ends.
        flows: Vec<Flow>,
    },
    /// Connections that have ended, or are where their slots lead again.
    Gone {
        /// Of which service.
        service: ServiceName,
        /// By their clients' ends.
        flows: Vec<SocketAddr>,
    },
    /// Everything has been told.
    Complete,
    /// One that a later version has.
    #[serde(other)]
    Unknown,
}

/// What names a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceName {
    vip: IpAddr,
    port: u16,
    /// IP protocol number.
    protocol: u8,
}

/// A backend, as the teller has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    address: SocketAddr,
    weight: u32,
    health: Health,
    #[serde(default)]
    leaving: bool,
    /// By `hafw drain`.
    #[serde(default)]
    drained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Unknown,
    Up,
    TimedOut,
    Failed,
}

/// A connection: the client's end, for how many seconds it was silent, and whether it is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow(pub SocketAddr, pub u32, pub bool);

/// The plan of a service, and which of its backends are drained on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldPlan {
    /// How it is steered.
    pub plan: ServicePlan,
    /// For each backend of it.
    pub drained: Vec<bool>,
}

impl From<ServiceKey> for ServiceName {
    fn from(key: ServiceKey) -> Self {
        let destination = key.destination();
        Self {
            vip: destination.ip(),
            port: destination.port(),
            protocol: key.protocol,
        }
    }
}

impl From<ServiceName> for ServiceKey {
    fn from(name: ServiceName) -> Self {
        Self::new(name.vip.to_canonical(), name.port, name.protocol)
    }
}

impl From<State> for Health {
    fn from(state: State) -> Self {
        match state {
            State::Unknown => Self::Unknown,
            State::Up => Self::Up,
            State::Down(Cause::TimedOut) => Self::TimedOut,
            State::Down(Cause::Failed) => Self::Failed,
        }
    }
}

impl From<Health> for State {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::Unknown,
            Health::Up => Self::Up,
            Health::TimedOut => Self::Down(Cause::TimedOut),
            Health::Failed => Self::Down(Cause::Failed),
        }
    }
}

/// A flow's key in the maps.
#[must_use]
pub fn flow_key(service: ServiceKey, client: SocketAddr) -> FlowKey {
    FlowKey {
        client: hafw_common::mapped(client.ip()),
        vip: service.address,
        client_port: client.port().to_be_bytes(),
        port: service.port,
        protocol: service.protocol,
        reserved: [0; 3],
    }
}

/// The service of a flow, and its client's end.
#[must_use]
pub fn of_flow(key: &FlowKey) -> (ServiceKey, SocketAddr) {
    let service = ServiceKey {
        address: key.vip,
        port: key.port,
        protocol: key.protocol,
        reserved: 0,
    };
    let port = u16::from_be_bytes(key.client_port);
    let client = SocketAddr::new(hafw_common::unmapped(key.client), port);
    (service, client)
}

impl ToldPlan {
    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let Self { plan, drained } = self;
        let backends: Vec<_> = plan
            .backends
            .iter()
            .zip(drained)
            .map(|(backend, drained)| Backend {
                address: backend.address,
                weight: backend.weight,
                health: backend.state.into(),
                leaving: backend.leaving,
                drained: *drained,
            })
            .collect();
        let mut moved = BTreeMap::<_, Vec<_>>::new();
        for (slot, base) in &plan.moved {
            moved.entry(*base).or_default().push(*slot);
        }
        let head = Part::Service {
            service: plan.key.into(),
            mode: plan.mode,
            slots: plan.slots,
        };
        let backends = backends.chunks(BACKENDS).map(|backends| Part::Backends {
            backends: backends.to_vec(),
        });
        let slots = moved.iter().flat_map(|(base, slots)| {
            slots.chunks(SLOTS).map(|slots| Part::Slots {
                base: *base,
                slots: slots.to_vec(),
            })
        });
        [head]
            .into_iter()
            .chain(backends)
            .chain(slots)
            .chain([Part::Planned])
            .collect()
    }
}

/// The parts that tell of connections on a backend.
pub fn flow_parts(
    service: ServiceKey,
    backend: SocketAddr,
    flows: &[Flow],
) -> impl Iterator<Item = Part> {
    flows.chunks(FLOWS).map(move |flows| Part::Flows {
        service: service.into(),
        backend,
        flows: flows.to_vec(),
    })
}

/// The parts that tell of connections that are no more.
pub fn gone_parts(service: ServiceKey, flows: &[SocketAddr]) -> impl Iterator<Item = Part> {
    flows.chunks(FLOWS).map(move |flows| Part::Gone {
        service: service.into(),
        flows: flows.to_vec(),
    })
}

/// Puts plans together again.
#[derive(Debug, Default)]
pub struct Assembly {
    pending: Option<ToldPlan>,
}

impl Assembly {
    /// Takes a part in; the plan that it completes. What does not fit ends the plan that it is for.
    pub fn take(&mut self, part: Part) -> Option<ToldPlan> {
        match part {
            Part::Service {
                service,
                mode,
                slots,
            } => {
                let plan = ServicePlan {
                    key: service.into(),
                    mode,
                    slots: slots.min(NO_BACKEND),
                    backends: Vec::new(),
                    moved: Vec::new(),
                };
                let drained = Vec::new();
                self.pending = Some(ToldPlan { plan, drained });
            }
            Part::Backends { backends } => {
                let mut told = self.pending.take()?;
                for backend in backends {
                    told.plan.backends.push(PlannedBackend {
                        address: backend.address,
                        weight: backend.weight,
                        state: backend.health.into(),
                        leaving: backend.leaving,
                    });
                    told.drained.push(backend.drained);
                }
                self.pending =
                    Some(told).filter(|told| told.drained.len() <= MAX_BACKENDS as usize);
            }
            Part::Slots { base, slots } => {
                let mut told = self.pending.take()?;
                let moved = slots.into_iter().map(|slot| (slot, base));
                told.plan.moved.extend(moved);
                let most = told.plan.slots as usize;
                self.pending = Some(told).filter(|told| told.plan.moved.len() <= most);
            }
            Part::Planned => {
                let mut told = self.pending.take()?;
                told.plan.moved.sort_unstable();
                return Some(told);
            }
            Part::Begin
            | Part::Flows { .. }
            | Part::Gone { .. }
            | Part::Complete
            | Part::Unknown => self.pending = None,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use hafw_common::{proto::IP_TCP, service::MODE_NAT};
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn an_address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
            any::<([u8; 16], u16)>()
                .prop_map(|(a, port)| (IpAddr::from(a).to_canonical(), port).into()),
        ]
    }

    fn a_plan() -> impl Strategy<Value = ToldPlan> {
        let states = prop::sample::select(vec![
            State::Unknown,
            State::Up,
            State::Down(Cause::TimedOut),
            State::Down(Cause::Failed),
        ]);
        let backend = (an_address(), any::<u32>(), states, any::<(bool, bool)>());
        let moved = prop::collection::btree_map(0..100_000u32, option::of(0..9u32), 0..50);
        (an_address(), vec(backend, 0..9), moved).prop_map(|(vip, backends, moved)| ToldPlan {
            drained: backends.iter().map(|(.., (_, drained))| *drained).collect(),
            plan: ServicePlan {
                key: ServiceKey::new(vip.ip(), vip.port(), IP_TCP),
                mode: MODE_NAT,
                slots: 100_000,
                backends: backends
                    .into_iter()
                    .map(|(address, weight, state, (leaving, _))| PlannedBackend {
                        address,
                        weight,
                        state,
                        leaving,
                    })
                    .collect(),
                moved: moved.into_iter().collect(),
            },
        })
    }

    fn assemble(parts: impl IntoIterator<Item = Part>) -> Vec<ToldPlan> {
        let mut assembly = Assembly::default();
        let taken = parts.into_iter().filter_map(|part| assembly.take(part));
        taken.collect()
    }

    proptest! {
        #[test]
        fn plans_come_out_as_they_went_in(plans in vec(a_plan(), 0..4)) {
            let parts = plans.iter().flat_map(ToldPlan::parts);
            let over_the_wire = parts.map(|part| {
                let json = serde_json::to_vec(&part).unwrap();
                serde_json::from_slice(&json).unwrap()
            });
            prop_assert_eq!(assemble(over_the_wire), plans);
        }

        /// Nothing that arrives is taken for more than it is, in whatever order.
        #[test]
        fn parts_in_any_order_make_only_plans_that_were_told(
            plans in vec(a_plan(), 1..4),
            order in vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let parts: Vec<_> = plans.iter().flat_map(ToldPlan::parts).collect();
            let taken = assemble(order.iter().map(|index| index.get(&parts).clone()));
            for told in taken {
                prop_assert!(plans.iter().any(|plan| plan.plan.key == told.plan.key));
                prop_assert_eq!(told.plan.backends.len(), told.drained.len());
            }
        }

        #[test]
        fn a_flow_is_known_by_its_service_and_client(vip in an_address(), client in an_address()) {
            let service = ServiceKey::new(vip.ip(), vip.port(), IP_TCP);
            let key = flow_key(service, client);
            prop_assert_eq!(of_flow(&key), (service, client));
        }

        #[test]
        fn no_bytes_make_a_part_panic(text in ".{0,60}", key in "[a-z]{1,8}") {
            let tries = [
                text.clone(),
                format!(r#"{{"part":"{key}"}}"#),
                format!(r#"{{"part":"service","service":{text:?},"mode":1,"slots":7}}"#),
                format!(r#"{{"part":"slots","base":{},"slots":[{}]}}"#, text.len(), u64::MAX),
            ];
            for json in tries {
                let _ = serde_json::from_str::<Part>(&json);
            }
        }
    }

    #[test]
    fn a_large_plan_is_told_in_parts_that_each_fit_into_a_message() {
        let backend = |n: u32| PlannedBackend {
            address: (std::net::Ipv4Addr::from(n).to_ipv6_mapped(), 65_535).into(),
            weight: u32::MAX,
            state: State::Down(Cause::TimedOut),
            leaving: false,
        };
        let plan = ToldPlan {
            drained: vec![false; 10_000],
            plan: ServicePlan {
                key: ServiceKey::new([10, 0, 0, 3].into(), 80, IP_TCP),
                mode: MODE_NAT,
                slots: 16_777_213,
                backends: (0..10_000).map(backend).collect(),
                moved: (16_000_000..16_200_000)
                    .map(|slot| (slot, Some(0)))
                    .collect(),
            },
        };
        for part in plan.parts() {
            let length = serde_json::to_vec(&part).unwrap().len();
            assert!(length < 1 << 20, "{length} bytes");
        }
    }

    #[test]
    fn more_slots_or_backends_than_there_can_be_make_no_plan() {
        let service = ServiceKey::new([10, 0, 0, 3].into(), 80, IP_TCP).into();
        let head = |slots| Part::Service {
            service,
            mode: MODE_NAT,
            slots,
        };
        let slots = Part::Slots {
            base: None,
            slots: vec![1; 8],
        };
        assert_eq!(assemble([head(8), slots.clone(), Part::Planned]).len(), 1);
        assert!(assemble([head(7), slots, Part::Planned]).is_empty());
    }
}
