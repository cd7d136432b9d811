//! The running proxy as its main thread sees it: the configuration in force, the listening sockets
//! and the workers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    net::IpAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::{error, info};

use crate::{
    VERSION,
    control::{Status, WorkerStatus},
    counters::{self, Totals},
    health::Probers,
    limits,
    listeners::Listeners,
    model::{LogTo, ProxyConfig},
    plan::{Plan, PlanError},
    proxy::{
        sink,
        worker::{HealthReports, Share, Worker},
    },
    resolve::{self, Names},
};

/// How long a worker may take to say how it is.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long whoever asks for offenders waits for one.
const OFFENDERS_PATIENCE: Duration = Duration::from_secs(1);
/// How often the workers' threads are looked at while they finish.
const FINISH_POLL: Duration = Duration::from_millis(20);

/// The proxy.
#[derive(Debug)]
pub(crate) struct Process {
    started: Instant,
    workers: Vec<Worker>,
    limits: Arc<limits::Shared>,
    state: RefCell<State>,
    /// Told when the names of another configuration are to be resolved.
    renamed: Notify,
    is_stopping: Cell<bool>,
    stopped: Notify,
}

#[derive(Debug)]
struct State {
    config: Rc<ProxyConfig>,
    listeners: Rc<Listeners>,
    /// What the names in the configuration are resolved to.
    names: Names,
    /// Of the configuration with these names.
    _probers: Probers,
}

/// A configuration that cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("workers: {wanted} instead of {running} need a restart of the proxy")]
    Workers { wanted: usize, running: usize },
    #[error("no listening socket for {0}")]
    NoListener(std::net::SocketAddr),
    #[error("a listening socket: {0}")]
    Listener(#[from] io::Error),
    #[error("the access log {0:?}: {1} (the proxy runs as nobody)")]
    Log(LogTo, io::Error),
    #[error("the proxy is stopping")]
    Stopping,
    #[error("worker {0} has ended")]
    WorkerGone(usize),
}

impl Process {
    /// Starts the workers and puts a configuration into force.
    ///
    /// # Errors
    ///
    /// [`ConfigureError`]
    pub(crate) async fn start(
        config: ProxyConfig,
        listeners: Listeners,
    ) -> Result<Rc<Self>, ConfigureError> {
        let limits = Arc::<limits::Shared>::default();
        let workers =
            (0..config.worker_count()).map(|index| Worker::start(index, Arc::clone(&limits)));
        let process = Self {
            started: Instant::now(),
            workers: workers.collect::<Result<_, _>>()?,
            limits: Arc::clone(&limits),
            state: RefCell::new(State {
                config: Rc::default(),
                listeners: Rc::default(),
                names: Names::new(),
                _probers: Probers::default(),
            }),
            renamed: Notify::new(),
            is_stopping: Cell::new(false),
            stopped: Notify::new(),
        };
        process.configure(config, listeners).await?;
        let process = Rc::new(process);
        tokio::task::spawn_local(resolve_again(Rc::downgrade(&process)));
        Ok(process)
    }

    /// Puts another configuration into force. `listeners` are all the sockets to serve from now on.
    ///
    /// # Errors
    ///
    /// [`ConfigureError`]; nothing has changed then, unless a worker has ended.
    pub(crate) async fn configure(
        &self,
        config: ProxyConfig,
        listeners: Listeners,
    ) -> Result<(), ConfigureError> {
        if self.is_stopping.get() {
            return Err(ConfigureError::Stopping);
        }
        let plan = Plan::new(&config)?;
        let (wanted, running) = (config.worker_count(), self.workers.len());
        if wanted != running {
            return Err(ConfigureError::Workers { wanted, running });
        }
        let served: BTreeSet<_> = listeners.keys().map(|key| key.address).collect();
        let missing = config
            .listen_addresses()
            .into_iter()
            .find(|address| !served.contains(address));
        if let Some(address) = missing {
            return Err(ConfigureError::NoListener(address));
        }
        for to in plan.logs() {
            sink::probe(to).map_err(|error| ConfigureError::Log(to.clone(), error))?;
        }
        let last = self.state.borrow().names.clone();
        let names = resolve::look_up(&config, &last).await;
        self.put_into_force(Rc::new(config), Rc::new(listeners), names)
            .await?;
        self.renamed.notify_one();
        let config = Rc::clone(&self.state.borrow().config);
        info!(
            config = config.fingerprint(),
            workers = running,
            addresses = served.len(),
            "the configuration is in force"
        );
        Ok(())
    }

    /// Hands a configuration that has been checked to the workers.
    async fn put_into_force(
        &self,
        config: Rc<ProxyConfig>,
        listeners: Rc<Listeners>,
        names: Names,
    ) -> Result<(), ConfigureError> {
        let expanded = Arc::new(resolve::expand(&config, &names));
        let shares = share_out(&listeners, self.workers.len())?;
        for (index, (worker, share)) in self.workers.iter().zip(shares).enumerate() {
            let done = worker.configure(Arc::clone(&expanded), share).await;
            done.ok_or(ConfigureError::WorkerGone(index))?;
        }
        let probers = Probers::start(&expanded, &HealthReports::new(&self.workers));
        *self.state.borrow_mut() = State {
            config,
            listeners,
            names,
            _probers: probers,
        };
        Ok(())
    }

    /// Opens the access logs again, after their files were moved away.
    pub(crate) fn reopen_logs(&self) {
        self.workers.iter().for_each(Worker::reopen_logs);
    }

    /// Looks the names up again, and tells the workers if that has changed something.
    async fn resolve(&self) {
        let (config, listeners, last) = {
            let state = self.state.borrow();
            let (config, listeners) = (Rc::clone(&state.config), Rc::clone(&state.listeners));
            (config, listeners, state.names.clone())
        };
        let names = resolve::look_up(&config, &last).await;
        let is_current = Rc::ptr_eq(&config, &self.state.borrow().config);
        if names == last || !is_current || self.is_stopping.get() {
            return;
        }
        info!(?names, "the addresses of upstream servers have changed");
        if let Err(error) = self.put_into_force(config, listeners, names).await {
            error!(%error, "cannot put changed addresses into force");
        }
    }

    /// The sockets that are served.
    pub(crate) fn listeners(&self) -> Rc<Listeners> {
        Rc::clone(&self.state.borrow().listeners)
    }

    /// How the proxy is.
    pub(crate) async fn status(&self) -> Status {
        // Asked at once, so that one that hangs does not take the others' time.
        let asked: Vec<_> = self.workers.iter().map(Worker::snapshot).collect();
        let until = Instant::now() + PATIENCE;
        let mut totals = Totals::default();
        let (mut upstreams, mut routes) = (Vec::new(), Vec::new());
        let mut workers = Vec::with_capacity(asked.len());
        for answer in asked {
            let answer = tokio::time::timeout_at(until, answer).await;
            let snapshot = answer.ok().flatten();
            workers.push(WorkerStatus {
                alive: snapshot.is_some(),
                connections: snapshot.as_ref().map_or(0, |s| s.totals.active),
            });
            if let Some(snapshot) = snapshot {
                totals.add(&snapshot.totals);
                counters::add_upstreams(&mut upstreams, &snapshot.upstreams);
                counters::add_routes(&mut routes, &snapshot.routes);
            }
        }
        let state = self.state.borrow();
        let addresses: BTreeSet<_> = state.listeners.keys().map(|key| key.address).collect();
        Status {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            config: state.config.fingerprint(),
            stopping: self.is_stopping.get(),
            workers,
            listeners: addresses.into_iter().collect(),
            totals,
            upstreams,
            routes,
        }
    }

    /// Sources that are to be kept out.
    pub(crate) async fn offenders(&self) -> Vec<IpAddr> {
        self.limits.offenders.next(OFFENDERS_PATIENCE).await
    }

    /// Accepts no more connections and lets the requests under way end. Returns when no more are
    /// accepted.
    pub(crate) async fn stop(&self) {
        if self.is_stopping.replace(true) {
            return;
        }
        info!("stopping");
        self.state.borrow_mut().listeners = Rc::default();
        for worker in &self.workers {
            // A worker that has ended accepts nothing either.
            let _ = worker.stop().await;
        }
        self.stopped.notify_one();
    }

    /// Waits until the proxy was told to stop and every worker has ended.
    pub(crate) async fn finished(&self) {
        self.stopped.notified().await;
        while !self.workers.iter().all(Worker::has_ended) {
            tokio::time::sleep(FINISH_POLL).await;
        }
    }
}

/// Looks names up again for as long as the process is there.
async fn resolve_again(process: Weak<Process>) {
    loop {
        let Some(alive) = process.upgrade() else {
            return;
        };
        let interval = resolve::interval(&alive.state.borrow().config);
        let until = interval.map(|interval| Instant::now() + interval);
        tokio::select! {
            () = alive.renamed.notified() => {}
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                alive.resolve().await;
            }
        }
    }
}

/// Each worker's part of the sockets, as duplicates: the process keeps its own, to pass them on.
fn share_out(listeners: &Listeners, workers: usize) -> io::Result<Vec<Share>> {
    let mut shares: Vec<_> = (0..workers).map(|_| Share::new()).collect();
    for (key, listener) in listeners {
        let worker = usize::from(key.index) % workers.max(1);
        if let Some(share) = shares.get_mut(worker) {
            share.insert(*key, listener.try_clone()?);
        }
    }
    Ok(shares)
}
