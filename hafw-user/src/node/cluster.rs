//! What this node tells its peers over the channel.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use hafw_vrrp::{Instant, StateKind};

use super::status::ms;
use crate::{
    cluster::{Cluster, Heartbeat, Peer, RouterBeat, Tellings},
    config::Config,
    datapath::LeaseTable,
    split_brain::Board,
    sys::clock,
    vrrp,
};

/// Starts the channel, where the configuration has one.
pub(super) fn start(
    config: &Config,
    vrrp: &vrrp::Handle,
    leases: &Arc<LeaseTable>,
    board: &Board,
    configurations: Arc<AtomicU32>,
) -> Option<(Arc<Cluster>, Tellings)> {
    let spec = config.cluster.as_ref()?;
    let thread = vrrp.clone();
    let (vrrp, leases, board) = (vrrp.clone(), Arc::clone(leases), board.clone());
    let names: Vec<_> = config
        .routers
        .iter()
        .map(|router| (router.name.value.clone(), router.is_ipv6()))
        .collect();
    let state = move || {
        let (now, snapshots) = (clock::now(), vrrp.snapshots());
        let routers = names.iter().zip(snapshots.iter()).enumerate();
        let beat =
            |(index, ((name, ipv6), snapshot)): (usize, (&(String, bool), &vrrp::Snapshot))| {
                let router = &snapshot.router;
                let known = board.known(index);
                RouterBeat {
                    name: name.clone(),
                    vrid: router.config().vrid.get(),
                    ipv6: *ipv6,
                    state: router.state().kind().name().to_owned(),
                    priority: router.priority().get(),
                    attracting: leases.is_attracting(index, now),
                    witness: known.witness,
                    unanswered_ms: known.unanswered.map(ms),
                    source: Some(router.config().source),
                }
            };
        Heartbeat {
            routers: routers.map(beat).collect(),
            answers: None,
            configurations: configurations.load(Ordering::Relaxed),
        }
    };
    let heir = move |peers: &[Peer], of: &str, asked_at| succeed(&thread, peers, of, asked_at);
    let (cluster, tellings) = Cluster::start(spec, &config.node.id, state, heir);
    Some((Arc::new(cluster), tellings))
}

/// A peer answered that it is in fault: each of its routers is this node's, unless another stands
/// nearer.
fn succeed(vrrp: &vrrp::Handle, peers: &[Peer], of: &str, asked_at: Instant) {
    let (theirs, others): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.id == of);
    for (index, snapshot) in vrrp.snapshots().iter().enumerate() {
        let config = snapshot.router.config();
        let same = |beat: &&RouterBeat| {
            beat.vrid == config.vrid.get() && beat.ipv6 == config.source.is_ipv6()
        };
        let rank = (snapshot.router.priority().get(), Some(config.source));
        let mut heirs = others.iter().filter(|peer| peer.heard);
        let nearer = heirs.any(|peer| {
            let backup = |beat: &&RouterBeat| beat.state == StateKind::Backup.name();
            let mut routers = peer.beat.routers.iter().filter(same).filter(backup);
            routers.any(|beat| (beat.priority, beat.source) > rank)
        });
        let gone = theirs.iter().flat_map(|peer| &peer.beat.routers);
        for beat in gone.filter(same).filter(|beat| beat.in_fault()) {
            if let (false, Some(source)) = (nearer, beat.source) {
                // It knows whether that was its Active.
                vrrp.succeed(index, source, asked_at);
            }
        }
    }
}
