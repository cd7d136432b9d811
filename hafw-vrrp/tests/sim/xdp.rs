//! What the XDP program does with an advert, in the three steps between which a controller may run:
//! it reads the clock; it notes the peer and puts the event into the ring; it reads the clock again
//! and ends the lease. The predicates are those that it runs.

use hafw_common::{
    event::CLAIM_EVENT_GAP,
    lease::{ends_lease, wins},
};
use hafw_vrrp::{Event, Instant};

use crate::node::{Node, octets};

/// An advert on its way through the program.
#[derive(Clone, Debug)]
pub(crate) struct Advert {
    pub(crate) from: usize,
    pub(crate) source: [u8; 4],
    pub(crate) message: Vec<u8>,
    /// Longer under way than the network's longest delay.
    pub(crate) late: bool,
}

impl Advert {
    pub(crate) fn priority(&self) -> u8 {
        self.message[2]
    }
}

/// The second step. False if the ring had no room.
pub(crate) fn push(node: &mut Node, advert: &Advert, at: u64, room: usize) -> bool {
    let peer = node.peers.entry(advert.source.into()).or_default();
    peer.adverts += 1;
    peer.last_at = at;
    peer.priority = advert.priority().into();
    node.seen.advert_at = at;
    if node.ring.len() >= room {
        node.seen.overflow += 1;
        return false;
    }
    node.ring.push_back(Event::Advert {
        at: Instant::from_nanos(at),
        source: advert.source.into(),
        destination: [224, 0, 0, 18].into(),
        message: advert.message.clone(),
    });
    true
}

/// The third step, at `now` of the node's clock. Whether the advert ended the lease.
pub(crate) fn judge(node: &mut Node, advert: &Advert, now: u64) -> bool {
    let beaten = wins(
        advert.priority(),
        &octets(advert.source.into()),
        node.lease.priority as u8,
        &octets(node.config.source),
    );
    let ends = ends_lease(now, beaten, node.lease.renewed_at, node.suspend_after);
    if ends && now > node.seen.lost_at {
        node.seen.lost_at = now;
    }
    ends
}

/// A foreign gratuitous ARP. Whether it was reported.
pub(crate) fn claim(node: &mut Node, at: u64, room: usize) -> bool {
    node.seen.claims += 1;
    let soon = at < node.seen.claim_at + CLAIM_EVENT_GAP;
    if soon || node.ring.len() >= room {
        return false;
    }
    node.seen.claim_at = at;
    node.ring.push_back(Event::Claim {
        at: Instant::from_nanos(at),
    });
    true
}
