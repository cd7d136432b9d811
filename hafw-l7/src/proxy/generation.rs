//! One configuration in force in one worker. Requests hold the generation that they began with, so
//! a new one can take over at any time.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use tokio::sync::Notify;
use tracing::warn;

use super::wire::Wire;
use crate::{
    limits::{self, Zone},
    model::{Address, ProxyConfig},
    plan::{Plan, PlanError, RatePlan},
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
}

/// A cluster's servers and the idle connections to them.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: String,
    pub(crate) group: RefCell<Group>,
    pub(crate) idle: RefCell<IdlePool<Wire>>,
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
        let clusters = config.upstreams.iter().map(|upstream| {
            let mut group = Group::new(upstream);
            let before = old.and_then(|old| old.clusters.iter().find(|c| c.name == upstream.name));
            if let Some(before) = before {
                group.inherit(&before.group.borrow());
            }
            let limit = usize::try_from(upstream.keepalive).unwrap_or(usize::MAX);
            let idle = IdlePool::new(group.len(), limit, IDLE_LIFETIME);
            Cluster {
                name: upstream.name.clone(),
                group: RefCell::new(group),
                idle: RefCell::new(idle),
                waiting: Cell::new(0),
                freed: Notify::new(),
            }
        });
        let plan = Plan::new(config)?;
        let zones = plan.rates().map(|rate| {
            let zone = limits.zone(&rate.zone);
            (rate.zone.clone(), zone)
        });
        Ok(Self {
            clusters: clusters.collect(),
            zones: zones.collect(),
            plan,
        })
    }

    /// The zone of one of the plan's rate limits.
    pub(crate) fn zone(&self, rate: &RatePlan) -> Option<&Zone> {
        self.zones.get(&rate.zone).map(|zone| &**zone)
    }

    /// Closes idle connections that are old or that their servers closed.
    pub(crate) fn sweep(&self, now: Millis) {
        for cluster in &self.clusters {
            let mut idle = cluster.idle.borrow_mut();
            if !idle.is_empty() {
                idle.sweep(now, |wire| !wire.is_quiet());
            }
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
