//! One configuration in force in one worker. Requests hold the generation that they began with, so
//! a new one can take over at any time.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;
use tracing::warn;

use super::{dial::Dial, sink::Sink, wire::Wire};
use crate::{
    counters::RouteCounters,
    limits::{self, Zone},
    model::{AccessLog, Address, PathCondition, ProxyConfig},
    plan::{Place, Plan, PlanError, RatePlan},
    retry::{Attempts, Millis},
    upstream::{Asker, Group, IdlePool, Outcome, Tried},
};

/// How long an upstream connection stays idle before it is closed; nginx's default.
const IDLE_LIFETIME: Millis = 60_000;

/// A compiled configuration and the clusters' state.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) plan: Plan,
    pub(crate) clusters: Vec<Cluster>,
    /// By the names that the plan's rate limits have.
    zones: BTreeMap<String, Arc<Zone>>,
    /// By server: its routes, then what none of them took. Generations that have a route share its
    /// counters, for requests that end after a new one took over.
    routes: Vec<Rc<RefCell<RouteCounters>>>,
    /// Where each server's part of `routes` begins.
    first_routes: Vec<usize>,
    sinks: Vec<Rc<Sink>>,
}

/// A cluster's servers and the idle connections to them.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: String,
    pub(crate) group: RefCell<Group>,
    pub(crate) idle: RefCell<IdlePool<Wire>>,
    pub(crate) dial: Dial,
    /// Requests that wait until a server may get one more.
    pub(crate) waiting: Cell<u32>,
    /// Told when a server has one request less.
    pub(crate) freed: Notify,
}

/// A request's way through the servers of its cluster: which it has asked, and which it is asking
/// now. That one is released when the request moves on or ends, whatever the reason.
#[derive(Debug)]
pub(crate) struct Turn {
    generation: Rc<Generation>,
    cluster: usize,
    pub(crate) attempts: Attempts,
    tried: Tried,
    current: Option<usize>,
}

impl Generation {
    /// Compiles a configuration, with what `old` knows of the servers that both have.
    pub(crate) fn new(
        config: &ProxyConfig,
        old: Option<&Self>,
        limits: &limits::Shared,
    ) -> Result<Self, PlanError> {
        let upstreams = config.upstreams.iter().enumerate();
        let clusters = upstreams.map(|(index, upstream)| {
            let mut group = Group::new(upstream);
            let before = old.and_then(|old| old.clusters.iter().find(|c| c.name == upstream.name));
            if let Some(before) = before {
                group.inherit(&before.group.borrow());
            }
            let dial = Dial::new(upstream, group.len()).map_err(|wrong| PlanError {
                place: Place::Upstream { upstream: index },
                what: wrong.to_string(),
            })?;
            let limit = match dial.is_reusable() {
                true => usize::try_from(upstream.keepalive).unwrap_or(usize::MAX),
                false => 0,
            };
            let idle = IdlePool::new(group.len(), limit, IDLE_LIFETIME);
            Ok(Cluster {
                dial,
                name: upstream.name.clone(),
                group: RefCell::new(group),
                idle: RefCell::new(idle),
                waiting: Cell::new(0),
                freed: Notify::new(),
            })
        });
        let plan = Plan::new(config)?;
        let zones = plan.rates().map(|rate| {
            let zone = limits.zone(&rate.zone);
            (rate.zone.clone(), zone)
        });
        let (routes, first_routes) = route_counters(config, old);
        let mut sinks: Vec<Rc<Sink>> = Vec::new();
        for to in plan.logs() {
            let old = old.into_iter().flat_map(|old| &old.sinks);
            if !sinks.iter().any(|sink| sink.to == *to) {
                let known = old.into_iter().find(|sink| sink.to == *to);
                sinks.push(known.map_or_else(|| Rc::new(Sink::new(to)), Rc::clone));
            }
        }
        Ok(Self {
            routes,
            first_routes,
            sinks,
            clusters: clusters.collect::<Result<_, PlanError>>()?,
            zones: zones.collect(),
            plan,
        })
    }

    /// Counts an answered request of a server, and of its route if there is one.
    pub(crate) fn count_route(
        &self,
        server: usize,
        route: Option<usize>,
        count: impl FnOnce(&mut RouteCounters),
    ) {
        let Some(first) = self.first_routes.get(server) else {
            return;
        };
        let routes = self.plan.servers.get(server).map_or(0, |s| s.routes.len());
        let at = first + route.unwrap_or(routes);
        if let Some(counters) = self.routes.get(at) {
            count(&mut counters.borrow_mut());
        }
    }

    /// What the routes have counted.
    pub(crate) fn route_counters(&self) -> Vec<RouteCounters> {
        let routes = self.routes.iter();
        routes.map(|route| route.borrow().clone()).collect()
    }

    /// The log of a server or route.
    pub(crate) fn sink(&self, log: &AccessLog) -> Option<&Sink> {
        let mut sinks = self.sinks.iter();
        sinks.find(|sink| sink.to == log.to).map(|sink| &**sink)
    }

    pub(crate) fn reopen_logs(&self) {
        self.sinks.iter().for_each(|sink| sink.reopen());
    }

    /// The zone of one of the plan's rate limits.
    pub(crate) fn zone(&self, rate: &RatePlan) -> Option<&Zone> {
        self.zones.get(&rate.zone).map(|zone| &**zone)
    }

    /// Writes what has been logged, and closes idle connections that are old or that their servers closed.
    pub(crate) fn sweep(&self, now: Millis) {
        self.sinks.iter().for_each(|sink| sink.flush());
        for cluster in &self.clusters {
            let mut idle = cluster.idle.borrow_mut();
            if !idle.is_empty() {
                idle.sweep(now, |wire| !wire.is_quiet());
            }
            cluster.dial.sweep();
        }
    }
}

impl Generation {
    /// Takes in what probes say of a server.
    pub(crate) fn set_health(&self, upstream: &str, address: &Address, is_up: bool, now: Millis) {
        for cluster in self.clusters.iter().filter(|c| c.name == upstream) {
            cluster.group.borrow_mut().set_health(address, is_up, now);
        }
    }
}

impl Cluster {
    /// A kept connection to `server` on which nothing has happened.
    pub(crate) fn take_idle(&self, server: usize) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.take(server))
            .find_map(|mut wire| wire.is_quiet().then_some(wire))
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, server: usize, mut wire: Wire, now: Millis) {
        if wire.is_quiet() {
            // What comes back is closed: there was no room for it.
            drop(self.idle.borrow_mut().put(server, wire, now));
        }
    }
}

/// The counters of a configuration's routes, with what `old` has counted, and where each server's
/// begin.
fn route_counters(
    config: &ProxyConfig,
    old: Option<&Generation>,
) -> (Vec<Rc<RefCell<RouteCounters>>>, Vec<usize>) {
    let (mut all, mut firsts) = (Vec::new(), Vec::new());
    for (index, server) in config.servers.iter().enumerate() {
        firsts.push(all.len());
        let name = server.hosts.first().cloned();
        let name = name.unwrap_or_else(|| index.to_string());
        let labels = server
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| match &route.path {
                PathCondition::Any => at.to_string(),
                PathCondition::Exact(path) => format!("= {path}"),
                PathCondition::Regex(regex) => format!("~ {regex}"),
                PathCondition::Prefix { prefix, .. } => prefix.clone(),
            });
        for route in labels.chain([String::new()]) {
            let new = RouteCounters {
                server: name.clone(),
                route,
                ..RouteCounters::default()
            };
            let is_same = |old: &&Rc<RefCell<RouteCounters>>| {
                let old = old.borrow();
                (&old.server, &old.route) == (&new.server, &new.route)
            };
            let before = old.and_then(|old| old.routes.iter().find(is_same).cloned());
            all.push(before.unwrap_or_else(|| Rc::new(RefCell::new(new))));
        }
    }
    (all, firsts)
}

impl Turn {
    pub(crate) fn new(generation: &Rc<Generation>, cluster: usize, attempts: Attempts) -> Self {
        Self {
            generation: Rc::clone(generation),
            cluster,
            attempts,
            tried: Tried::default(),
            current: None,
        }
    }

    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.generation.clusters.get(self.cluster)
    }

    /// Moves to the next server. `None` if there is none left to ask.
    pub(crate) fn advance(&mut self, asker: &Asker, now: Millis) -> Option<usize> {
        debug_assert!(self.current.is_none(), "the last server is released first");
        let cluster = self.generation.clusters.get(self.cluster)?;
        self.current = cluster
            .group
            .borrow_mut()
            .choose(asker, &mut self.tried, now);
        self.current
    }

    /// Whether [`Self::advance`] would find a server.
    pub(crate) fn has_another(&self, now: Millis) -> bool {
        self.cluster()
            .is_some_and(|cluster| cluster.group.borrow().has_another(&self.tried, now))
    }

    /// Whether [`Self::advance`] would find a server if fewer requests were under way.
    pub(crate) fn is_full(&self, now: Millis) -> bool {
        self.cluster()
            .is_some_and(|cluster| cluster.group.borrow().is_full(&self.tried, now))
    }

    /// What stands for the server asked now in a cookie.
    pub(crate) fn mark(&self) -> Option<u64> {
        let cluster = self.cluster()?;
        Some(cluster.group.borrow().mark(self.current?))
    }

    /// The server asked now has served or failed.
    pub(crate) fn release(&mut self, outcome: Outcome, now: Millis) {
        let Some(server) = self.current.take() else {
            return;
        };
        let Some(cluster) = self.cluster() else {
            return;
        };
        if cluster.waiting.get() > 0 {
            cluster.freed.notify_one();
        }
        let mut group = cluster.group.borrow_mut();
        if group.release(server, outcome, now) {
            let address = group.address(server);
            warn!(upstream = cluster.name, server = ?address, "failed too often: out for now");
        }
    }

    /// The address of the server asked now, and counts how long its answer took.
    pub(crate) fn answered(&self, took: Duration) -> Option<Address> {
        let (server, cluster) = (self.current?, self.cluster()?);
        let mut group = cluster.group.borrow_mut();
        group.count_latency(server, took);
        group.address(server).cloned()
    }

    pub(crate) fn count_answer(&self, class: usize) {
        if let (Some(server), Some(cluster)) = (self.current, self.cluster()) {
            cluster.group.borrow_mut().count_answer(server, class);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A request that ends here ended for reasons of its own.
        self.release(Outcome::Served, 0);
    }
}
