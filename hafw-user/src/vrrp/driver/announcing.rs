//! Announcements on their way: where the VIPs are, told to neighbours and switches.

use std::{collections::VecDeque, time::Duration};

use hafw_vrrp::Instant;
use tracing::{debug, warn};

use super::{Driver, no_interface};

/// Announcements of addresses in one go, and from one go to the next: 64,000 a second.
const BURST: usize = 64;
const BURST_GAP: Duration = Duration::from_millis(1);
/// How often a virtual MAC is shown to the switches: well below the five minutes, or the fifteen
/// seconds of a changing spanning tree, after which they forget one (IEEE 802.1Q, 802.1D).
const SHOW: Duration = Duration::from_secs(5);

/// Announcements that are under way: of each router the index, and the address that is next. They
/// are paced, because all VIPs of a node may move at one moment: adverts must not wait behind
/// thousands of frames, and switches and neighbours drop what comes too fast.
#[derive(Default)]
pub(super) struct Announcing {
    queue: VecDeque<(usize, usize)>,
    /// When the next burst may be sent.
    next: Option<Instant>,
}

impl Announcing {
    /// A router's are to be sent. Those that are under way go on.
    pub(super) fn begin(&mut self, router: usize) {
        if !self.queue.iter().any(|(other, _)| *other == router) {
            self.queue.push_back((router, 0));
        }
    }
}

impl Driver {
    /// Sends what is due of the announcements under way. Returns when there is more to send.
    pub(in super::super) fn tend_announcements(&mut self, now: Instant) -> Option<Instant> {
        let mut left = match self.announcing.next {
            Some(next) if now < next => 0,
            Some(_) | None => BURST,
        };
        while left > 0 {
            let Some(&(index, first)) = self.announcing.queue.front() else {
                break;
            };
            self.announcing.next = Some(now + BURST_GAP);
            let sent = self.announce_some(index, first, left, now);
            left -= sent.min(left);
            let more = sent > 0 && first + sent < self.addresses(index);
            match self.announcing.queue.front_mut() {
                Some((_, next)) if more => *next = first + sent,
                Some(_) | None => drop(self.announcing.queue.pop_front()),
            }
        }
        let next = self.announcing.next?;
        (!self.announcing.queue.is_empty()).then_some(next)
    }

    fn addresses(&self, index: usize) -> usize {
        self.routers[index].spec.router.addresses.len()
    }

    /// Announces a router's addresses from this one on, as many as may be. Returns how many it did:
    /// none where that has no sense any more.
    fn announce_some(&mut self, index: usize, first: usize, most: usize, now: Instant) -> usize {
        if !self.leases.is_attracting(index, now) {
            return 0;
        }
        let router = &mut self.routers[index];
        let spec = &router.spec;
        let addresses = &spec.router.addresses;
        let end = addresses.len().min(first + most);
        let announced = match &self.lanes[spec.interface].wire {
            None => Err(no_interface()),
            Some(wire) => wire.announce(spec.virtual_mac, &addresses[first..end]),
        };
        if let Err(error) = announced {
            warn!(router = spec.name, %error, "cannot announce the VIPs");
            return 0;
        }
        if end == addresses.len() {
            router.announced += 1;
        }
        end - first
    }

    /// Adverts to unicast peers leave from the interface's own MAC: the switches would forget where
    /// the virtual one is, and flood.
    pub(super) fn show_virtual_mac(&mut self, index: usize, now: Instant) {
        let router = &mut self.routers[index];
        let spec = &router.spec;
        let (Some(mac), false) = (spec.virtual_mac, spec.unicast_peers.is_empty()) else {
            return;
        };
        if router.shown_at.is_some_and(|at| now < at + SHOW) {
            return;
        }
        router.shown_at = Some(now);
        // One address will do.
        let addresses = spec.router.addresses.get(..1).unwrap_or_default();
        let wire = self.lanes[spec.interface].wire.as_ref();
        if let Some(Err(error)) = wire.map(|wire| wire.announce(Some(mac), addresses)) {
            debug!(router = spec.name, %error, "cannot show the virtual MAC to the switches");
        }
    }
}
