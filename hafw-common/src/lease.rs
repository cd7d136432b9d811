//! The lease: who may attract and serve, as words with one writer each and pure predicates over
//! them. XDP, the controller and the simulation run these very functions.

use crate::halves;

/// User space's words of one virtual router, by router index in [`crate::maps::LEASES`]. A cache
/// line of its own. Each word is written with one atomic store.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Lease {
    /// CLOCK_MONOTONIC ns, read before the advert of the last renewal was sent.
    pub renewed_at: u64,
    /// CLOCK_MONOTONIC ns: ARP and Neighbor Discovery are answered and local listeners are served before this.
    pub attract_until: u64,
    /// jiffies64: services are steered before this.
    pub serve_until: u64,
    /// jiffies64: after stepping down in order, connections that local listeners already have are
    /// served before this, though the router no longer attracts.
    pub local_until: u64,
    /// The priority last advertised, 0 to 255; what an advert is compared with.
    pub priority: u64,
    /// MAC of a peer ([`crate::mac_to_word`]). While attracting: one in its grace, to which segments
    /// of connections that are not ours are handed. After stepping down: the new owner, to which
    /// new connections are handed. 0: none.
    pub handoff: u64,
    /// jiffies64: until when they are.
    pub handoff_until: u64,
    /// [`LEASE_GRACE`].
    pub flags: u64,
}

/// The router stepped down in order and serves its grace: XDP notes when something was served.
pub const LEASE_GRACE: u64 = 1;

/// XDP's words of one virtual router, by router index in [`crate::maps::SEEN`].
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Seen {
    /// CLOCK_MONOTONIC ns at which the last advert that ends the lease did, see [`ends_lease`]: read
    /// after the advert was put into the ring. So a renewal that drained the ring too early to meet
    /// the advert has a `renewed_at` before it.
    pub lost_at: u64,
    /// CLOCK_MONOTONIC ns of the last valid foreign advert.
    pub advert_at: u64,
    /// Valid adverts that found the ring full.
    pub overflow: u64,
    /// Foreign ARP or Neighbor Discovery packets in the name of one of the router's VIPs.
    pub claims: u64,
    /// CLOCK_MONOTONIC ns of the last such packet that was reported.
    pub claim_at: u64,
    /// jiffies64 of the last packet served under [`LEASE_GRACE`].
    pub served_at: u64,
    /// Explicit padding.
    pub reserved: [u64; 2],
}

/// Whether a router may answer ARP and deliver to local listeners at `now` (ns).
///
/// `renewed_at > lost_at` makes a renewal that was under way when the lease was lost powerless:
/// its `renewed_at` was read before it drained the ring.
#[must_use]
#[inline(always)]
pub const fn attracting(now: u64, renewed_at: u64, attract_until: u64, lost_at: u64) -> bool {
    now < attract_until && renewed_at > lost_at
}

/// Whether an advert with `priority` from `source` beats ours: the Active's rule of
/// RFC 9568 §6.4.3. Addresses compare as unsigned numbers in network order. Priority 0 releases the
/// VIPs: it never wins.
#[must_use]
#[inline(always)]
pub fn wins(priority: u8, source: &[u8; 16], own_priority: u8, own_source: &[u8; 16]) -> bool {
    if priority == 0 {
        return false;
    }
    if priority != own_priority {
        return priority > own_priority;
    }
    // As numbers: comparing these needs no loop and no `memcmp` in the BPF target.
    let (theirs, ours) = (halves(*source), halves(*own_source));
    theirs.0 > ours.0 || (theirs.0 == ours.0 && theirs.1 > ours.1)
}

/// Whether a valid foreign advert seen at `now` ends the lease.
///
/// A winning one does at once. Any other does while the last renewal is older than
/// `suspend_after`: a machine that was paused may wake to the adverts of a lower router that took
/// over, and must not answer before its controller has run and renewed.
#[must_use]
#[inline(always)]
pub const fn ends_lease(now: u64, wins: bool, renewed_at: u64, suspend_after: u64) -> bool {
    wins || now.saturating_sub(renewed_at) > suspend_after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4_mapped;

    const OURS: [u8; 16] = v4_mapped([10, 0, 0, 5]);
    const HIGHER: [u8; 16] = v4_mapped([10, 0, 0, 6]);

    #[test]
    fn a_higher_priority_wins_whatever_the_address() {
        assert!(wins(151, &v4_mapped([1, 1, 1, 1]), 150, &OURS));
        assert!(!wins(149, &HIGHER, 150, &OURS));
    }

    #[test]
    fn priority_0_never_wins() {
        assert!(!wins(0, &HIGHER, 0, &OURS));
        assert!(wins(1, &OURS, 0, &HIGHER));
    }

    #[test]
    fn equal_priorities_go_to_the_higher_address() {
        assert!(wins(150, &HIGHER, 150, &OURS));
        assert!(!wins(150, &OURS, 150, &HIGHER));
        assert!(!wins(150, &OURS, 150, &OURS));
    }

    #[test]
    fn a_renewal_under_way_does_not_rearm_a_lost_lease() {
        assert!(attracting(100, 90, 200, 80));
        assert!(!attracting(100, 90, 200, 95));
        assert!(!attracting(200, 90, 200, 80));
    }

    #[test]
    fn a_lower_advert_suspends_only_a_stale_lease() {
        assert!(!ends_lease(1_000, false, 900, 100));
        assert!(ends_lease(1_001, false, 900, 100));
        assert!(ends_lease(1_000, true, 1_000, 100));
    }
}
