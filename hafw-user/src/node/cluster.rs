//! What this node tells its peers over the channel.

use std::sync::Arc;

use super::status::ms;
use crate::{
    cluster::{Cluster, Heartbeat, RouterBeat},
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
) -> Option<Cluster> {
    let spec = config.cluster.as_ref()?;
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
                }
            };
        Heartbeat {
            routers: routers.map(beat).collect(),
        }
    };
    Some(Cluster::start(spec, &config.node.id, state))
}
