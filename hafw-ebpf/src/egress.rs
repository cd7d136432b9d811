//! The second belt of invariant 5: no ARP leaves in a VIP's name without a live lease.

use hafw_common::{counters::Counter, proto::ETH_ARP};
use network_types::{arp::ArpHdr, eth::EthHdr};

use crate::{arp, packet::Packet, path::L3, tables::Tables, wire::is_ethernet_ipv4};

/// Why a frame must not leave, or `None` where it may.
#[inline(always)]
pub fn process<P: Packet + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<Counter> {
    let ethernet = packet.header::<EthHdr>(0)?;
    if u16::from_be(ethernet.ether_type) != ETH_ARP {
        return None;
    }
    let arp = packet.header::<ArpHdr>(L3)?;
    if !is_ethernet_ipv4(arp) {
        return None;
    }
    let vip = arp::vip(tables, arp.spa)?;
    (!arp::attracts(tables, vip.router)).then_some(Counter::EgressArp)
}
