//! What a node does while it runs: it carries news from netlink, probes and the control socket to
//! those whom they concern. The VRRP thread needs none of this to keep its leases.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hafw_l7::{control::client::Control, supervise::SupervisorHandle};
use hafw_vrrp::Priority;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    alerts,
    blocks::Blocks,
    clients::Clients,
    exchange::Exchange,
    flows::Flows,
    ports::Ports,
    restart::Wish,
    service_manager,
    services::{Services, nat_sources},
    start::{Parts, links, start},
    tracking::{CHECK_PATIENCE, Found, Tracking},
};
use crate::{
    alert::Alerts,
    cluster::Cluster,
    config::{self, Config},
    control::Call,
    datapath::{Counters, LeaseTable, PeerTable, Tables, UnresolvedRing},
    net::{NetEvent, Watch, forget_unanswered},
    probe::{ProbeEvent, Prober, TargetId},
    split_brain::{Board, CutOff, Lookout},
    vrrp,
};

/// How often neighbours are kept fresh and waiting routers looked at.
const TICK: Duration = Duration::from_millis(250);
/// Every so many ticks, once all neighbours are known.
const CALM_TICKS: u32 = 8;

/// Slots that have moved are looked after every so many ticks.
const FLOW_TICKS: u32 = 4;
/// Changes of routes come in bursts: so long after the first, all are asked for anew.
const ROUTES_SETTLE: Duration = Duration::from_millis(20);

/// A running node.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) adopted: bool,
    /// Where the configuration came from.
    pub(super) file: PathBuf,
    /// This program's file, as it was named at the start: later the kernel may call it deleted.
    pub(super) exe: PathBuf,
    /// What was asked for over the control socket, and must be done outside of [`Node::serve`].
    pub(super) wish: Option<Wish>,
    /// How many slots the maps have.
    pub(super) slot_capacity: u32,
    pub(super) socket: PathBuf,
    pub(super) started: Instant,
    pub(super) watch: Watch,
    pub(super) parts: Option<Parts>,
    pub(super) tables: Tables,
    pub(super) counters: Counters,
    pub(super) leases: Arc<LeaseTable>,
    pub(super) peers: Arc<PeerTable>,
    pub(super) ports: Ports,
    /// By router: where its adverts leave from.
    pub(super) sources: Vec<Option<IpAddr>>,
    /// Whether each interface is up, by kernel index.
    pub(super) links: BTreeMap<u32, bool>,
    /// Told of every change of a link.
    pub(super) link_stir: Arc<Notify>,
    pub(super) services: Services,
    pub(super) clients: Clients,
    pub(super) flows: Flows,
    pub(super) blocks: Blocks,
    pub(super) unresolved: UnresolvedRing,
    /// When routes are to be asked for anew.
    pub(super) routes_due: Option<Instant>,
    pub(super) tracking: Tracking,
    pub(super) routers: Vec<RouterState>,
    pub(super) vrrp: vrrp::Handle,
    pub(super) proxy: Option<Proxy>,
    pub(super) prober: Prober,
    pub(super) probe_queue: mpsc::UnboundedReceiver<ProbeEvent>,
    pub(super) call_queue: mpsc::Receiver<Call>,
    pub(super) alerts: Arc<Alerts>,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) exchange: Exchange,
    pub(super) lookout: Lookout,
    /// What the lookout knows.
    pub(super) board: Board,
}

/// What the VRRP thread was told of a router.
pub(super) struct RouterState {
    pub(super) started: bool,
    pub(super) fault: bool,
    pub(super) priority: Option<u8>,
}

/// The proxy and its supervisor.
pub(super) struct Proxy {
    pub(super) control: Control,
    pub(super) handle: SupervisorHandle,
    pub(super) task: JoinHandle<()>,
}

/// Runs a node until it is told to stop. `socket`: the control socket, if not the state folder's.
///
/// # Errors
/// The configuration, the machine or the kernel refuses.
pub fn run(file: &Path, socket: Option<&Path>) -> anyhow::Result<()> {
    let config = config::load(file)?;
    let socket = socket.map_or_else(|| config.node.state_dir.join("control.sock"), PathBuf::from);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let ended = runtime.block_on(async {
        // Before anything is started: a signal that comes meanwhile ends the node in order.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut node = start(config, file, &socket).await?;
        service_manager::watch(node.vrrp.clone());
        service_manager::ready();
        loop {
            let wish = tokio::select! {
                () = node.serve() => node.wish.take().unwrap_or(Wish::Stop),
                _ = terminate.recv() => Wish::Stop,
                _ = interrupt.recv() => Wish::Stop,
                _ = hangup.recv() => Wish::Reload,
            };
            match wish {
                Wish::Stop => break,
                Wish::Reload => match node.reload().await {
                    Ok(None) => {}
                    Ok(Some(reason)) => {
                        info!("{reason}: restarting within the leases");
                        node.restart_without_loss().await;
                    }
                    Err(error) => error!("{error:#}; nothing was changed"),
                },
                Wish::Restart => node.restart_without_loss().await,
            }
        }
        info!("stopping");
        service_manager::stopping();
        let taken = node.hand_everything_over();
        tokio::select! {
            () = node.serve() => {}
            () = taken => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let again = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        node.stop(again).await
    });
    // A name that is still being looked up must not hold the end up.
    runtime.shutdown_background();
    ended
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Node {
    /// Until there is a [`Wish`], or nothing can be known any more.
    pub(super) async fn serve(&mut self) {
        self.set_links();
        self.apply_standings();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0u32;
        loop {
            tokio::select! {
                event = self.watch.next() => match event {
                    Some(event) => self.net_event(event).await,
                    None => return error!("the kernel closed the netlink connection"),
                },
                Some(CutOff { router, reason }) = self.lookout.changes.recv() => {
                    self.tracking.set_cut_off(router, reason);
                    self.apply_standings();
                }
                Some(event) = self.probe_queue.recv() => self.probe_event(&event),
                frame = self.unresolved.next(), if self.clients.may_look_up() => match frame {
                    Ok(frame) => self.clients.send(&self.watch.handle(), frame).await,
                    Err(error) => return error!(%error, "the ring of unresolved frames"),
                },
                () = at(self.routes_due), if self.routes_due.is_some() => {
                    self.routes_due = None;
                    if let Err(error) = self.follow_interfaces() {
                        error!(%error, "the interfaces could not be followed");
                    }
                    if let Err(error) = self.follow_routes().await {
                        error!(%error, "the routes could not be followed");
                    }
                }
                sources = self.blocks.next() => self.block(&sources),
                (peer, part) = self.exchange.next() => self.told(&peer, part),
                Some(call) = self.call_queue.recv() => {
                    self.answer(call).await;
                    if self.wish.is_some() {
                        return;
                    }
                }
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.tick(ticks).await;
                }
            }
        }
    }

    async fn tick(&mut self, ticks: u32) {
        if self.routers.iter().any(|router| !router.started) {
            self.apply_standings();
        }
        let handle = self.watch.handle();
        if self.ports.any_refused() && ticks.is_multiple_of(CALM_TICKS) {
            self.routes_due.get_or_insert_with(Instant::now);
        }
        if ticks <= CALM_TICKS || ticks.is_multiple_of(CALM_TICKS) {
            self.services.solicit(&handle).await;
            self.clients.confirm(&handle).await;
        }
        self.clients.expire();
        if let Err(error) = self.blocks.expire() {
            error!(%error, "a source could not be let in again");
        }
        if let Err(error) = self.look_after_flows(ticks).await {
            error!(%error, "slots that moved could not be looked after");
        }
        self.exchange().await;
        if self.services.look_for_leaving(&self.config)
            && let Err(error) = self.follow_leaving().await
        {
            error!(%error, "the ways to backends that are leaving could not be followed");
        }
    }

    async fn look_after_flows(&mut self, ticks: u32) -> anyhow::Result<()> {
        let settles = ticks.is_multiple_of(FLOW_TICKS);
        if settles || self.exchange.is_open() {
            self.flows.look(&self.services).await?;
        }
        if settles {
            self.flows.settle(&mut self.services, &mut self.tables)?;
        }
        Ok(())
    }

    /// Backends came that are configured elsewhere, or some that were leaving went.
    async fn follow_leaving(&mut self) -> anyhow::Result<()> {
        let sources = nat_sources(&self.config, self.services.leaving());
        self.clients.tables().add_sources(&sources)?;
        self.clients.tables().retain_sources(&sources)?;
        let handle = self.watch.handle();
        self.services.follow_new_routes(&handle).await?;
        self.services.put_all_hops(&mut self.tables)?;
        self.services.solicit(&handle).await;
        Ok(())
    }

    async fn follow_routes(&mut self) -> anyhow::Result<()> {
        let handle = self.watch.handle();
        self.clients.follow_routes(&handle).await?;
        self.clients.write()?;
        let changed = self.services.follow_routes(&handle).await?;
        if !changed.is_empty() {
            self.services.put_hops(&changed, &mut self.tables)?;
            self.services.solicit(&handle).await;
        }
        Ok(())
    }

    async fn net_event(&mut self, event: NetEvent) {
        let events = match event {
            NetEvent::Lost => {
                warn!("netlink messages were lost: asking for everything anew");
                match self.watch.snapshot().await {
                    Ok(events) => {
                        self.links = links(&events);
                        self.ports.unsure();
                        events
                    }
                    Err(error) => return error!(%error, "netlink"),
                }
            }
            event @ (NetEvent::Link { .. }
            | NetEvent::LinkGone { .. }
            | NetEvent::Neighbour { .. }
            | NetEvent::NeighbourGone { .. }
            | NetEvent::Routes) => vec![event],
        };
        let mut revived = Vec::new();
        for event in &events {
            match event {
                NetEvent::Link { ifindex, up, .. } => {
                    if self.links.insert(*ifindex, *up) == Some(false) && *up {
                        revived.push(*ifindex);
                    }
                }
                NetEvent::LinkGone { ifindex } => {
                    self.links.remove(ifindex);
                    self.ports.gone(*ifindex);
                }
                NetEvent::Neighbour { .. }
                | NetEvent::NeighbourGone { .. }
                | NetEvent::Routes
                | NetEvent::Lost => {}
            }
            // A link that goes or comes kills routes and revives them.
            let neighbour = matches!(
                event,
                NetEvent::Neighbour { .. } | NetEvent::NeighbourGone { .. }
            );
            if !neighbour && self.routes_due.is_none() {
                self.routes_due = Some(Instant::now() + ROUTES_SETTLE);
            }
        }
        let neighbours = |event: &NetEvent| matches!(event, NetEvent::Neighbour { .. });
        if !events.iter().all(neighbours) {
            self.link_stir.notify_waiters();
        }
        self.set_links();
        self.apply_standings();
        for ifindex in revived {
            if let Err(error) = forget_unanswered(&self.watch.handle(), ifindex).await {
                warn!(%error, "the neighbours cannot be listed");
            }
        }
        if let Err(error) = self.services.note(&events, &mut self.tables) {
            error!(%error, "a next hop could not be changed");
        }
        if let Err(error) = self.clients.note(&events) {
            error!(%error, "a neighbour could not be changed");
        }
    }

    fn probe_event(&mut self, event: &ProbeEvent) {
        self.alerts.raise(alerts::probed(event, &self.config));
        match &event.target {
            TargetId::Check(name) => {
                let named = |check: &config::Check| check.name.value == *name;
                if let Some(index) = self.config.checks.iter().position(named) {
                    info!(
                        check = name,
                        up = event.up(),
                        reason = event.reason,
                        "reported"
                    );
                    let found = match event.number {
                        Some(number) => Found::Number(number),
                        None if event.up() => Found::Up,
                        None => Found::Down,
                    };
                    self.tracking.set_check(index, found);
                    self.apply_standings();
                }
            }
            TargetId::Backend { .. } => {
                if let Err(error) = self.services.probed(event, &self.config, &mut self.tables) {
                    error!(%error, "a slot could not be moved");
                }
            }
        }
    }

    /// Tells the VRRP thread what has changed. A router first takes part when its checks have
    /// reported and the peers have told of their services, or have had their time.
    pub(super) fn apply_standings(&mut self) {
        let exchanged = self.exchange.is_ready(&self.config, self.started.elapsed());
        for (index, told) in self.routers.iter_mut().enumerate() {
            let standing = self.tracking.standing(index);
            if told.priority != Some(standing.priority) {
                told.priority = Some(standing.priority);
                self.vrrp
                    .set_priority(index, Priority::from(standing.priority));
            }
            let ready = standing.complete || self.started.elapsed() >= CHECK_PATIENCE;
            let ready = ready && (told.started || exchanged);
            if !told.started && !ready {
                continue;
            }
            // The fault first: a router that starts with one must not claim its VIPs in between.
            if told.fault != standing.fault {
                told.fault = standing.fault;
                if standing.fault {
                    self.vrrp.fault(index, !standing.proxy_down);
                } else {
                    self.vrrp.recover(index);
                }
            }
            if !told.started {
                told.started = true;
                self.vrrp.start(index);
            }
        }
    }
}
