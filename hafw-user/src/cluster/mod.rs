//! The channel between the nodes: authenticated, encrypted, and apart from the VIPs' network where
//! a second path exists. A node tells its peers its state ten times a second. Without the channel,
//! or with a peer that cannot be understood, a node works as before.
//!
//! It runs in tasks of its own; neither the VRRP thread nor the node's loop waits for it.

mod key;
mod link;
mod message;
mod peers;
mod prompt;
mod session;
mod state;
mod succession;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hafw_vrrp::Instant;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

pub use key::Key;
pub use message::{Heartbeat, RouterBeat};
pub use peers::Peer;
pub use state::{Assembly, Flow, Part, ToldPlan, flow_key, flow_parts, gone_parts, of_flow};

use crate::sys::clock;
use peers::Peers;
use prompt::Prompt;
use succession::Heir;

const TICK: Duration = Duration::from_millis(100);
/// Parts that wait for a session, or to be looked at.
const WAITING: usize = 64;

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Where peers dial this node.
    pub listen: SocketAddr,
    /// Shared by all nodes.
    pub key: Key,
    /// The other nodes.
    pub peers: Vec<PeerSpec>,
}

/// An entry of `peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its `[node] id`.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The running channel; dropping it ends it.
pub struct Cluster {
    shared: Arc<Shared>,
    queues: Vec<mpsc::Sender<Part>>,
    _tasks: JoinSet<()>,
}

/// What peers tell of their services: each part with the peer's id.
pub type Tellings = mpsc::Receiver<(String, Part)>;

/// What all tasks need.
struct Shared {
    id: String,
    listen: SocketAddr,
    key: Key,
    peers: Mutex<Peers>,
    state: Box<dyn Fn() -> Heartbeat + Send + Sync>,
    /// By peer.
    prompts: BTreeMap<String, Prompt>,
    heir: Heir,
    told: mpsc::Sender<(String, Part)>,
}

impl Cluster {
    /// Starts it on the current tokio runtime. `state` is asked for each heartbeat. `heir` is told of
    /// a peer that gave VIPs up: all peers, its id, and when it was asked what it says now.
    #[must_use]
    pub fn start(
        spec: &ClusterSpec,
        id: &str,
        state: impl Fn() -> Heartbeat + Send + Sync + 'static,
        heir: impl Fn(&[Peer], &str, Instant) + Send + Sync + 'static,
    ) -> (Self, Tellings) {
        let (told, tellings) = mpsc::channel(WAITING);
        let ids = spec.peers.iter().map(|peer| peer.id.clone());
        let shared = Arc::new(Shared {
            id: id.to_owned(),
            listen: spec.listen,
            key: spec.key.clone(),
            peers: Mutex::new(Peers::new(ids)),
            state: Box::new(state),
            prompts: spec
                .peers
                .iter()
                .map(|peer| (peer.id.clone(), Prompt::default()))
                .collect(),
            heir: Box::new(heir),
            told,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(link::listen(Arc::clone(&shared)));
        let mut queues = Vec::new();
        for PeerSpec { id, address } in &spec.peers {
            let (queue, parts) = mpsc::channel(WAITING);
            queues.push(queue);
            tasks.spawn(link::dial(Arc::clone(&shared), id.clone(), *address, parts));
        }
        let ticking = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let news = ticking.peers().tick(clock::now());
                ticking.report(news);
            }
        });
        let cluster = Self {
            shared,
            queues,
            _tasks: tasks,
        };
        (cluster, tellings)
    }

    /// What is known of the peers, in the order of the configuration.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.peers().all().to_vec()
    }

    /// A router changed: peers are told at once.
    pub fn stir(&self) {
        self.shared.prompts.values().for_each(Prompt::beat);
    }

    /// How many parts a peer's queue still takes, by its place in the configuration.
    #[must_use]
    pub fn room(&self, peer: usize) -> usize {
        self.queues.get(peer).map_or(0, mpsc::Sender::capacity)
    }

    /// Tells a peer something of the services, once its session stands. What does not fit into its
    /// queue is lost.
    pub fn tell(&self, peer: usize, part: Part) {
        if let Some(queue) = self.queues.get(peer) {
            let _ = queue.try_send(part);
        }
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
