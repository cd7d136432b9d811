//! A worker: a thread with a runtime of its own that serves its share of the listening sockets.

use std::{collections::BTreeMap, io, net::TcpListener, rc::Rc, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::Instant,
};
use tracing::{error, warn};

use super::{Shared, acceptor::Acceptor, generation::Generation};
use crate::{
    counters::{RouteCounters, Totals, UpstreamCounters},
    limits,
    listeners::ListenerKey,
    model::{Address, ProxyConfig},
};

/// How often idle upstream connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The other threads' end of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

/// What a worker has counted.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) totals: Totals,
    pub(crate) upstreams: Vec<UpstreamCounters>,
    pub(crate) routes: Vec<RouteCounters>,
}

/// The listening sockets that a worker is to serve.
pub(crate) type Share = BTreeMap<ListenerKey, TcpListener>;

#[derive(Debug)]
enum Command {
    Configure(Arc<ProxyConfig>, Share, oneshot::Sender<()>),
    Health {
        upstream: String,
        address: Address,
        is_up: bool,
    },
    ReopenLogs,
    Snapshot(oneshot::Sender<Snapshot>),
    Stop(oneshot::Sender<()>),
}

/// Tells workers what probes have found.
#[derive(Clone, Debug)]
pub(crate) struct HealthReports(Vec<mpsc::UnboundedSender<Command>>);

impl HealthReports {
    pub(crate) fn new(workers: &[Worker]) -> Self {
        Self(
            workers
                .iter()
                .map(|worker| worker.commands.clone())
                .collect(),
        )
    }

    pub(crate) fn tell(&self, upstream: &str, address: &Address, is_up: bool) {
        for worker in &self.0 {
            // One that has ended needs no news.
            let _ = worker.send(Command::Health {
                upstream: upstream.to_owned(),
                address: address.clone(),
                is_up,
            });
        }
    }
}

impl Worker {
    /// Starts a thread that waits for its configuration.
    pub(crate) fn start(index: usize, limits: Arc<limits::Shared>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || LocalSet::new().block_on(&runtime, run(receiver, limits)))?;
        Ok(Self { commands, thread })
    }

    /// Puts a configuration, which has been checked, into force. Returns when it is.
    pub(crate) async fn configure(&self, config: Arc<ProxyConfig>, share: Share) -> Option<()> {
        let answer = self.ask(|reply| Command::Configure(config, share, reply));
        answer?.await.ok()
    }

    /// Asks at once what the worker has counted; `None` if it has ended.
    pub(crate) fn snapshot(&self) -> impl Future<Output = Option<Snapshot>> + use<> {
        let answer = self.ask(Command::Snapshot);
        async move { answer?.await.ok() }
    }

    /// Accepts no more connections and ends when the requests under way have been answered.
    /// Returns when no more are accepted.
    pub(crate) async fn stop(&self) -> Option<()> {
        self.ask(Command::Stop)?.await.ok()
    }

    /// Opens the access logs again.
    pub(crate) fn reopen_logs(&self) {
        // One that has ended logs nothing.
        let _ = self.commands.send(Command::ReopenLogs);
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).ok()?;
        Some(answer)
    }
}

async fn run(mut commands: mpsc::UnboundedReceiver<Command>, limits: Arc<limits::Shared>) {
    let generation = match Generation::new(&ProxyConfig::default(), None, &limits) {
        Ok(generation) => generation,
        Err(error) => return error!(%error, "the empty configuration"),
    };
    let shared = Shared::new(generation, limits);
    let mut acceptors = BTreeMap::new();
    let mut stop_at = None;
    let ticker = Rc::clone(&shared.timers);
    tokio::task::spawn_local(async move { ticker.run().await });
    tokio::task::spawn_local(sweep(Rc::clone(&shared)));
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = finished(&shared, stop_at) => return,
        };
        // Whoever asked may have given up; orders are carried out all the same.
        match command {
            Some(Command::Configure(config, share, done)) => {
                configure(&shared, &config, share, &mut acceptors);
                let _ = done.send(());
            }
            Some(Command::Health {
                upstream,
                address,
                is_up,
            }) => {
                let now = shared.timers.now();
                let generation = shared.generation();
                generation.set_health(&upstream, &address, is_up, now);
            }
            Some(Command::ReopenLogs) => shared.generation().reopen_logs(),
            Some(Command::Snapshot(reply)) => {
                let _ = reply.send(snapshot(&shared));
            }
            Some(Command::Stop(done)) => {
                stop(&shared, &mut acceptors).await;
                let timeout = shared.generation().plan.stop_timeout;
                stop_at.get_or_insert(Instant::now() + timeout);
                let _ = done.send(());
            }
            None => return,
        }
    }
}

/// Waits until the worker was told to stop and has nothing more to do, or no more time.
async fn finished(shared: &Shared, stop_at: Option<Instant>) {
    let Some(stop_at) = stop_at else {
        return std::future::pending().await;
    };
    let emptied = async {
        while shared.totals.borrow().active > 0 {
            shared.emptied.notified().await;
        }
    };
    if tokio::time::timeout_at(stop_at, emptied).await.is_err() {
        let left = shared.totals.borrow().active;
        warn!(
            left,
            "connections were still open at the end of the stop's time"
        );
    }
}

fn configure(
    shared: &Rc<Shared>,
    config: &ProxyConfig,
    share: Share,
    acceptors: &mut BTreeMap<ListenerKey, Acceptor>,
) {
    let old = shared.generation();
    match Generation::new(config, Some(&old), &shared.limits) {
        Ok(generation) => *shared.generation.borrow_mut() = Rc::new(generation),
        // It was checked before it was sent here.
        Err(error) => return error!(%error, "a configuration that cannot be compiled"),
    }
    let gone: Vec<_> = acceptors
        .keys()
        .filter(|key| !share.contains_key(key))
        .copied()
        .collect();
    for acceptor in gone.iter().filter_map(|key| acceptors.remove(key)) {
        acceptor.stop();
    }
    for (key, listener) in share {
        if acceptors.contains_key(&key) {
            continue;
        }
        match Acceptor::start(shared, key.address, listener) {
            Ok(acceptor) => {
                acceptors.insert(key, acceptor);
            }
            Err(error) => error!(%error, %key, "cannot serve a listening socket"),
        }
    }
    // Connections whose address is gone close when they notice.
    shared.timers.wake_all();
}

fn snapshot(shared: &Shared) -> Snapshot {
    let now = shared.timers.now();
    let generation = shared.generation();
    let clusters = generation.clusters.iter();
    Snapshot {
        totals: *shared.totals.borrow(),
        routes: generation.route_counters(),
        upstreams: clusters
            .map(|cluster| {
                let idle = cluster.idle.borrow();
                let group = cluster.group.borrow();
                group.counters(now, |server| idle.count(server))
            })
            .collect(),
    }
}

async fn stop(shared: &Rc<Shared>, acceptors: &mut BTreeMap<ListenerKey, Acceptor>) {
    while let Some((_, acceptor)) = acceptors.pop_first() {
        acceptor.stop();
    }
    // Lets the acceptors take what waits for them.
    tokio::task::yield_now().await;
    shared.stopping.set(true);
    shared.timers.wake_all();
}

async fn sweep(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        shared.generation().sweep(shared.timers.now());
    }
}
