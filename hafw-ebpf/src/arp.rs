//! ARP: requests for a VIP are answered in place, claims of a VIP by others are reported.

use hafw_common::{
    counters::Counter,
    event::{CLAIM_EVENT_GAP, ClaimEvent, EVENT_CLAIM},
    iface::Iface,
    lease::attracting,
    mac_from_word, mac_to_word, v4_mapped,
    vip::{Vip, filter_bit},
};
use network_types::{arp::ArpHdr, eth::EthHdr};

use crate::{
    packet::PacketMut,
    path::L3,
    tables::Tables,
    wire::{ARP_REPLY, ARP_REQUEST, GROUP_BIT, is_ethernet_ipv4},
};

/// Decides over an ARP frame. A function of its own in the program, as IPv4's and IPv6's are: stack
/// frames add up to 512 bytes at most.
#[inline(never)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
) -> Counter {
    let Some(&arp) = packet.header::<ArpHdr>(L3) else {
        return Counter::PassRunt;
    };
    let request = arp.oper == ARP_REQUEST;
    if !is_ethernet_ipv4(&arp) || !(request || arp.oper == ARP_REPLY) {
        return Counter::PassArp;
    }
    if let Some((vip, mac)) = vip_here(tables, iface, arp.spa) {
        // Our own gratuitous ARP, reflected by the network, claims nothing and asks nothing. Nor does
        // a virtual MAC, which is the router's on whatever node.
        if mac_to_word(arp.sha) == mac {
            return Counter::PassArp;
        }
        claim(tables, vip.router, v4_mapped(arp.spa), mac_to_word(arp.sha));
        return Counter::DropArpClaim;
    }
    if !request || arp.sha[0] & GROUP_BIT != 0 {
        return Counter::PassArp;
    }
    let Some((vip, mac)) = vip_here(tables, iface, arp.tpa) else {
        return Counter::PassArp;
    };
    if !attracts(tables, vip.router) {
        return Counter::DropArpStandby;
    }
    answer(packet, mac_from_word(mac), &arp)
}

/// Whether this node answers for a router's VIPs now.
#[inline(always)]
pub(crate) fn attracts<T: Tables>(tables: &T, router: u32) -> bool {
    let (Some(lease), Some(seen)) = (tables.lease(router), tables.seen(router)) else {
        return false;
    };
    attracting(
        tables.now(),
        lease.renewed_at(),
        lease.attract_until(),
        seen.lost_at(),
    )
}

/// The VIP with this address, by way of the filter.
#[inline(always)]
pub(crate) fn vip<T: Tables>(tables: &T, address: [u8; 4]) -> Option<Vip> {
    let (word, bit) = filter_bit(address);
    if tables.filter_word(word) & bit == 0 {
        return None;
    }
    tables.vip(v4_mapped(address))
}

/// The VIP with this address and the MAC that it goes by, if its router lives on this interface: ARP
/// for a VIP on another link is none of ours.
#[inline(always)]
fn vip_here<T: Tables>(tables: &T, iface: &Iface, address: [u8; 4]) -> Option<(Vip, u64)> {
    here(tables, iface, vip(tables, address)?)
}

/// The VIP and the MAC that it goes by, if its router lives on this interface.
#[inline(always)]
pub(crate) fn here<T: Tables>(tables: &T, iface: &Iface, vip: Vip) -> Option<(Vip, u64)> {
    let router = tables.router(vip.router)?;
    if router.iface != tables.iface_slot() {
        return None;
    }
    let mac = match router.virtual_mac {
        0 => iface.mac,
        mac => mac,
    };
    Some((vip, mac))
}

/// Counts a claim, and reports it unless one of the router's was reported just before.
#[inline(always)]
pub(crate) fn claim<T: Tables>(tables: &T, router: u32, vip: [u8; 16], mac: u64) {
    let Some(seen) = tables.seen(router) else {
        return;
    };
    seen.add_claim();
    let at = tables.now();
    if at.saturating_sub(seen.claim_at()) < CLAIM_EVENT_GAP {
        return;
    }
    let event = ClaimEvent {
        kind: EVENT_CLAIM,
        router,
        at,
        mac,
        vip,
    };
    if tables.push_claim(&event) {
        seen.set_claim_at(at);
    }
}

/// Turns a request into its reply: the asker becomes the target, we the sender.
#[inline(always)]
fn answer<P: PacketMut + ?Sized>(packet: &mut P, ours: [u8; 6], request: &ArpHdr) -> Counter {
    let Some(arp) = packet.header_mut::<ArpHdr>(L3) else {
        return Counter::PassRunt;
    };
    arp.oper = ARP_REPLY;
    arp.sha = ours;
    arp.spa = request.tpa;
    arp.tha = request.sha;
    arp.tpa = request.spa;
    let Some(ethernet) = packet.header_mut::<EthHdr>(0) else {
        return Counter::PassRunt;
    };
    ethernet.dst_addr = request.sha;
    ethernet.src_addr = ours;
    Counter::TxArpReply
}
