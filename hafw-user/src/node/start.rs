//! Starting: everything that can be refused is refused before anything is touched; the maps are
//! filled before the programs are attached; a lease that a former controller left is gone on with
//! as soon as the VRRP thread runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, atomic::AtomicU32},
    time::Instant as StdInstant,
};

use anyhow::{Context as _, bail};
use hafw_common::maps::{MAX_IFACES, MAX_ROUTERS};
use hafw_l7::supervise::Supervisor;
use hafw_vrrp::Priority;
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use super::{
    adopt::{Remains, inherit},
    alerts,
    blocks::Blocks,
    checks::{Around, targets},
    clients::Clients,
    cluster,
    exchange::Exchange,
    flows::Flows,
    lookout,
    ports::Ports,
    routers::{self, Built},
    run::{Node, Proxy, RouterState},
    services::{Services, nat_sources},
    stop::withdraw,
    system,
};
use crate::{
    alert::Alerts,
    config::{Config, Interface, SystemFacts, against_system},
    control::serve,
    datapath::{Datapath, Found, InterfaceSpec, LeaseTable, PinDir},
    metrics,
    net::{NetEvent, Routes, Sysctls, Watch},
    probe::Prober,
    split_brain::Board,
    sys::clock,
    vrrp::{DriverParts, Start, spawn},
};

/// Changes of state that may wait to be told.
const CHANGES: usize = 1024;

/// Brings a node up. What was put into the kernel before a failure is taken out again, unless it
/// was there before.
pub(super) async fn start(config: Config, file: &Path, socket: &Path) -> anyhow::Result<Node> {
    system::check()?;
    let facts = SystemFacts::gather().context("cannot list the interfaces")?;
    against_system(&config, &facts)?;
    let state_dir = &config.node.state_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(state_dir)
        .with_context(|| format!("cannot make state_dir {}", state_dir.display()))?;
    let pins = PinDir::lock(&config.node.pin_dir)?;
    let watch = Watch::open()?;
    let parts = Parts {
        routes: Routes::new(watch.handle()),
        sysctls: Sysctls::new(state_dir),
        pins,
    };
    let names = config
        .interfaces
        .iter()
        .map(|i| i.name.value.clone())
        .collect::<Vec<_>>();
    let mut adopted = false;
    match bring_up(config, facts, [file, socket], watch, &parts, &mut adopted).await {
        Ok(mut node) => {
            node.parts = Some(parts);
            Ok(node)
        }
        Err(error) if adopted => Err(error),
        Err(error) => {
            if let Err(undo) = withdraw(parts, &names).await {
                warn!(error = %undo, "could not take everything back; `hafw detach` tries again");
            }
            Err(error)
        }
    }
}

/// What a node puts into the kernel, and takes out at its end.
pub(super) struct Parts {
    pub(super) routes: Routes,
    pub(super) sysctls: Sysctls,
    pub(super) pins: PinDir,
}

async fn bring_up(
    config: Config,
    facts: SystemFacts,
    [file, socket]: [&Path; 2],
    watch: Watch,
    parts: &Parts,
    adopted: &mut bool,
) -> anyhow::Result<Node> {
    let alerts = Arc::new(Alerts::start(config.alerts.as_ref(), &config.node.id)?);
    let interfaces = interfaces(&config)?;
    let sources = routers::sources(&config, &facts, |_| None);
    let built = routers::build(&config, &sources);
    let slots = config.services.iter().map(|service| service.slots).sum();

    parts.sysctls.set()?;
    let vips: BTreeSet<_> = config
        .routers
        .iter()
        .flat_map(|router| &router.vips)
        .map(|vip| vip.address)
        .collect();
    parts.routes.set(&vips).await?;

    let mut datapath = Datapath::open(&parts.pins, &interfaces, slots)?;
    let (found, slot_capacity) = (datapath.found, datapath.capacity);
    *adopted = found == Found::Adoptable;
    let instances = mem::take(&mut datapath.instances);
    let mut ports = Ports::new(&config, instances, &facts, &mut datapath.tables)?;
    let starts = inherit_leases(&datapath, &built)?;
    let entries: Vec<_> = built.iter().map(|router| router.entry.clone()).collect();
    datapath.tables.set_routers(&entries)?;
    let snapshot = watch.snapshot().await?;
    let mut clients = Clients::open(datapath.nat, &watch.handle(), &snapshot).await?;
    let replies = nat_sources(&config, &BTreeSet::new());
    // Replies of backends that come are known before packets go there, and those of backends that
    // go until none do.
    clients.tables().add_sources(&replies)?;
    let mut services = Services::open(&config, &mut datapath.tables, found, datapath.capacity)?;
    services
        .follow_routes(&watch.handle())
        .await
        .context("a service has an unfit backend")?;
    services.note(&snapshot, &mut datapath.tables)?;
    services.put_all_hops(&mut datapath.tables)?;
    let replies = nat_sources(&config, services.leaving());
    clients.tables().retain_sources(&replies)?;
    let wires = ports.take(&facts, &mut datapath.tables, &parts.pins)?;

    let Datapath {
        tables,
        flows,
        blocks,
        unresolved,
        leases,
        events,
        peers,
        counters,
        ..
    } = datapath;
    let leases = Arc::new(leases);
    let peers = Arc::new(peers);
    let (changes, changed) = mpsc::channel(CHANGES);
    let driver = DriverParts {
        wires,
        leases: Arc::clone(&leases),
        events,
        peers: Arc::clone(&peers),
        changes,
    };
    let mut tracking = routers::tracking(&config);
    let mut routers = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let adopted = if let Start::Adopt { priority, .. } = start {
            tracking.inherit(index, priority.get());
            true
        } else {
            false
        };
        routers.push(RouterState {
            started: adopted,
            fault: false,
            priority: None,
        });
    }
    let specs = built
        .into_iter()
        .map(|router| router.spec)
        .zip(starts)
        .collect();
    let vrrp = spawn(driver, specs, config.node.realtime)?;

    let board = Board::default();
    let configurations = Arc::new(AtomicU32::new(1));
    let channel = cluster::start(&config, &vrrp, &leases, &board, Arc::clone(&configurations));
    let cluster = channel.as_ref().map(|(cluster, _)| Arc::clone(cluster));
    let exchange = Exchange::new(channel, configurations);
    alerts::follow(Arc::clone(&alerts), cluster.clone(), changed);
    let shown = lookout::Sources {
        vrrp: vrrp.clone(),
        leases: Arc::clone(&leases),
        peers: Arc::clone(&peers),
        cluster: cluster.clone(),
    };
    let lookout = lookout::start(&config, &facts, shown, board.clone(), Arc::clone(&alerts));

    let proxy = start_proxy(&config).await?;
    let blocks = Blocks::open(blocks, proxy.as_ref().map(|proxy| &proxy.control))?;
    let (probe_events, probe_queue) = mpsc::unbounded_channel();
    let mut prober = Prober::new(probe_events);
    let link_stir = Arc::new(Notify::new());
    let around = Around {
        proxy: proxy.as_ref().map(|proxy| &proxy.control),
        netlink: &watch.handle(),
        links: &link_stir,
    };
    prober.set_targets(targets(&config, &services, &around)?);
    let (calls, call_queue) = mpsc::channel(16);
    if let Some(address) = config.metrics {
        metrics::serve(address, calls.clone())?;
    }
    serve(socket, calls)?;

    info!(
        node = config.node.id,
        routers = config.routers.len(),
        services = config.services.len(),
        adopted = *adopted,
        "running"
    );
    Ok(Node {
        adopted: *adopted,
        links: links(&snapshot),
        link_stir,
        file: file.to_path_buf(),
        exe: std::env::current_exe().context("cannot find this program's own file")?,
        wish: None,
        slot_capacity,
        socket: socket.to_path_buf(),
        started: StdInstant::now(),
        config,
        watch,
        parts: None,
        tables,
        counters,
        leases,
        peers,
        ports,
        sources,
        services,
        clients,
        flows: Flows::new(flows, exchange.is_open()),
        exchange,
        blocks,
        unresolved,
        routes_due: None,
        tracking,
        routers,
        vrrp,
        proxy,
        prober,
        probe_queue,
        call_queue,
        alerts,
        cluster,
        lookout,
        board,
    })
}

fn interfaces(config: &Config) -> anyhow::Result<Vec<InterfaceSpec>> {
    if config.interfaces.len() > MAX_IFACES as usize {
        bail!(
            "{} interfaces: at most {MAX_IFACES} are supported",
            config.interfaces.len()
        );
    }
    if config.routers.len() > MAX_ROUTERS as usize {
        bail!(
            "{} virtual routers: at most {MAX_ROUTERS} are supported",
            config.routers.len()
        );
    }
    let spec = |interface: &Interface| InterfaceSpec {
        name: interface.name.value.clone(),
        mode: interface.xdp_mode,
        virtual_macs: config
            .routers
            .iter()
            .any(|router| router.virtual_mac && router.interface.value == interface.name.value),
    };
    Ok(config.interfaces.iter().map(spec).collect())
}

/// Decides for each router whether its lease is gone on with. One that is not, is ended: its words
/// may be another router's.
fn inherit_leases(datapath: &Datapath, built: &[Built]) -> anyhow::Result<Vec<Start>> {
    let Datapath {
        tables,
        leases,
        peers,
        found,
        ..
    } = datapath;
    let mut starts = Vec::new();
    for (index, router) in built.iter().enumerate() {
        let inherited = if *found == Found::Adoptable {
            let config = tables.router(u32::try_from(index)?)?;
            let remains = Remains {
                config: &config,
                lease: &leases.lease(index),
                seen: &leases.seen(index),
                peers: &peers.of(index)?,
            };
            inherit(&remains, &router.entry.config, clock::now())
        } else {
            None
        };
        starts.push(inherited.map_or(Start::Wait, |inherited| Start::Adopt {
            lease_ends: inherited.lease_ends,
            priority: inherited.priority,
        }));
    }
    let partly = |router: &Built| {
        let mut group = built.iter().zip(&starts);
        router.spec.sync_group.is_some()
            && group.any(|(other, start)| {
                other.spec.sync_group == router.spec.sync_group && matches!(start, Start::Wait)
            })
    };
    // All of a sync group go on, or none.
    let partly: Vec<bool> = built.iter().map(partly).collect();
    for (index, router) in built.iter().enumerate() {
        if partly[index] || matches!(starts[index], Start::Wait) {
            give_up(leases, index, router.spec.router.priority);
            starts[index] = Start::Wait;
        }
    }
    for beyond in built.len()..MAX_ROUTERS as usize {
        if leases.lease(beyond).serve_until != 0 {
            leases.clear(beyond);
        }
    }
    Ok(starts)
}

/// Ends attracting. Services that an earlier controller left go on being steered until the words
/// run out: neighbours may still send here.
fn give_up(leases: &LeaseTable, router: usize, priority: Priority) {
    leases.stop_attracting(router);
    leases.set_priority(router, priority.get());
}

/// Whether each interface is up, by kernel index.
pub(super) fn links(events: &[NetEvent]) -> BTreeMap<u32, bool> {
    let link = |event: &NetEvent| match event {
        NetEvent::Link { ifindex, up, .. } => Some((*ifindex, *up)),
        NetEvent::LinkGone { .. }
        | NetEvent::Neighbour { .. }
        | NetEvent::NeighbourGone { .. }
        | NetEvent::Routes
        | NetEvent::Lost => None,
    };
    events.iter().filter_map(link).collect()
}

async fn start_proxy(config: &Config) -> anyhow::Result<Option<Proxy>> {
    let Some(proxy) = &config.proxy else {
        return Ok(None);
    };
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let mut supervisor =
        Supervisor::start_or_adopt(proxy.clone(), &config.node.state_dir, &exe).await?;
    let (control, handle) = (supervisor.control(), supervisor.handle());
    let task = tokio::spawn(async move { supervisor.run().await });
    Ok(Some(Proxy {
        control,
        handle,
        task,
    }))
}
