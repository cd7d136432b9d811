//! The second belt of invariant 5: no ARP leaves in a VIP's name without a live lease.

use hafw_common::{counters::Counter, proto::ETH_ARP};

use crate::{
    arp,
    packet::Packet,
    path::L3,
    tables::Tables,
    wire::{ARP_ETHERNET_IPV4, Arp, Ethernet},
};

/// Why a frame must not leave, or `None` where it may.
#[inline(always)]
pub fn process<P: Packet + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<Counter> {
    let ethernet = packet.header::<Ethernet>(0)?;
    if u16::from_be_bytes(ethernet.ethertype) != ETH_ARP {
        return None;
    }
    let arp = packet.header::<Arp>(L3)?;
    if arp.kind != ARP_ETHERNET_IPV4 {
        return None;
    }
    let vip = arp::vip(tables, arp.sender)?;
    (!arp::attracts(tables, vip.router)).then_some(Counter::EgressArp)
}
