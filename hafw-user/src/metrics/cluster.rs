//! The other nodes of `[cluster]`, and what is exchanged with them.

use std::fmt;

use super::exposition::{Families, of};
use crate::control::{ClusterPeerStatus, Status};

/// Name, help, and where the value is.
type Series = (&'static str, &'static str, fn(&ClusterPeerStatus) -> u64);

const GAUGES: [Series; 6] = [
    ("cluster_heard", "Its heartbeats arrive", |p| p.heard.into()),
    ("cluster_reached", "This node's heartbeats reach it", |p| {
        p.sending.into()
    }),
    (
        "cluster_told",
        "It was told of all of this node's services",
        |p| p.told.into(),
    ),
    ("cluster_known", "It has told of all of its services", |p| {
        p.known.into()
    }),
    ("cluster_followed_services", "Steered as it says", |p| {
        p.followed_services as u64
    }),
    (
        "cluster_differences",
        "Between its configuration and this node's",
        |p| p.differences.len() as u64,
    ),
];

pub(super) fn encode(status: &Status, out: &mut Families<'_>) -> fmt::Result {
    let peers = || {
        let peers = status.cluster.iter();
        peers.map(|peer| (vec![("node", peer.id.clone())], peer))
    };
    for (name, help, value) in GAUGES {
        out.gauge(name, help, of(peers(), value))?;
    }
    out.counter(
        "cluster_flows_lost",
        "Moved flows that it told of and that found no room",
        of(peers(), |peer| peer.flows_lost),
    )?;
    out.gauge(
        "moved_flows",
        "Established connections that are not where their slots lead",
        [(vec![], status.moved_flows)],
    )
}
