//! The L4 services of a running node: configuration, probes and next hops go into the balancer, and
//! its plans into the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use hafw_common::{
    mapped,
    moved::FlowKey,
    nat::{NatKey, NatSource, Rewrite},
    service::{MODE_DSR, MODE_GUE, MODE_IPIP, MODE_NAT, ServiceKey},
};
use hafw_lb::{
    BackendSpec, BackendStatus, Balancer, Capacity, Cause, Change, ConfigureError, Evidence,
    Explanation, Flow, FlowVerdict, FollowError, Hop, MapOp, ServicePlan, ServiceSpec,
    ServiceStatus, State,
};
use rtnetlink::Handle;
use thiserror::Error;
use tracing::{debug, info, warn};

use super::{
    checks::{CheckError, backend_target},
    drains::Drains,
    hops::Hops,
};
use crate::{
    cluster::ToldPlan,
    config::{Backend, Config, Mode, Service},
    datapath::{Found, GuardSpec, TableError, Tables},
    net::{NetEvent, NextHopError, resolve, solicit},
    probe::{ProbeEvent, Target, TargetId},
};

/// Services could not be brought into the maps.
#[derive(Debug, Error)]
pub(super) enum ServiceError {
    /// More than the maps hold.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// A map refused.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// See the module.
pub(super) struct Services {
    balancer: Balancer,
    hops: Hops,
    /// To which the ways are followed: configured or leaving.
    backends: BTreeSet<IpAddr>,
    leaving: BTreeSet<(ServiceKey, SocketAddr)>,
    drains: Drains,
    /// Counts what may have changed how services are steered.
    revision: u64,
    /// When it was last looked for backends that are leaving.
    looked: u64,
}

impl Services {
    /// Goes on with what the tables have, and makes it what the configuration says. `routers`
    /// names the router of each VIP.
    pub(super) fn open(
        config: &Config,
        tables: &mut Tables,
        found: Found,
        capacity: u32,
    ) -> Result<Self, ServiceError> {
        let capacity = Capacity::with_slots(capacity);
        let balancer = match found {
            Found::Adoptable => Balancer::adopt(capacity, &tables.found()?),
            Found::Nothing | Found::Unfit => Balancer::new(capacity),
        };
        let mut services = Self {
            balancer,
            hops: Hops::default(),
            backends: BTreeSet::new(),
            leaving: BTreeSet::new(),
            drains: Drains::open(config),
            revision: 0,
            looked: 0,
        };
        services.configure(config, tables)?;
        Ok(services)
    }

    /// Makes the tables what the configuration says. Nothing is changed where there is no room.
    pub(super) fn configure(
        &mut self,
        config: &Config,
        tables: &mut Tables,
    ) -> Result<(), ServiceError> {
        let plan = self.balancer.configure(&specs(config, &self.drains))?;
        self.carry_out(tables, &plan)?;
        tables.set_guards(&guards(config))?;
        self.look_for_leaving(config);
        Ok(())
    }

    /// Whether backends that are leaving came or went: then [`Self::follow_routes`],
    /// [`Self::put_all_hops`] and [`nat_sources`] have something new.
    pub(super) fn look_for_leaving(&mut self, config: &Config) -> bool {
        if self.looked == self.revision {
            return false;
        }
        self.looked = self.revision;
        let leaving: BTreeSet<_> = self.balancer.leaving().collect();
        let addresses = leaving.iter().map(|(_, backend)| backend.ip());
        self.backends = backends(config).chain(addresses).collect();
        self.hops.retain(&self.backends);
        let changed = leaving != self.leaving;
        self.leaving = leaving;
        changed
    }

    /// Whether [`Self::configure`] and [`Self::follow_routes`] would go well.
    pub(super) async fn may_become(&self, config: &Config, handle: &Handle) -> anyhow::Result<()> {
        self.balancer.may_become(&specs(config, &self.drains))?;
        let new: BTreeSet<_> = backends(config)
            .filter(|backend| !self.hops.has_route(*backend))
            .collect();
        for backend in new {
            if let Err(error @ NextHopError::Local(_)) = resolve(handle, backend).await {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Asks the kernel for the way to each backend; returns those whose way is another than before.
    /// One that has none any more keeps the last: its health checks decide.
    ///
    /// # Errors
    /// A backend is this node.
    pub(super) async fn follow_routes(
        &mut self,
        handle: &Handle,
    ) -> Result<Vec<IpAddr>, NextHopError> {
        self.ask_routes(self.backends.clone(), handle).await
    }

    /// The same of those backends whose way was never asked for: of the others the kernel tells.
    ///
    /// # Errors
    /// As of [`Self::follow_routes`].
    pub(super) async fn follow_new_routes(
        &mut self,
        handle: &Handle,
    ) -> Result<Vec<IpAddr>, NextHopError> {
        let new = self.backends.iter().copied();
        let new = new.filter(|backend| !self.hops.has_route(*backend));
        self.ask_routes(new.collect(), handle).await
    }

    async fn ask_routes(
        &mut self,
        backends: BTreeSet<IpAddr>,
        handle: &Handle,
    ) -> Result<Vec<IpAddr>, NextHopError> {
        let mut changed = Vec::new();
        for backend in backends {
            match resolve(handle, backend).await {
                Ok(hop) => {
                    if self.hops.set_route(backend, hop) {
                        changed.push(backend);
                    }
                }
                Err(error @ NextHopError::Local(_)) if self.is_configured(backend) => {
                    return Err(error);
                }
                Err(error) => warn!(%error, "a backend cannot be reached"),
            }
        }
        Ok(changed)
    }

    /// Takes changes of links and neighbours in.
    pub(super) fn note(
        &mut self,
        events: &[NetEvent],
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let mut changed: Vec<_> = events
            .iter()
            .flat_map(|event| self.hops.note(event))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        self.put_hops(&changed, tables)
    }

    /// Puts the known ways to all backends into the maps.
    pub(super) fn put_all_hops(&mut self, tables: &mut Tables) -> Result<(), TableError> {
        let all: Vec<_> = self.backends.iter().copied().collect();
        self.put_hops(&all, tables)
    }

    /// Puts the known ways to these backends into the maps.
    pub(super) fn put_hops(
        &mut self,
        backends: &[IpAddr],
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let changes: Vec<_> = backends
            .iter()
            .filter_map(|backend| {
                let resolved = self.hops.resolved(*backend);
                // A way that is not known does not replace one that a former controller knew.
                resolved.next_hop?;
                let hop = Hop {
                    next_hop: resolved.next_hop,
                    source: resolved.source,
                    ifindex: resolved.ifindex,
                };
                Some(Change::Hop {
                    address: *backend,
                    hop,
                })
            })
            .collect();
        let plan = self.balancer.update(&changes);
        self.carry_out(tables, &plan)
    }

    /// Keeps the neighbours known. True while one is not.
    pub(super) async fn solicit(&self, handle: &Handle) -> bool {
        let mut missing = false;
        for hop in self.hops.wanted() {
            missing |= !self.hops.knows(hop);
            if let Err(error) = solicit(handle, hop).await {
                debug!(?hop, %error, "a neighbour cannot be asked for");
            }
        }
        missing
    }

    /// A probe of a backend says something new.
    pub(super) fn probed(
        &mut self,
        event: &ProbeEvent,
        config: &Config,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let TargetId::Backend { service, backend } = event.target else {
            return Ok(());
        };
        match event.state {
            State::Up => info!(target = %event.target, reason = event.reason, "up"),
            State::Down(Cause::TimedOut | Cause::Failed) => {
                warn!(target = %event.target, reason = event.reason, "down");
            }
            State::Unknown => {}
        }
        let mut services = config.services.iter();
        let reset = services.any(|s| key(s) == service && s.reset_on_failure);
        let state = match event.state {
            State::Down(Cause::TimedOut) if reset => State::Down(Cause::Failed),
            state @ (State::Unknown | State::Up | State::Down(_)) => state,
        };
        let change = Change::State {
            service,
            backend,
            state,
        };
        let plan = self.balancer.update(&[change]);
        self.carry_out(tables, &plan)
    }

    /// Probes of all backends that have health checks.
    pub(super) fn targets(&self, config: &Config) -> Result<Vec<Target>, CheckError> {
        let mut targets = Vec::new();
        for service in &config.services {
            let Some(health) = &service.health else {
                continue;
            };
            let key = key(service);
            for backend in &service.backends {
                let address = backend.address.value;
                // One that the former controller had taken out is looked at anew.
                let initial = match self.balancer.state_of(key, address) {
                    Some(State::Up) => State::Up,
                    Some(State::Unknown | State::Down(_)) | None => State::Unknown,
                };
                targets.push(backend_target(service, key, address, health, initial)?);
            }
        }
        Ok(targets)
    }

    /// Brings slots that have moved nearer to rest.
    pub(super) fn settle(
        &mut self,
        evidence: &Evidence<'_>,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let plan = self.balancer.settle(evidence);
        if plan.is_empty() {
            return Ok(());
        }
        self.carry_out(tables, &plan)
    }

    /// Whether no slot has moved.
    pub(super) fn is_settled(&self) -> bool {
        self.balancer.is_settled()
    }

    /// What is to become of a flow's entry.
    pub(super) fn judge(&self, key: &FlowKey, backend: u32) -> FlowVerdict {
        self.balancer.judge(key, backend)
    }

    /// Takes a backend out of a service, or lets it in again, until that is changed.
    pub(super) fn drain(
        &mut self,
        service: &Service,
        backend: &Backend,
        drain: bool,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let (service, address) = (key(service), backend.address.value);
        if !self.drains.set(service, address, drain) {
            return Ok(());
        }
        let change = Change::Weight {
            service,
            backend: address,
            weight: if drain { 0 } else { backend.weight },
        };
        let plan = self.balancer.update(&[change]);
        self.carry_out(tables, &plan)
    }

    /// Whether a backend is taken out by [`Self::drain`].
    pub(super) fn is_drained(&self, service: ServiceKey, backend: SocketAddr) -> bool {
        self.drains.contains(service, backend)
    }

    /// How a service is steered.
    pub(super) fn plan_of(&self, service: ServiceKey) -> Option<ToldPlan> {
        let plan = self.balancer.plan_of(service)?;
        let backends = plan.backends.iter();
        let drained = backends.map(|backend| self.is_drained(service, backend.address));
        Some(ToldPlan {
            drained: drained.collect(),
            plan,
        })
    }

    /// Steers a service as another node says.
    pub(super) fn follow(
        &mut self,
        plan: &ServicePlan,
        tables: &mut Tables,
    ) -> Result<Result<(), FollowError>, TableError> {
        match self.balancer.follow(plan) {
            Ok(plan) => self.carry_out(tables, &plan).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Steers it by this node's own probes again.
    pub(super) fn unfollow(
        &mut self,
        service: ServiceKey,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let plan = self.balancer.unfollow(service);
        self.carry_out(tables, &plan)
    }

    /// The place of the router that owns a service's VIP.
    pub(super) fn router_of(&self, service: ServiceKey) -> Option<usize> {
        usize::try_from(self.balancer.router_of(service)?).ok()
    }

    /// A backend's index in the maps.
    pub(super) fn index_of(&self, service: ServiceKey, backend: SocketAddr) -> Option<u32> {
        self.balancer.index_of(service, backend)
    }

    /// The inverse of [`Self::index_of`].
    pub(super) fn address_of(&self, service: ServiceKey, index: u32) -> Option<SocketAddr> {
        self.balancer.address_of(service, index)
    }

    /// Changes when services may be steered in another way than before.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn status(&self, service: &Service) -> Option<ServiceStatus> {
        self.balancer.service(key(service))
    }

    /// One backend of a service, by its index in the maps.
    pub(super) fn backend(&self, service: ServiceKey, index: u32) -> Option<BackendStatus> {
        let status = self.balancer.service(service)?;
        let mut backends = status.backends.into_iter();
        backends.find(|backend| backend.index == index)
    }

    pub(super) fn choose(&self, flow: Flow) -> Option<Explanation> {
        self.balancer.choose(flow)
    }

    /// Backends that are configured no longer, or only elsewhere, and that flows may be on.
    pub(super) fn leaving(&self) -> &BTreeSet<(ServiceKey, SocketAddr)> {
        &self.leaving
    }

    fn is_configured(&self, backend: IpAddr) -> bool {
        !self
            .leaving
            .iter()
            .any(|(_, leaving)| leaving.ip() == backend)
    }

    fn carry_out(&mut self, tables: &mut Tables, plan: &[MapOp]) -> Result<(), TableError> {
        self.revision += 1;
        plan.iter().try_for_each(|op| tables.apply(op))
    }
}

/// The key of a service.
pub(super) fn key(service: &Service) -> ServiceKey {
    ServiceKey::new(service.vip.value, service.port, service.protocol.number())
}

fn specs(config: &Config, drains: &Drains) -> Vec<ServiceSpec> {
    let services = config.services.iter();
    services
        .map(|service| spec(config, service, drains))
        .collect()
}

/// Of the services that have one.
fn guards(config: &Config) -> BTreeMap<ServiceKey, GuardSpec> {
    let services = config.services.iter();
    services
        .filter(|service| !service.guard.is_empty())
        .map(|service| (key(service), service.guard.clone()))
        .collect()
}

/// The addresses of all configured backends.
fn backends(config: &Config) -> impl Iterator<Item = IpAddr> {
    let services = config.services.iter();
    services
        .flat_map(|service| &service.backends)
        .map(|backend| backend.address.value.ip())
}

fn spec(config: &Config, service: &Service, drains: &Drains) -> ServiceSpec {
    let owner = config.routers.iter().position(|router| {
        router
            .vips
            .iter()
            .any(|vip| vip.address == service.vip.value)
    });
    let backends = service.backends.iter().map(|backend| BackendSpec {
        address: backend.address.value,
        weight: if drains.contains(key(service), backend.address.value) {
            0
        } else {
            backend.weight
        },
        probed: service.health.is_some(),
    });
    ServiceSpec {
        key: key(service),
        // `validate` refuses a service without a router.
        router: owner
            .and_then(|index| u32::try_from(index).ok())
            .unwrap_or(u32::MAX),
        mode: match service.mode {
            Mode::Dsr => MODE_DSR,
            Mode::Nat => MODE_NAT,
            Mode::Ipip => MODE_IPIP,
            Mode::Gue => MODE_GUE,
        },
        slots: service.slots,
        backends: backends.collect(),
    }
}

/// Where replies of `nat` backends come from, and the VIPs that they are to come from instead. Flows
/// on backends that are `leaving` go on; an endpoint that has become another service's is that one's.
pub(super) fn nat_sources(
    config: &Config,
    leaving: &BTreeSet<(ServiceKey, SocketAddr)>,
) -> BTreeMap<NatKey, NatSource> {
    let services = || {
        let services = config.services.iter();
        services.filter(|service| service.mode == Mode::Nat)
    };
    let leaving = services().flat_map(|service| {
        let key = key(service);
        // What a peer told of may be of any family.
        let is_ipv4 = service.vip.value.is_ipv4();
        let of_it = move |(of, backend): &&(ServiceKey, SocketAddr)| {
            *of == key && backend.is_ipv4() == is_ipv4
        };
        let leaving = leaving.iter().filter(of_it);
        leaving.map(|(_, backend)| nat_source(service, *backend))
    });
    let configured = services().flat_map(|service| {
        let source = |backend: &Backend| nat_source(service, backend.address.value);
        service.backends.iter().map(source)
    });
    leaving.chain(configured).collect()
}

fn nat_source(service: &Service, backend: SocketAddr) -> (NatKey, NatSource) {
    let (vip, port) = (service.vip.value, service.port);
    let key = NatKey {
        address: mapped(backend.ip()),
        port: backend.port().to_be_bytes(),
        protocol: service.protocol.number(),
        reserved: 0,
    };
    let source = NatSource {
        address: mapped(vip),
        rewrite: Rewrite::between((backend.ip(), backend.port()), (vip, port)).to_word(),
    };
    (key, source)
}
