//! Whether a router goes on as Active after its controller was restarted (invariant 4). Pure.

use hafw_common::{
    lease::{Lease, Seen, attracting, wins},
    router::{PeerKey, PeerSeen, RouterConfig},
};
use hafw_vrrp::{Instant, Priority};

/// A lease that a former controller left and that may be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    /// When it ends.
    pub(super) lease_ends: Instant,
    /// The priority last advertised.
    pub(super) priority: Priority,
}

/// What the maps say of one router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remains<'a> {
    /// The former controller's configuration of the router with this index.
    pub(super) config: &'a RouterConfig,
    /// Its words.
    pub(super) lease: &'a Lease,
    /// XDP's words.
    pub(super) seen: &'a Seen,
    /// The router's peers as XDP saw them.
    pub(super) peers: &'a [(PeerKey, PeerSeen)],
}

/// The lease to go on with, if there is one: of the same router, live, not lost, and no winning
/// advert came since it was renewed. Otherwise the router starts as Backup.
pub(super) fn inherit(
    remains: &Remains<'_>,
    wanted: &RouterConfig,
    now: Instant,
) -> Option<Inherited> {
    let Remains {
        config,
        lease,
        seen,
        peers,
    } = remains;
    let same = RouterConfig {
        suspend_after: wanted.suspend_after,
        ..**config
    } == *wanted;
    let live = attracting(
        now.as_nanos(),
        lease.renewed_at,
        lease.attract_until,
        seen.lost_at,
    );
    let priority = u8::try_from(lease.priority).ok()?;
    let beaten = peers.iter().any(|(key, peer)| {
        let theirs = u8::try_from(peer.priority).unwrap_or(u8::MAX);
        peer.last_at >= lease.renewed_at && wins(theirs, &key.source, priority, &wanted.source)
    });
    (same && live && !beaten).then(|| Inherited {
        lease_ends: Instant::from_nanos(lease.attract_until),
        priority: Priority::from(priority),
    })
}

#[cfg(test)]
mod tests {
    use hafw_common::{router::MAX_UNICAST_PEERS, v4_mapped};

    use super::*;

    const WANTED: RouterConfig = RouterConfig {
        source: v4_mapped([10, 0, 0, 5]),
        auth_data: *b"1111\0\0\0\0",
        suspend_after: 1_250_000_000,
        vrid: 51,
        version: 2,
        auth_type: 1,
        interval_seconds: 1,
        iface: 0,
        virtual_mac: 0,
        reserved: 0,
        unicast_peers: [[0; 16]; MAX_UNICAST_PEERS],
    };
    const LEASE: Lease = Lease {
        renewed_at: 1_000,
        attract_until: 4_000,
        serve_until: 9,
        local_until: 0,
        priority: 150,
        handoff: 0,
        handoff_until: 0,
        flags: 0,
    };

    fn verdict(
        config: &RouterConfig,
        lease: &Lease,
        lost_at: u64,
        peer: Option<(u8, u64)>,
    ) -> bool {
        let seen = Seen {
            lost_at,
            ..Seen::default()
        };
        let peers: Vec<_> = peer
            .map(|(priority, last_at)| {
                let key = PeerKey {
                    source: v4_mapped([10, 0, 0, 6]),
                    router: 0,
                };
                (
                    key,
                    PeerSeen {
                        adverts: 1,
                        last_at,
                        priority: priority.into(),
                        mac: 0,
                    },
                )
            })
            .into_iter()
            .collect();
        let remains = Remains {
            config,
            lease,
            seen: &seen,
            peers: &peers,
        };
        inherit(&remains, &WANTED, Instant::from_nanos(2_000)).is_some()
    }

    #[test]
    fn a_live_lease_is_gone_on_with() {
        assert!(verdict(&WANTED, &LEASE, 0, Some((100, 1_500))));
    }

    #[test]
    fn a_lease_that_ended_or_was_lost_is_not() {
        assert!(!verdict(
            &WANTED,
            &Lease {
                attract_until: 2_000,
                ..LEASE
            },
            0,
            None
        ));
        assert!(!verdict(&WANTED, &LEASE, 1_001, None));
    }

    #[test]
    fn a_winning_advert_since_the_renewal_ends_it() {
        assert!(!verdict(&WANTED, &LEASE, 0, Some((151, 1_500))));
        assert!(
            !verdict(&WANTED, &LEASE, 0, Some((150, 1_500))),
            "the higher address wins"
        );
        assert!(
            verdict(&WANTED, &LEASE, 0, Some((200, 900))),
            "older than the renewal"
        );
    }

    #[test]
    fn another_router_at_the_same_index_inherits_nothing() {
        assert!(!verdict(
            &RouterConfig { vrid: 52, ..WANTED },
            &LEASE,
            0,
            None
        ));
    }
}
