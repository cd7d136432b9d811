//! The second belt of invariant 5: no ARP and no Neighbor Discovery leaves in a VIP's name without a
//! live lease.

use core::mem::offset_of;

use hafw_common::{
    counters::Counter,
    proto::{ETH_ARP, ETH_IPV6, IP_ICMPV6, ND_ADVERTISEMENT, ND_SOLICITATION},
    vip::Vip,
};
use network_types::{arp::ArpHdr, eth::EthHdr, ip::Ipv6Hdr};

use crate::{
    arp,
    ipv6::L4,
    nd,
    packet::Packet,
    path::L3,
    tables::Tables,
    wire::{Nd, is_ethernet_ipv4},
};

/// How much of a frame decides: Neighbor Discovery without options. An ARP frame is shorter.
pub const NEEDED: usize = L4 + size_of::<Nd>();

/// Why a frame must not leave, or `None` where it may.
#[inline(always)]
pub fn process<P: Packet + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<Counter> {
    let ethernet = packet.header::<EthHdr>(0)?;
    let (vip, counter) = match u16::from_be(ethernet.ether_type) {
        ETH_ARP => (arp_speaks_for(packet, tables)?, Counter::EgressArp),
        ETH_IPV6 => (nd_speaks_for(packet, tables)?, Counter::EgressNd),
        _ => return None,
    };
    (!arp::attracts(tables, vip.router)).then_some(counter)
}

/// The VIP in whose name an ARP frame speaks.
#[inline(always)]
fn arp_speaks_for<P: Packet + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<Vip> {
    let arp = packet.header::<ArpHdr>(L3)?;
    if !is_ethernet_ipv4(arp) {
        return None;
    }
    arp::vip(tables, arp.spa)
}

/// The VIP in whose name a Neighbor Advertisement or Solicitation speaks. Neither has extension
/// headers.
#[inline(always)]
fn nd_speaks_for<P: Packet + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<Vip> {
    let ip = packet.header::<Ipv6Hdr>(L3)?;
    if ip.next_hdr != IP_ICMPV6 {
        return None;
    }
    let nd = packet.header::<Nd>(L4)?;
    match nd.icmp.kind {
        ND_ADVERTISEMENT => nd::vip(tables, packet.address(L4 + offset_of!(Nd, target))?),
        ND_SOLICITATION => nd::vip(tables, packet.address(L3 + offset_of!(Ipv6Hdr, src_addr))?),
        _ => None,
    }
}
