//! What peers have been told of this node's services, and what they are still to be told. Pure: time
//! is a parameter, and parts come back.
//!
//! For each peer the plans and flows that it does not know yet are kept as sets of keys, so that what
//! changes twice before there is room is told once, as it is then.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use hafw_common::{moved::FlowKey, service::ServiceKey};
use hafw_vrrp::Instant;

use crate::{
    cluster::{Flow, Part, ToldPlan, flow_parts, gone_parts, of_flow},
    datapath::FlowState,
};

/// An entry of which nothing is heard ends after 15 minutes on the other side too: it is told again
/// long before.
const REFRESH: Duration = Duration::from_secs(300);
/// Flows that are put into parts at once.
const AT_ONCE: usize = 4_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Teller {
    plans: BTreeMap<ServiceKey, ToldPlan>,
    flows: BTreeMap<FlowKey, Known>,
    look: u32,
    listeners: Vec<Listener>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    state: FlowState,
    told_at: Instant,
    /// The look that last found it.
    look: u32,
}

/// What one peer does not know.
#[derive(Clone, Debug, Default)]
struct Listener {
    begins: bool,
    plans: BTreeSet<ServiceKey>,
    flows: BTreeSet<FlowKey>,
    completes: bool,
}

impl Teller {
    /// For so many peers.
    pub(super) fn new(peers: usize) -> Self {
        Self {
            listeners: vec![Listener::default(); peers],
            ..Self::default()
        }
    }

    /// These are all services whose VIPs this node owns. What is told of others is forgotten: their
    /// owner tells of them now.
    pub(super) fn set_plans(&mut self, plans: BTreeMap<ServiceKey, ToldPlan>) {
        for (key, plan) in &plans {
            if self.plans.get(key) != Some(plan) {
                for listener in &mut self.listeners {
                    listener.plans.insert(*key);
                }
            }
        }
        self.plans = plans;
        let plans = &self.plans;
        self.flows
            .retain(|key, _| plans.contains_key(&of_flow(key).0));
    }

    /// A look at the flows found this one.
    pub(super) fn found(&mut self, key: FlowKey, state: FlowState, now: Instant) {
        if !self.plans.contains_key(&of_flow(&key).0) {
            return;
        }
        let look = self.look;
        let known = self.flows.get_mut(&key);
        let as_told = known.is_some_and(|known| {
            known.look = look;
            let before = std::mem::replace(&mut known.state, state);
            let same = (before.backend, before.closing) == (state.backend, state.closing);
            same && now.saturating_duration_since(known.told_at) < REFRESH
        });
        if !as_told {
            let told_at = now;
            self.flows.insert(
                key,
                Known {
                    state,
                    told_at,
                    look,
                },
            );
            for listener in &mut self.listeners {
                listener.flows.insert(key);
            }
        }
    }

    /// The look has come to its end: flows that it did not find are no more.
    pub(super) fn look_ends(&mut self) {
        let look = self.look;
        let gone: Vec<_> = self
            .flows
            .extract_if(.., |_, known| known.look != look)
            .map(|(key, _)| key)
            .collect();
        for listener in &mut self.listeners {
            listener.flows.extend(gone.iter().copied());
        }
        self.look = look.wrapping_add(1);
    }

    /// Tells a peer everything anew.
    pub(super) fn begin(&mut self, peer: usize) {
        if let Some(listener) = self.listeners.get_mut(peer) {
            *listener = Listener {
                begins: true,
                plans: self.plans.keys().copied().collect(),
                flows: self.flows.keys().copied().collect(),
                completes: true,
            };
        }
    }

    /// What a peer is to be told next: plans first, because flows stand behind them. Empty when it
    /// knows all. `address_of` names backends by their indices.
    pub(super) fn next(
        &mut self,
        peer: usize,
        address_of: impl Fn(ServiceKey, u32) -> Option<SocketAddr>,
    ) -> Vec<Part> {
        let Some(listener) = self.listeners.get_mut(peer) else {
            return Vec::new();
        };
        if std::mem::take(&mut listener.begins) {
            return vec![Part::Begin];
        }
        if let Some(key) = listener.plans.pop_first() {
            // One that this node owns no longer is its new owner's to tell.
            let plan = self.plans.get(&key);
            return plan.map_or(Vec::new(), ToldPlan::parts);
        }
        if listener.flows.is_empty() {
            let completes = std::mem::take(&mut listener.completes);
            return completes.then_some(Part::Complete).into_iter().collect();
        }
        let mut flows = BTreeMap::<_, Vec<_>>::new();
        let mut gone = BTreeMap::<_, Vec<_>>::new();
        for _ in 0..AT_ONCE {
            let Some(key) = listener.flows.pop_first() else {
                break;
            };
            let (service, client) = of_flow(&key);
            let known = self.flows.get(&key).map(|known| known.state);
            let placed = known.and_then(|flow| Some((flow, address_of(service, flow.backend)?)));
            if let Some((state, backend)) = placed {
                let seconds = u32::try_from(state.idle.as_secs()).unwrap_or(u32::MAX);
                let flow = Flow(client, seconds, state.closing);
                flows.entry((service, backend)).or_default().push(flow);
            } else {
                gone.entry(service).or_default().push(client);
            }
        }
        let flows = flows
            .iter()
            .flat_map(|((service, backend), flows)| flow_parts(*service, *backend, flows));
        let gone = gone
            .iter()
            .flat_map(|(service, clients)| gone_parts(*service, clients));
        flows.chain(gone).collect()
    }

    /// Whether a peer has been told everything.
    pub(super) fn is_told(&self, peer: usize) -> bool {
        self.listeners.get(peer).is_some_and(|listener| {
            !listener.begins
                && !listener.completes
                && listener.plans.is_empty()
                && listener.flows.is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use hafw_common::{proto::IP_TCP, service::MODE_DSR};
    use hafw_lb::ServicePlan;

    use super::*;
    use crate::cluster::{Assembly, flow_key};

    const SECOND: u64 = 1_000_000_000;

    fn service() -> ServiceKey {
        ServiceKey::new([10, 0, 0, 3].into(), 80, IP_TCP)
    }

    fn plan(slots: u32) -> ToldPlan {
        ToldPlan {
            plan: ServicePlan {
                key: service(),
                mode: MODE_DSR,
                slots,
                backends: Vec::new(),
                moved: Vec::new(),
            },
            drained: Vec::new(),
        }
    }

    fn backend(index: u32) -> SocketAddr {
        ([10, 0, 1, u8::try_from(index).unwrap()], 80).into()
    }

    fn key(port: u16) -> FlowKey {
        flow_key(service(), ([10, 9, 0, 1], port).into())
    }

    fn kept(backend: u32, closing: bool) -> FlowState {
        FlowState {
            backend,
            closing,
            idle: Duration::from_secs(7),
        }
    }

    /// A peer as far as it was told.
    #[derive(Debug, Default, PartialEq)]
    struct Peer {
        plans: BTreeMap<ServiceKey, ToldPlan>,
        flows: BTreeMap<u16, (SocketAddr, bool)>,
        whole: bool,
    }

    impl Peer {
        /// Tells it all; how many parts of flows that took.
        fn hear(&mut self, teller: &mut Teller, peer: usize) -> usize {
            let (mut assembly, mut count) = (Assembly::default(), 0);
            while !teller.is_told(peer) {
                for part in teller.next(peer, |_, index| Some(backend(index))) {
                    match part.clone() {
                        Part::Begin => *self = Self::default(),
                        Part::Flows { backend, flows, .. } => {
                            count += 1;
                            let flow = |Flow(client, _, closes)| (client.port(), (backend, closes));
                            self.flows.extend(flows.into_iter().map(flow));
                        }
                        Part::Gone { flows, .. } => {
                            count += 1;
                            self.flows
                                .retain(|port, _| !flows.iter().any(|c| c.port() == *port));
                        }
                        Part::Complete => self.whole = true,
                        part @ (Part::Service { .. }
                        | Part::Backends { .. }
                        | Part::Slots { .. }
                        | Part::Planned
                        | Part::Unknown) => {
                            let told = assembly.take(part);
                            self.plans.extend(told.map(|told| (told.plan.key, told)));
                        }
                    }
                }
            }
            count
        }
    }

    #[test]
    fn a_peer_is_told_all_once_and_then_what_changes() {
        let mut teller = Teller::new(2);
        let now = Instant::from_nanos(SECOND);
        teller.set_plans(BTreeMap::from([(service(), plan(7))]));
        teller.begin(0);
        for port in 0..10 {
            teller.found(key(port), kept(1, false), now);
        }
        teller.look_ends();
        let mut peer = Peer::default();
        assert!(peer.hear(&mut teller, 0) > 0 && peer.whole);
        assert_eq!(peer.plans[&service()], plan(7));
        assert_eq!(peer.flows.len(), 10);
        assert_eq!(peer.flows[&3], (backend(1), false));

        // Nothing new; then one closes, one is on another backend, one is gone.
        let again = |teller: &mut Teller, now| {
            teller.found(key(0), kept(1, true), now);
            teller.found(key(1), kept(2, false), now);
            (3..10).for_each(|port| teller.found(key(port), kept(1, false), now));
            teller.look_ends();
        };
        again(&mut teller, now);
        assert_eq!(peer.hear(&mut teller, 0), 3);
        assert_eq!(peer.flows[&0], (backend(1), true));
        assert_eq!(peer.flows[&1], (backend(2), false));
        assert!(!peer.flows.contains_key(&2));
        again(&mut teller, now);
        assert_eq!(peer.hear(&mut teller, 0), 0);
        teller.set_plans(BTreeMap::from([(service(), plan(11))]));
        assert_eq!(peer.hear(&mut teller, 0), 0);
        assert_eq!(peer.plans[&service()], plan(11));

        // One that comes later hears the same.
        let mut other = Peer::default();
        teller.begin(1);
        other.hear(&mut teller, 1);
        assert_eq!(other, peer);
    }

    #[test]
    fn a_flow_that_goes_on_is_told_again_before_the_peer_forgets_it() {
        let mut teller = Teller::new(1);
        teller.set_plans(BTreeMap::from([(service(), plan(7))]));
        let mut peer = Peer::default();
        let mut told = |seconds: u64| {
            teller.found(
                key(1),
                kept(1, false),
                Instant::from_nanos(seconds * SECOND),
            );
            teller.look_ends();
            peer.hear(&mut teller, 0)
        };
        assert_eq!([told(1), told(300), told(301), told(302)], [1, 0, 1, 0]);
    }

    #[test]
    fn of_services_that_another_node_owns_nothing_is_told() {
        let mut teller = Teller::new(1);
        let now = Instant::from_nanos(SECOND);
        teller.set_plans(BTreeMap::from([(service(), plan(7))]));
        teller.found(key(1), kept(1, false), now);
        teller.set_plans(BTreeMap::new());
        teller.found(key(2), kept(1, false), now);
        teller.begin(0);
        let mut peer = Peer::default();
        assert_eq!(peer.hear(&mut teller, 0), 0);
        assert!(peer.whole && peer.plans.is_empty());
    }
}
