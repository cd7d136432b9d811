//! Traffic to a VIP that no service takes: for listeners on this node, while it owns the VIP.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    lease::attracting,
    mac_from_word, mac_to_word,
    vip::{VIP_ACCEPT, VIP_SHIELDED, Vip},
};
use network_types::{eth::EthHdr, tcp::TcpHdr};

use crate::{
    ipv6::Address,
    packet::PacketMut,
    path::Outcome,
    tables::{Ends, LeaseWords, Tables},
    wire::Ports,
};

/// The TCP segment in a datagram. Every field has a value when there is none: with an `Option`,
/// LLVM tests the protocol twice, and the verifier follows the path between that cannot be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Its ports.
    pub ports: Ports,
    /// Its sequence number.
    pub sequence: u32,
    /// Whether it asks for a new connection.
    pub opens: bool,
    /// Whether it ends one: FIN or RST.
    pub closes: bool,
    /// Whether there is one.
    pub is_tcp: bool,
}

impl From<&TcpHdr> for Segment {
    #[inline(always)]
    fn from(tcp: &TcpHdr) -> Self {
        Self {
            ports: Ports {
                source: tcp.source,
                destination: tcp.dest,
            },
            sequence: u32::from_be_bytes(tcp.seq),
            opens: tcp.syn() != 0 && tcp.ack() == 0,
            closes: tcp.fin() != 0 || tcp.rst() != 0,
            is_tcp: true,
        }
    }
}

/// Decides over a frame to a VIP. `ends`: of the segment's connection; asked only where a peer may
/// have it. `source`: the sender, IPv4 as [`hafw_common::v4_mapped`].
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    vip: Vip,
    segment: Segment,
    source: Address,
    ends: impl FnOnce() -> Ends,
) -> Outcome {
    if vip.flags & VIP_ACCEPT == 0 {
        return Counter::DropNotAccepted.into();
    }
    if vip.flags & VIP_SHIELDED != 0 && is_blocked(tables, source.first, source.second) {
        return Counter::DropBlocked.into();
    }
    let (Some(lease), Some(seen)) = (tables.lease(vip.router), tables.seen(vip.router)) else {
        return Counter::DropTable.into();
    };
    let now = tables.now();
    let jiffies = tables.jiffies();
    let attracts = attracting(
        now,
        lease.renewed_at(),
        lease.attract_until(),
        seen.lost_at(),
    );
    if segment.is_tcp
        && let Some(peer) = handoff_peer(packet, tables, vip.router, lease, jiffies)
    {
        // A new connection is the owner's; any other is whose it is.
        let theirs = if segment.opens {
            !attracts
        } else {
            !tables.has_connection(&ends())
        };
        if theirs {
            return hand_off(packet, iface, peer, attracts);
        }
    }
    if attracts {
        return Counter::PassLocal.into();
    }
    if jiffies >= lease.local_until() {
        return Counter::DropStandby.into();
    }
    if segment.opens {
        return Counter::DropGraceSyn.into();
    }
    seen.set_served_at(jiffies);
    Counter::PassLocal.into()
}

/// Whether a source is kept out for a time.
///
/// A function of its own in the program, which is given numbers: inlined, LLVM spills half of the
/// look-up's pointer, which the verifier refuses.
#[inline(never)]
fn is_blocked<T: Tables>(tables: &T, first: u64, second: u64) -> bool {
    tables.jiffies() < tables.blocked_until(Address { first, second }.octets())
}

/// The MAC of the peer to which what is not ours is handed, if there is one now, it is to be reached
/// by the interface that the frame came from, and it is not the peer that handed us the frame.
#[inline(always)]
fn handoff_peer<P: PacketMut + ?Sized, T: Tables>(
    packet: &P,
    tables: &T,
    router: u32,
    lease: LeaseWords<'_>,
    jiffies: u64,
) -> Option<u64> {
    let peer = lease.handoff();
    if peer == 0 || jiffies >= lease.handoff_until() {
        return None;
    }
    let ethernet = packet.header::<EthHdr>(0)?;
    if mac_to_word(ethernet.src_addr) == peer {
        return None;
    }
    (tables.router(router)?.iface == tables.iface_slot()).then_some(peer)
}

/// Sends the frame on to the peer, in our own name, so that the peer does not send it back.
#[inline(always)]
fn hand_off<P: PacketMut + ?Sized>(
    packet: &mut P,
    iface: &Iface,
    peer: u64,
    attracts: bool,
) -> Outcome {
    let Some(ethernet) = packet.header_mut::<EthHdr>(0) else {
        return Counter::DropTable.into();
    };
    ethernet.dst_addr = mac_from_word(peer);
    ethernet.src_addr = mac_from_word(iface.mac);
    if attracts {
        Counter::TxHandoff.into()
    } else {
        Counter::TxToOwner.into()
    }
}
