//! Traffic to a VIP that no service takes: for listeners on this node, while it owns the VIP.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    lease::attracting,
    mac_from_word,
    vip::{VIP_ACCEPT, Vip},
};

use crate::{
    packet::PacketMut,
    path::Outcome,
    tables::{Ends, LeaseWords, Tables},
    wire::{Ethernet, Ipv4, TCP_ACK, TCP_SYN, Tcp},
};

/// Decides over a frame to a VIP. `tcp`: where its TCP header starts, if it has one.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ipv4,
    vip: Vip,
    tcp: Option<usize>,
) -> Outcome {
    if vip.flags & VIP_ACCEPT == 0 {
        return Counter::DropNotAccepted.into();
    }
    let (Some(lease), Some(seen)) = (tables.lease(vip.router), tables.seen(vip.router)) else {
        return Counter::DropTable.into();
    };
    let segment = match tcp.map(|at| packet.header::<Tcp>(at)) {
        None => None,
        Some(Some(tcp)) => Some(*tcp),
        Some(None) => return Counter::DropMalformed.into(),
    };
    let opens = segment.is_some_and(|tcp| tcp.flags & (TCP_SYN | TCP_ACK) == TCP_SYN);

    let now = tables.now();
    let jiffies = tables.jiffies();
    if attracting(
        now,
        lease.renewed_at(),
        lease.attract_until(),
        seen.lost_at(),
    ) {
        if !opens
            && let Some(tcp) = segment
            && let Some(peer) = handoff_peer(tables, vip.router, lease, jiffies)
            && !tables.has_connection(&ends(ip, &tcp))
        {
            return hand_off(packet, iface, peer);
        }
        return Counter::PassLocal.into();
    }
    if jiffies >= lease.local_until() {
        return Counter::DropStandby.into();
    }
    if opens {
        return Counter::DropGraceSyn.into();
    }
    seen.set_served_at(jiffies);
    Counter::PassLocal.into()
}

/// The MAC of the peer that may have connections of this router's VIPs, if there is one now and it
/// is to be reached by the interface that the frame came from.
#[inline(always)]
fn handoff_peer<T: Tables>(
    tables: &T,
    router: u32,
    lease: LeaseWords<'_>,
    jiffies: u64,
) -> Option<u64> {
    let peer = lease.handoff();
    if peer == 0 || jiffies >= lease.handoff_until() {
        return None;
    }
    (tables.router(router)?.iface == tables.iface_slot()).then_some(peer)
}

/// Sends the frame on to the peer. Only a node that attracts does, so there is no loop.
#[inline(always)]
fn hand_off<P: PacketMut + ?Sized>(packet: &mut P, iface: &Iface, peer: u64) -> Outcome {
    let Some(ethernet) = packet.header_mut::<Ethernet>(0) else {
        return Counter::DropTable.into();
    };
    ethernet.destination = mac_from_word(peer);
    ethernet.source = mac_from_word(iface.mac);
    Counter::TxHandoff.into()
}

#[inline(always)]
fn ends(ip: &Ipv4, tcp: &Tcp) -> Ends {
    Ends {
        source: ip.source,
        destination: ip.destination,
        source_port: tcp.ports.source,
        destination_port: tcp.ports.destination,
    }
}
