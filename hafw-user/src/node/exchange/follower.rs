//! What peers told of their services, and which of them this node follows: those whose VIPs a peer
//! owns. It owns the entries of flows that peers told of, until this node takes the VIP over.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::SocketAddr,
    time::Duration,
};

use hafw_common::{moved::FlowKey, service::ServiceKey};
use hafw_lb::FlowVerdict;
use hafw_vrrp::Instant;
use tracing::{info, warn};

use super::differences::{differences, refused};
use crate::{
    cluster::{Assembly, Flow, Part, Peer, ToldPlan, flow_key},
    config::{Config, Router, Service},
    datapath::{FlowState, FlowTable, TableError, Tables},
    node::services::{Services, key},
};

/// A plan of which nobody says any more that it holds is followed for so long, then this node's own
/// probes count: longer than any takeover takes.
const STALE: Duration = Duration::from_secs(60);

/// What plans are carried out on.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) services: &'a mut Services,
    pub(super) tables: &'a mut Tables,
    pub(super) flows: &'a mut FlowTable,
    /// Which routers are Active here.
    pub(super) active: &'a [bool],
}

/// See the module.
#[derive(Default)]
pub(super) struct Follower {
    told: BTreeMap<String, Told>,
    followed: BTreeMap<ServiceKey, Followed>,
}

struct Followed {
    by: String,
    /// When its owner last said that it is.
    valid_at: Instant,
}

/// By one peer.
#[derive(Default)]
struct Told {
    assembly: Assembly,
    plans: BTreeMap<ServiceKey, ToldPlan>,
    differences: BTreeMap<ServiceKey, Vec<String>>,
    /// What was told since everything began to be told anew.
    anew: Option<Anew>,
    complete: bool,
    flows: u64,
    flows_lost: u64,
}

#[derive(Default)]
struct Anew {
    plans: BTreeSet<ServiceKey>,
    flows: HashSet<FlowKey>,
}

/// For showing.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct Following {
    /// Services that are steered as the peer says.
    pub(in crate::node) services: usize,
    /// It has told everything.
    pub(in crate::node) complete: bool,
    /// Flows that it told of.
    pub(in crate::node) flows: u64,
    /// Those among them without room.
    pub(in crate::node) flows_lost: u64,
    /// In what its configuration differs.
    pub(in crate::node) differences: Vec<String>,
}

impl Follower {
    /// A peer told something.
    pub(super) fn take(
        &mut self,
        peer: &str,
        part: Part,
        ground: &mut Ground<'_>,
        now: Instant,
    ) -> Result<(), TableError> {
        let told = self.told.entry(peer.to_owned()).or_default();
        match part {
            Part::Begin => {
                *told = Told {
                    plans: std::mem::take(&mut told.plans),
                    differences: std::mem::take(&mut told.differences),
                    anew: Some(Anew::default()),
                    flows_lost: told.flows_lost,
                    ..Told::default()
                };
            }
            Part::Complete => {
                if let Some(anew) = &told.anew {
                    let kept = &anew.plans;
                    told.plans.retain(|key, _| kept.contains(key));
                    told.differences.retain(|key, _| kept.contains(key));
                }
                told.complete = true;
                let (services, flows) = (told.plans.len(), told.flows);
                info!(
                    peer,
                    services, flows, "[cluster] the peer's services are known"
                );
            }
            Part::Flows {
                service,
                backend,
                flows,
            } => return self.take_flows(peer, service.into(), backend, &flows, ground, now),
            Part::Gone { service, flows } => {
                let service = service.into();
                if self.by(service) == Some(peer) {
                    for client in flows {
                        ground.flows.remove(&flow_key(service, client))?;
                    }
                }
            }
            part @ (Part::Service { .. }
            | Part::Backends { .. }
            | Part::Slots { .. }
            | Part::Planned
            | Part::Unknown) => {
                if let Some(plan) = told.assembly.take(part) {
                    return self.take_plan(peer, plan, ground, now);
                }
            }
        }
        Ok(())
    }

    /// Who owns a service's VIP decides whose plan it is steered by. Returns which peers have told
    /// everything, so that entries of flows that they did not name can go: see [`Self::forget`].
    pub(super) fn tick(
        &mut self,
        peers: &[Peer],
        ground: &mut Ground<'_>,
        now: Instant,
    ) -> Result<(), TableError> {
        let config = ground.config;
        for service in &config.services {
            let key = key(service);
            let place = ground.services.router_of(key);
            let Some(router) = place.and_then(|place| config.routers.get(place)) else {
                continue;
            };
            if place.and_then(|place| ground.active.get(place)) == Some(&true) {
                self.stop(key, ground)?;
                continue;
            }
            let owns = |id: &str| peers.iter().any(|peer| peer.id == id && owns(peer, router));
            if let Some(followed) = self.followed.get_mut(&key)
                && owns(&followed.by)
            {
                followed.valid_at = now;
                continue;
            }
            let knows = |(id, told): (&String, &Told)| {
                (owns(id) && told.plans.contains_key(&key)).then(|| id.clone())
            };
            if let Some(owner) = self.told.iter().find_map(knows) {
                self.follow(&owner, service, ground, now)?;
            } else if let Some(followed) = self.followed.get(&key)
                && now.saturating_duration_since(followed.valid_at) >= STALE
            {
                self.stop(key, ground)?;
            }
        }
        let configured: BTreeSet<_> = config.services.iter().map(key).collect();
        self.followed.retain(|key, _| configured.contains(key));
        Ok(())
    }

    /// A peer that has told everything, and may have left flows out that have entries here.
    pub(super) fn told_anew(&self) -> Option<String> {
        let whole = |told: &Told| told.complete && told.anew.is_some();
        let mut told = self.told.iter().filter(|(_, told)| whole(told));
        told.next().map(|(peer, _)| peer.clone())
    }

    /// Removes those: `listed` are all entries, as they were after it had told everything.
    pub(super) fn forget(
        &mut self,
        peer: &str,
        listed: impl Iterator<Item = FlowKey>,
        flows: &mut FlowTable,
    ) -> Result<(), TableError> {
        let Some(anew) = self.told.get_mut(peer).and_then(|told| told.anew.take()) else {
            return Ok(());
        };
        for entry in listed.filter(|entry| !anew.flows.contains(entry)) {
            if self.by(crate::cluster::of_flow(&entry).0) == Some(peer) {
                flows.remove(&entry)?;
            }
        }
        Ok(())
    }

    /// The peer by whose plan a service is steered.
    pub(super) fn by(&self, service: ServiceKey) -> Option<&str> {
        Some(&self.followed.get(&service)?.by)
    }

    /// Whether a peer has told everything.
    pub(super) fn is_complete(&self, peer: &str) -> bool {
        self.told.get(peer).is_some_and(|told| told.complete)
    }

    /// For showing.
    pub(super) fn following(&self, peer: &str) -> Following {
        let services = self.followed.values().filter(|f| f.by == peer).count();
        let told = self.told.get(peer);
        let differences = told.into_iter().flat_map(|told| told.differences.values());
        Following {
            services,
            complete: told.is_some_and(|told| told.complete),
            flows: told.map_or(0, |told| told.flows),
            flows_lost: told.map_or(0, |told| told.flows_lost),
            differences: differences.flatten().cloned().collect(),
        }
    }

    fn take_plan(
        &mut self,
        peer: &str,
        plan: ToldPlan,
        ground: &mut Ground<'_>,
        now: Instant,
    ) -> Result<(), TableError> {
        let service = plan.plan.key;
        let told = self.told.entry(peer.to_owned()).or_default();
        if let Some(anew) = &mut told.anew {
            anew.plans.insert(service);
        }
        let configured = ground.config.services.iter().find(|s| key(s) == service);
        let Some(configured) = configured else {
            let refusal = refused(service, "there is no such service here");
            told.differ(peer, service, vec![refusal]);
            return Ok(());
        };
        told.differ(peer, service, differences(configured, &plan));
        told.plans.insert(service, plan);
        let place = ground.services.router_of(service);
        if place.and_then(|place| ground.active.get(place)) == Some(&false) {
            self.follow(peer, configured, ground, now)?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        peer: &str,
        service: &Service,
        ground: &mut Ground<'_>,
        now: Instant,
    ) -> Result<(), TableError> {
        let key = key(service);
        let Some(told) = self.told.get_mut(peer) else {
            return Ok(());
        };
        let Some(ToldPlan { plan, drained }) = told.plans.get(&key) else {
            return Ok(());
        };
        for (backend, drained) in plan.backends.iter().zip(drained) {
            let same = |own: &&crate::config::Backend| own.address.value == backend.address;
            if let Some(own) = service.backends.iter().find(same) {
                ground
                    .services
                    .drain(service, own, *drained, ground.tables)?;
            }
        }
        match ground.services.follow(plan, ground.tables)? {
            Ok(()) => {
                let (by, valid_at) = (peer.to_owned(), now);
                self.followed.insert(key, Followed { by, valid_at });
            }
            Err(error) => {
                told.plans.remove(&key);
                told.differ(peer, key, vec![refused(key, &error.to_string())]);
                self.stop(key, ground)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self, service: ServiceKey, ground: &mut Ground<'_>) -> Result<(), TableError> {
        if self.followed.remove(&service).is_some() {
            ground.services.unfollow(service, ground.tables)?;
        }
        Ok(())
    }

    fn take_flows(
        &mut self,
        peer: &str,
        service: ServiceKey,
        backend: SocketAddr,
        flows: &[Flow],
        ground: &mut Ground<'_>,
        now: Instant,
    ) -> Result<(), TableError> {
        let follows = self.by(service) == Some(peer);
        let told = self.told.entry(peer.to_owned()).or_default();
        let index = ground.services.index_of(service, backend);
        let Some(backend) = index.filter(|_| follows) else {
            return Ok(());
        };
        for Flow(client, seconds, closing) in flows {
            let key = flow_key(service, *client);
            if ground.services.judge(&key, backend) == FlowVerdict::Drop {
                continue;
            }
            if let Some(anew) = &mut told.anew {
                anew.flows.insert(key);
            }
            let state = FlowState {
                backend,
                closing: *closing,
                idle: Duration::from_secs((*seconds).into()),
            };
            if ground.flows.put(&key, state, now)? {
                told.flows += 1;
            } else {
                told.flows_lost += 1;
            }
        }
        Ok(())
    }
}

impl Told {
    /// Notes in what the peer differs, and says what is new.
    fn differ(&mut self, peer: &str, service: ServiceKey, found: Vec<String>) {
        let before = self.differences.remove(&service).unwrap_or_default();
        for difference in found.iter().filter(|found| !before.contains(found)) {
            warn!(
                peer,
                difference, "[cluster] the peer's configuration is another"
            );
        }
        if !found.is_empty() {
            self.differences.insert(service, found);
        }
    }
}

/// Whether a peer says that a router is Active there.
pub(super) fn owns(peer: &Peer, router: &Router) -> bool {
    let beat = peer.router(
        &router.name.value,
        router.vrid.value.get(),
        router.is_ipv6(),
    );
    peer.heard && beat.is_some_and(|beat| beat.state == "active")
}
