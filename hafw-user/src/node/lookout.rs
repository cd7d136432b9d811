//! What the lookout for split brains is shown: the VRRP thread's routers, XDP's words, the counters
//! of the interfaces, and what peers say over the channel.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use hafw_common::unmapped;
use hafw_vrrp::Instant;
use tracing::debug;

use crate::{
    alert::Alerts,
    cluster::{Cluster, Peer},
    config::{Config, SystemFacts, witness_source},
    datapath::{LeaseTable, PeerTable},
    split_brain::{Board, Heard, Lookout, Post, Sight, Told, View, Watched},
    sys::{clock, netdev},
    vrrp,
};

/// Those who are asked.
pub(super) struct Sources {
    pub(super) vrrp: vrrp::Handle,
    pub(super) leases: Arc<LeaseTable>,
    pub(super) peers: Arc<PeerTable>,
    pub(super) cluster: Option<Arc<Cluster>>,
}

/// Starts the lookout.
pub(super) fn start(
    config: &Config,
    facts: &SystemFacts,
    sources: Sources,
    board: Board,
    alerts: Arc<Alerts>,
) -> Lookout {
    let watched = config.routers.iter().map(|router| {
        let interface = facts.interfaces.get(&router.interface.value);
        let source = interface.and_then(|interface| witness_source(router, interface));
        Watched {
            name: router.name.value.clone(),
            policy: router.split_brain,
            deaf_after: router.deaf_after,
            witnesses: router.witness.iter().map(|witness| witness.value).collect(),
            post: Post {
                interface: router.interface.value.clone(),
                // A question without a sender is answered too (RFC 5227 §2.1.1).
                source: source.unwrap_or(Ipv4Addr::UNSPECIFIED),
            },
        }
    });
    let seats: Vec<_> = config
        .routers
        .iter()
        .map(|router| Seat {
            name: router.name.value.clone(),
            vrid: router.vrid.value.get(),
            ipv6: router.is_ipv6(),
            interface: router.interface.value.clone(),
        })
        .collect();
    let witnessed = config
        .routers
        .iter()
        .any(|router| !router.witness.is_empty());
    let view = move || View {
        sights: sights(&seats, &sources),
        received: if witnessed {
            netdev::received()
        } else {
            Default::default()
        },
    };
    Lookout::start(watched.collect(), board, alerts, view)
}

/// What tells a router from others, here and on other nodes.
struct Seat {
    name: String,
    vrid: u8,
    ipv6: bool,
    interface: String,
}

fn sights(seats: &[Seat], sources: &Sources) -> Vec<Sight> {
    let seen = sources.peers.all().unwrap_or_else(|error| {
        debug!(%error, "the peers cannot be read");
        Vec::new()
    });
    let nodes = sources.cluster.as_ref().map(|cluster| cluster.peers());
    let nodes = nodes.unwrap_or_default();
    let of = |index: usize| {
        seen.iter()
            .filter(move |(key, _)| key.router as usize == index)
    };
    let adverts = |index| of(index).map(|(_, seen)| seen.adverts).sum::<u64>();
    let (now, snapshots) = (clock::now(), sources.vrrp.snapshots());
    let sight = |(index, (seat, snapshot)): (usize, (&Seat, &vrrp::Snapshot))| {
        let beside = |other: &Seat| other.interface == seat.interface && other.ipv6 == seat.ipv6;
        let beside = seats.iter().enumerate().filter(|(_, other)| beside(other));
        let router = &snapshot.router;
        let heard = of(index).map(|(key, seen)| Heard {
            address: unmapped(key.source),
            priority: u8::try_from(seen.priority).unwrap_or(u8::MAX),
            adverts: seen.adverts,
            last_at: Instant::from_nanos(seen.last_at),
        });
        Sight {
            active_since: router.is_active().then(|| router.since()),
            interval: router.config().interval.as_duration(),
            heard: heard.collect(),
            claims: sources.leases.seen(index).claims,
            adverts: beside.map(|(index, _)| adverts(index)).sum(),
            through_netfilter: snapshot.through_netfilter,
            nodes: nodes.iter().map(|peer| told(peer, seat, now)).collect(),
        }
    };
    seats
        .iter()
        .zip(snapshots.iter())
        .enumerate()
        .map(sight)
        .collect()
}

fn told(peer: &Peer, seat: &Seat, now: Instant) -> Told {
    let beat = peer.router(&seat.name, seat.vrid, seat.ipv6);
    Told {
        node: peer.id.clone(),
        heard: peer.heard,
        attracting: beat.is_some_and(|beat| beat.attracting),
        priority: beat.map_or(0, |beat| beat.priority),
        witness: beat.and_then(|beat| beat.witness),
        unanswered: beat.and_then(|beat| {
            let since = now.saturating_duration_since(peer.beat_at?);
            Some(Duration::from_millis(beat.unanswered_ms?) + since)
        }),
    }
}
