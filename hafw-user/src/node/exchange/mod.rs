//! What this node and its peers tell each other of their services over the channel, so that whoever
//! takes a VIP over steers by its former owner's plan from the first packet.
//!
//! Who owns a VIP has the say about its services; the others follow. Nothing waits for any of this:
//! without the channel, or with a peer that cannot be followed, a node steers by its own.

mod differences;
mod follower;
mod teller;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hafw_common::{
    moved::{FlowEntry, FlowKey},
    service::ServiceKey,
};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use self::{
    follower::{Follower, Ground, owns},
    teller::Teller,
};
use super::{run::Node, services::key};
use crate::{
    cluster::{Cluster, Part, Peer, Tellings},
    config::{Config, Service},
    datapath::TableError,
    sys::clock,
};

pub(super) use self::follower::Following;

/// The longest that a node which starts waits for what its peers have to tell, before it takes part
/// and may take a VIP from them.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Exchange {
    channel: Option<Channel>,
    teller: Teller,
    follower: Follower,
    owned: BTreeSet<ServiceKey>,
    /// Of the services, when they were last put into plans.
    revision: Option<u64>,
    /// Peers whose flows were told anew, and the listing of what is here.
    listing: Option<(String, JoinHandle<Listed>)>,
    /// How many configurations were put into force.
    configurations: Arc<AtomicU32>,
}

type Listed = Result<Vec<(FlowKey, FlowEntry)>, TableError>;

struct Channel {
    cluster: Arc<Cluster>,
    tellings: Tellings,
    listeners: Vec<Listener>,
}

/// What is known of whom this node tells.
#[derive(Default)]
struct Listener {
    session: u64,
    configurations: u32,
    /// Routers that are not Active there: their services can be followed.
    stands_by: BTreeSet<usize>,
    pending: VecDeque<Part>,
}

impl Exchange {
    /// Over this channel, if there is one.
    pub(super) fn new(
        channel: Option<(Arc<Cluster>, Tellings)>,
        configurations: Arc<AtomicU32>,
    ) -> Self {
        let channel = channel.map(|(cluster, tellings)| Channel {
            listeners: cluster
                .peers()
                .iter()
                .map(|_| Listener::default())
                .collect(),
            cluster,
            tellings,
        });
        let peers = channel.as_ref().map_or(0, |c| c.listeners.len());
        Self {
            channel,
            teller: Teller::new(peers),
            follower: Follower::default(),
            owned: BTreeSet::new(),
            revision: None,
            listing: None,
            configurations,
        }
    }

    /// Another configuration is in force: peers tell everything anew, because of what this node can
    /// follow now.
    pub(super) fn configured(&self) {
        self.configurations.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is anybody to tell.
    pub(super) fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    /// What a peer tells next. For ever without a channel.
    pub(super) async fn next(&mut self) -> (String, Part) {
        if let Some(channel) = &mut self.channel
            && let Some(told) = channel.tellings.recv().await
        {
            return told;
        }
        std::future::pending().await
    }

    /// Whether nothing more is to be expected before this node takes part: each peer was tried, and
    /// those that own VIPs of services have told of them.
    pub(super) fn is_ready(&self, config: &Config, since_start: Duration) -> bool {
        let Some(channel) = &self.channel else {
            return true;
        };
        let peers = channel.cluster.peers();
        let is_ready = |peer: &Peer| {
            let tried = peer.sending || !peer.problem.is_empty();
            let silent = tried && !peer.sending && !peer.heard;
            let owns_one = config.routers.iter().any(|router| owns(peer, router));
            let told = peer.heard && (!owns_one || self.follower.is_complete(&peer.id));
            silent || told || peer.mismatch().is_some()
        };
        config.services.is_empty() || since_start >= START_PATIENCE || peers.iter().all(is_ready)
    }

    /// For showing.
    pub(super) fn following(&self, peer: &str) -> Following {
        self.follower.following(peer)
    }

    /// Whether a peer, by its place, has been told everything.
    pub(super) fn is_told(&self, place: usize) -> bool {
        let channel = self.channel.as_ref();
        let listener = channel.and_then(|channel| channel.listeners.get(place));
        listener.is_some_and(|l| l.session > 0 && l.pending.is_empty())
            && self.teller.is_told(place)
    }
}

impl Node {
    /// A peer told something.
    pub(super) fn told(&mut self, peer: &str, part: Part) {
        let active = self.active_routers();
        let (follower, mut ground) = self.ground(&active);
        if let Err(error) = follower.take(peer, part, &mut ground, clock::now()) {
            error!(%error, peer, "what the peer told could not be put into the maps");
        }
    }

    /// Follows whoever owns VIPs, and tells peers of what this node owns.
    pub(super) async fn exchange(&mut self) {
        let Some(channel) = &self.exchange.channel else {
            return;
        };
        let peers = channel.cluster.peers();
        let active = self.active_routers();
        let (follower, mut ground) = self.ground(&active);
        if let Err(error) = follower.tick(&peers, &mut ground, clock::now()) {
            error!(%error, "the peers' plans could not be followed");
        }
        self.forget_flows().await;
        self.note_own(&active);
        self.tell(&peers);
    }

    /// The peer that has the VIP of a service, where this node follows it.
    pub(super) fn followed(&self, service: &Service) -> Option<&str> {
        self.exchange.follower.by(key(service))
    }

    fn ground<'a>(&'a mut self, active: &'a [bool]) -> (&'a mut Follower, Ground<'a>) {
        let ground = Ground {
            config: &self.config,
            services: &mut self.services,
            tables: &mut self.tables,
            flows: &mut self.flows.table,
            active,
        };
        (&mut self.exchange.follower, ground)
    }

    fn active_routers(&self) -> Vec<bool> {
        let snapshots = self.vrrp.snapshots();
        snapshots.iter().map(|s| s.router.is_active()).collect()
    }

    /// Entries that a peer, which has told everything, did not name are of flows that have ended.
    async fn forget_flows(&mut self) {
        let Exchange {
            follower, listing, ..
        } = &mut self.exchange;
        let Some((peer, task)) = listing.take_if(|(_, task)| task.is_finished()) else {
            if listing.is_none()
                && let Some(peer) = follower.told_anew()
            {
                let lister = self.flows.table.lister();
                let list = tokio::task::spawn_blocking(move || lister.list());
                *listing = Some((peer, list));
            }
            return;
        };
        let forgotten = match task.await {
            Ok(Ok(listed)) => {
                let listed = listed.into_iter().map(|(key, _)| key);
                follower.forget(&peer, listed, &mut self.flows.table)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => return warn!(%error, "the flows could not be listed"),
        };
        if let Err(error) = forgotten {
            error!(%error, peer, "old flows could not be removed");
        }
    }

    /// Takes in how this node steers what it owns.
    fn note_own(&mut self, active: &[bool]) {
        let services = &self.services;
        let is_owned = |key: &ServiceKey| {
            let router = services.router_of(*key);
            router.and_then(|router| active.get(router)) == Some(&true)
        };
        let owned: BTreeSet<_> = self
            .config
            .services
            .iter()
            .map(key)
            .filter(is_owned)
            .collect();
        let exchange = &mut self.exchange;
        let revision = Some(services.revision());
        if owned != exchange.owned || revision != exchange.revision {
            let plan = |key: &ServiceKey| Some((*key, services.plan_of(*key)?));
            let plans: BTreeMap<_, _> = owned.iter().filter_map(plan).collect();
            exchange.teller.set_plans(plans);
            (exchange.owned, exchange.revision) = (owned, revision);
        }
        let now = clock::now();
        for (key, kept) in self.flows.take_kept() {
            exchange.teller.found(key, kept, now);
        }
        if self.flows.take_end() {
            exchange.teller.look_ends();
        }
    }

    fn tell(&mut self, peers: &[Peer]) {
        let Exchange {
            channel, teller, ..
        } = &mut self.exchange;
        let Some(channel) = channel else {
            return;
        };
        for (place, (peer, listener)) in peers.iter().zip(&mut channel.listeners).enumerate() {
            if !peer.sending || !peer.exchanges() {
                continue;
            }
            let routers = self.config.routers.iter().enumerate();
            let stands_by: BTreeSet<_> = routers
                .filter(|(_, router)| peer.heard && !owns(peer, router))
                .map(|(place, _)| place)
                .collect();
            // What was told to an owner was not followed.
            let more = !stands_by.is_subset(&listener.stands_by);
            listener.stands_by = stands_by;
            let heard = (peer.sessions, peer.beat.configurations);
            if more || heard != (listener.session, listener.configurations) {
                (listener.session, listener.configurations) = heard;
                listener.pending.clear();
                teller.begin(place);
            }
            let services = &self.services;
            for _ in 0..channel.cluster.room(place) {
                if listener.pending.is_empty() {
                    let next =
                        teller.next(place, |service, index| services.address_of(service, index));
                    listener.pending.extend(next);
                }
                match listener.pending.pop_front() {
                    Some(part) => channel.cluster.tell(place, part),
                    None if teller.is_told(place) => break,
                    None => {}
                }
            }
        }
    }
}
