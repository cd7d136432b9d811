//! The supervising half, which `hafw run` calls: opens the listeners, starts the proxy, hands the
//! sockets and the configuration over, and starts it again when it dies. The proxy outlives its
//! supervisor; the next one finds it by its control socket and takes it and its listeners over.
//!
//! The supervisor keeps every listener open itself, so connections that arrive while no proxy runs
//! wait in the socket's queue instead of being refused.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    VERSION,
    control::{
        SOCKET_NAME,
        client::{self, Control, ControlError},
        fd_stream::FdStream,
    },
    listeners::{self, ListenError, Listeners},
    model::ProxyConfig,
};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A proxy that lived this long died for a new reason, and is restarted without delay.
const STEADY_LIFE: Duration = Duration::from_secs(10);

/// Why the proxy could not be started, taken over or changed.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot start {exe}: {source}")]
    Spawn { exe: PathBuf, source: io::Error },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("cannot keep a listening socket: {0}")]
    Clone(#[source] io::Error),
    #[error("cannot end the proxy with process id {pid} that does not answer: {source}")]
    Kill { pid: i32, source: io::Error },
    #[error("the supervisor has ended")]
    Gone,
}

/// Owns a running proxy. [`Supervisor::run`] must be polled for restarts and orders to happen.
#[derive(Debug)]
pub struct Supervisor {
    control: Control,
    exe: PathBuf,
    config: ProxyConfig,
    listeners: Listeners,
    proxy: Option<Proxy>,
    started: Instant,
    backoff: Duration,
    /// When the next attempt to start it is due; `None` while it runs.
    restart_at: Option<Instant>,
    orders: mpsc::Receiver<Order>,
    order: mpsc::Sender<Order>,
}

/// Gives orders to a [`Supervisor`] that runs elsewhere. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    order: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Reload(
        Box<ProxyConfig>,
        oneshot::Sender<Result<(), SuperviseError>>,
    ),
    Stop(oneshot::Sender<Result<(), SuperviseError>>),
}

/// A proxy process: the connection to it, whose end is the process's end, and the process itself
/// if it is a child of ours.
#[derive(Debug)]
struct Proxy {
    stream: FdStream,
    child: Option<Child>,
}

impl SupervisorHandle {
    /// Puts another configuration into force without losing a connection.
    ///
    /// # Errors
    ///
    /// [`SuperviseError`]; the old configuration is then still in force.
    pub async fn reload(&self, config: ProxyConfig) -> Result<(), SuperviseError> {
        self.give(|reply| Order::Reload(Box::new(config), reply))
            .await
    }

    /// Stops the proxy in order: returns once it accepts no new connection. [`Supervisor::run`] ends
    /// when the requests under way have ended too.
    ///
    /// # Errors
    ///
    /// [`SuperviseError`] if the proxy could not be told; the supervisor ends all the same.
    pub async fn stop(&self) -> Result<(), SuperviseError> {
        self.give(Order::Stop).await
    }

    async fn give(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), SuperviseError>>) -> Order,
    ) -> Result<(), SuperviseError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.order.send(order(reply)).await;
        sent.map_err(|_| SuperviseError::Gone)?;
        answer.await.unwrap_or(Err(SuperviseError::Gone))
    }
}

impl Supervisor {
    /// Takes the proxy over that runs behind `state_dir`'s control socket, or starts one. `exe` is
    /// the binary to start, called by the name `hafw-l7`.
    ///
    /// A running proxy of another version or with another number of workers is replaced: the new
    /// one serves the same sockets before the old one stops. One that does not answer is killed.
    ///
    /// # Errors
    ///
    /// [`SuperviseError`] if an address cannot be listened on or the proxy does not start.
    pub async fn start_or_adopt(
        config: ProxyConfig,
        state_dir: &Path,
        exe: &Path,
    ) -> Result<Self, SuperviseError> {
        let (order, orders) = mpsc::channel(8);
        let mut supervisor = Self {
            control: Control::new(state_dir.join(SOCKET_NAME)),
            exe: exe.to_owned(),
            config,
            listeners: Listeners::new(),
            proxy: None,
            started: Instant::now(),
            backoff: FIRST_BACKOFF,
            restart_at: None,
            orders,
            order,
        };
        match supervisor.control.connect().await {
            Ok(stream) => supervisor.adopt(stream).await?,
            Err(_) => {
                supervisor.open_missing()?;
                supervisor.start().await?;
            }
        }
        Ok(supervisor)
    }

    /// Asks the proxy for its health and status, also while [`Self::run`] is under way.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Gives orders, also while [`Self::run`] is under way.
    #[must_use]
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle {
            order: self.order.clone(),
        }
    }

    /// Restarts the proxy when it dies and carries out orders, until one of them is to stop and the
    /// proxy has ended.
    /// Dropping the future (or the supervisor) leaves the proxy running.
    pub async fn run(&mut self) {
        loop {
            let restart = async {
                match self.restart_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = death(self.proxy.as_mut()) => self.bury(),
                () = restart => self.restart().await,
                order = self.orders.recv() => match order {
                    Some(Order::Reload(config, reply)) => {
                        // Whoever asked may have left; the order stands all the same.
                        let _ = reply.send(self.reload(*config).await);
                    }
                    Some(Order::Stop(reply)) => {
                        let _ = reply.send(self.stop().await);
                        return self.end().await;
                    }
                    None => return,
                },
            }
        }
    }

    fn bury(&mut self) {
        self.proxy = None;
        if self.started.elapsed() >= STEADY_LIFE {
            self.backoff = FIRST_BACKOFF;
        }
        warn!(restart_in = ?self.backoff, "the proxy died; new connections wait for its successor");
        self.retry_later();
    }

    fn retry_later(&mut self) {
        self.restart_at = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }

    async fn restart(&mut self) {
        self.restart_at = None;
        if let Err(error) = self.start().await {
            warn!(%error, retry_in = ?self.backoff, "the proxy did not start");
            self.retry_later();
        }
    }

    async fn reload(&mut self, config: ProxyConfig) -> Result<(), SuperviseError> {
        let mut listeners = clone_listeners(&self.listeners, &config)?;
        let wanted = listeners::keys(config.listen_addresses(), config.worker_count());
        listeners::open_missing(&mut listeners, wanted)?;
        let same_workers = config.worker_count() == self.config.worker_count();
        match &mut self.proxy {
            Some(proxy) if same_workers => {
                client::configure(&mut proxy.stream, &config, &listeners).await?;
            }
            Some(_) => {
                let successor = self.spawn(&config, &listeners).await?;
                self.replace(successor).await;
            }
            // Nothing runs: the restart that is due takes the new configuration.
            None => {}
        }
        self.config = config;
        self.listeners = listeners;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), SuperviseError> {
        self.restart_at = None;
        let Some(mut proxy) = self.proxy.take() else {
            return Ok(());
        };
        client::stop(&mut proxy.stream).await?;
        // Nobody accepts what would still come.
        self.listeners = Listeners::default();
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Waits for the end of the proxy, if it was told to stop and heard it.
    async fn end(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.stream.closed().await;
        }
    }

    /// Takes over the proxy behind `stream`, or ends it and starts another.
    async fn adopt(&mut self, mut stream: FdStream) -> Result<(), SuperviseError> {
        let status = match client::status(&mut stream).await {
            Ok(status) => status,
            Err(error) => {
                warn!(%error, "the running proxy is replaced");
                // One that speaks otherwise may still know how to stop; one that hangs does not.
                if client::stop(&mut stream).await.is_err() {
                    kill(&stream)?;
                }
                self.open_missing()?;
                return self.start().await;
            }
        };
        if !status.stopping {
            self.listeners = client::take_listeners(&mut stream).await?;
        }
        let all = clone_listeners(&self.listeners, &self.config)?;
        self.listeners = all;
        self.open_missing()?;
        let fits = status.version == VERSION && status.workers.len() == self.config.worker_count();
        if status.stopping || !fits {
            info!(
                pid = status.pid,
                version = status.version,
                "the running proxy is replaced"
            );
            let successor = self.spawn(&self.config, &self.listeners).await?;
            self.proxy = Some(Proxy {
                stream,
                child: None,
            });
            self.replace(successor).await;
            return Ok(());
        }
        if status.config != self.config.fingerprint() {
            client::configure(&mut stream, &self.config, &self.listeners).await?;
        }
        info!(pid = status.pid, "took the running proxy over");
        self.proxy = Some(Proxy {
            stream,
            child: None,
        });
        Ok(())
    }

    async fn start(&mut self) -> Result<(), SuperviseError> {
        self.started = Instant::now();
        self.proxy = Some(self.spawn(&self.config, &self.listeners).await?);
        Ok(())
    }

    /// Puts `successor`, which serves already, in the place of the proxy, and stops the latter.
    async fn replace(&mut self, successor: Proxy) {
        self.started = Instant::now();
        if let Some(mut old) = self.proxy.replace(successor) {
            if let Err(error) = client::stop(&mut old.stream).await {
                warn!(%error, "the old proxy was not told to stop");
            }
            if let Some(mut child) = old.child {
                // Collects the exit status whenever the old proxy has finished.
                tokio::spawn(async move { child.wait().await });
            }
        }
    }

    fn open_missing(&mut self) -> Result<(), ListenError> {
        let addresses = self.config.listen_addresses();
        let wanted = listeners::keys(addresses, self.config.worker_count());
        listeners::open_missing(&mut self.listeners, wanted)
    }

    /// Starts a process and waits until it serves.
    async fn spawn(
        &self,
        config: &ProxyConfig,
        listeners: &Listeners,
    ) -> Result<Proxy, SuperviseError> {
        let failed = |source| SuperviseError::Spawn {
            exe: self.exe.clone(),
            source,
        };
        let (near, far) = StdUnixStream::pair().map_err(failed)?;
        near.set_nonblocking(true).map_err(failed)?;
        let mut stream = FdStream::new(UnixStream::from_std(near).map_err(failed)?);
        // Standard input carries the socket, so that no descriptor has to be left inheritable.
        let child = Command::new(&self.exe)
            .arg0("hafw-l7")
            .arg("--control")
            .arg(self.control.path())
            .arg("--handoff")
            .stdin(Stdio::from(OwnedFd::from(far)))
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        client::configure(&mut stream, config, listeners).await?;
        info!(pid = child.id(), "started the proxy");
        Ok(Proxy {
            stream,
            child: Some(child),
        })
    }
}

async fn death(proxy: Option<&mut Proxy>) {
    match proxy {
        Some(proxy) => proxy.stream.closed().await,
        None => std::future::pending().await,
    }
}

/// The listeners that `config` still wants, surplus sockets of its addresses included: one of
/// those may hold connections, and the workers share it.
fn clone_listeners(
    listeners: &Listeners,
    config: &ProxyConfig,
) -> Result<Listeners, SuperviseError> {
    let addresses = config.listen_addresses();
    let kept = listeners.iter();
    kept.filter(|(key, _)| addresses.contains(&key.address))
        .map(|(key, listener)| Ok((*key, listener.try_clone().map_err(SuperviseError::Clone)?)))
        .collect()
}

/// Ends the process at the other end, which does not answer.
fn kill(stream: &FdStream) -> Result<(), SuperviseError> {
    let failed = |pid, source| SuperviseError::Kill { pid, source };
    let peer = stream.get_ref().peer_cred().map_err(|e| failed(0, e))?;
    let Some(pid) = peer.pid().and_then(rustix::process::Pid::from_raw) else {
        return Ok(());
    };
    match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(pid.as_raw_nonzero().get(), error.into())),
    }
}
