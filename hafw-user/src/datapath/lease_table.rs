//! The lease words of invariant 1: this side writes LEASES, XDP writes SEEN; each word has one
//! writer and is written in one store.

use std::{io, mem::offset_of, os::fd::AsFd, time::Duration};

use hafw_common::{
    lease::{LEASE_GRACE, Lease, Seen, attracting},
    mac_to_word,
    maps::MAX_ROUTERS,
};
use hafw_vrrp::Instant;

use super::jiffies::Jiffies;
use crate::sys::words::Words;

const LEASE_WORDS: usize = size_of::<Lease>() / 8;
const SEEN_WORDS: usize = size_of::<Seen>() / 8;

/// How long services are steered after the attract lease ended: stateless, harmless on two
/// nodes, and neighbours still point here until the new owner's gratuitous ARP.
pub const SERVE_BEYOND_ATTRACT: Duration = Duration::from_secs(5);

/// Both maps, mapped.
#[derive(Debug)]
pub struct LeaseTable {
    leases: Words,
    seen: Words,
    jiffies: Jiffies,
}

impl LeaseTable {
    /// Maps LEASES and SEEN.
    ///
    /// # Errors
    /// The kernel refuses a mapping.
    pub fn map(leases: impl AsFd, seen: impl AsFd, jiffies: Jiffies) -> io::Result<Self> {
        let routers = MAX_ROUTERS as usize;
        Ok(Self {
            leases: Words::map(leases, routers * LEASE_WORDS)?,
            seen: Words::map(seen, routers * SEEN_WORDS)?,
            jiffies,
        })
    }

    /// After an advert was sent: attract until then, serve a little longer. `t` was read before
    /// the ring was drained and the advert sent. `attract_until` is the last word written, so
    /// that what it arms is complete.
    pub fn renew(&self, router: usize, t: Instant, attract_until: Instant, priority: u8) {
        let serve_until = attract_until + SERVE_BEYOND_ATTRACT;
        self.write(router, offset_of!(Lease, priority), priority.into());
        self.write(router, offset_of!(Lease, flags), 0);
        self.write(router, offset_of!(Lease, local_until), 0);
        self.write(
            router,
            offset_of!(Lease, serve_until),
            self.jiffies.before(serve_until),
        );
        self.write(router, offset_of!(Lease, renewed_at), t.as_nanos());
        self.write(
            router,
            offset_of!(Lease, attract_until),
            attract_until.as_nanos(),
        );
    }

    /// Stops attracting at once, and goes on serving until `serve_until`: services, and with
    /// `local` the connections that local listeners already have.
    pub fn step_down(&self, router: usize, serve_until: Instant, local: bool) {
        self.write(router, offset_of!(Lease, attract_until), 0);
        self.write(router, offset_of!(Lease, handoff_until), 0);
        self.write(router, offset_of!(Lease, flags), LEASE_GRACE);
        self.extend_grace(router, serve_until, local);
    }

    /// Moves the end of a grace.
    pub fn extend_grace(&self, router: usize, serve_until: Instant, local: bool) {
        let until = self.jiffies.before(serve_until);
        self.write(
            router,
            offset_of!(Lease, local_until),
            if local { until } else { 0 },
        );
        self.write(router, offset_of!(Lease, serve_until), until);
    }

    /// Stops attracting, and local deliveries with it. Services go on until `serve_until`.
    pub fn stop_attracting(&self, router: usize) {
        self.write(router, offset_of!(Lease, attract_until), 0);
        self.write(router, offset_of!(Lease, local_until), 0);
        self.write(router, offset_of!(Lease, handoff_until), 0);
        self.write(router, offset_of!(Lease, flags), 0);
    }

    /// Stops attracting and serving.
    pub fn clear(&self, router: usize) {
        self.write(router, offset_of!(Lease, attract_until), 0);
        for word in [
            offset_of!(Lease, serve_until),
            offset_of!(Lease, local_until),
            offset_of!(Lease, handoff_until),
            offset_of!(Lease, flags),
        ] {
            self.write(router, word, 0);
        }
    }

    /// Hands what is not ours to the peer with this MAC, until then: see [`Lease::handoff`].
    pub fn hand_off(&self, router: usize, mac: [u8; 6], until: Instant) {
        self.write(router, offset_of!(Lease, handoff_until), 0);
        self.write(router, offset_of!(Lease, handoff), mac_to_word(mac));
        self.write(
            router,
            offset_of!(Lease, handoff_until),
            self.jiffies.before(until),
        );
    }

    /// Hands nothing on any more.
    pub fn end_handoff(&self, router: usize) {
        self.write(router, offset_of!(Lease, handoff_until), 0);
    }

    /// The priority that XDP compares foreign adverts with.
    pub fn set_priority(&self, router: usize, priority: u8) {
        self.write(router, offset_of!(Lease, priority), priority.into());
    }

    /// This side's words.
    #[must_use]
    pub fn lease(&self, router: usize) -> Lease {
        let word = |offset| self.leases.load(router * LEASE_WORDS + offset / 8);
        Lease {
            renewed_at: word(offset_of!(Lease, renewed_at)),
            attract_until: word(offset_of!(Lease, attract_until)),
            serve_until: word(offset_of!(Lease, serve_until)),
            local_until: word(offset_of!(Lease, local_until)),
            priority: word(offset_of!(Lease, priority)),
            handoff: word(offset_of!(Lease, handoff)),
            handoff_until: word(offset_of!(Lease, handoff_until)),
            flags: word(offset_of!(Lease, flags)),
        }
    }

    /// XDP's words.
    #[must_use]
    pub fn seen(&self, router: usize) -> Seen {
        let word = |offset| self.seen.load(router * SEEN_WORDS + offset / 8);
        Seen {
            lost_at: word(offset_of!(Seen, lost_at)),
            advert_at: word(offset_of!(Seen, advert_at)),
            overflow: word(offset_of!(Seen, overflow)),
            claims: word(offset_of!(Seen, claims)),
            claim_at: word(offset_of!(Seen, claim_at)),
            served_at: word(offset_of!(Seen, served_at)),
            reserved: [0; 2],
        }
    }

    /// Whether XDP answers for the router at `now`: the predicate it runs, over the same words.
    #[must_use]
    pub fn is_attracting(&self, router: usize, now: Instant) -> bool {
        let lease = self.lease(router);
        let lost_at = self.seen(router).lost_at;
        attracting(
            now.as_nanos(),
            lease.renewed_at,
            lease.attract_until,
            lost_at,
        )
    }

    /// Whether XDP steers for the router at `now`, within a tick.
    #[must_use]
    pub fn is_serving(&self, router: usize, now: Instant) -> bool {
        self.jiffies.of(now) < self.lease(router).serve_until
    }

    /// How long ago XDP last served something in the router's grace.
    #[must_use]
    pub fn idle_in_grace(&self, router: usize, now: Instant) -> Duration {
        self.jiffies.since(self.seen(router).served_at, now)
    }

    fn write(&self, router: usize, offset: usize, value: u64) {
        self.leases.store(router * LEASE_WORDS + offset / 8, value);
    }
}
