//! From a frame to its way out: the entry of the packet path.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    mac_from_word, mac_to_word,
    proto::{ETH_8021AD, ETH_8021Q, ETH_ARP, ETH_IPV4, ETH_IPV6, virtual_mac_v4, virtual_mac_v6},
};
use network_types::eth::EthHdr;

use crate::{arp, ipv4, ipv6, packet::PacketMut, tables::Tables, wire::GROUP_BIT};

/// What becomes of a frame. [`Counter::verdict`] says which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reason, and the counter to increment.
    pub counter: Counter,
    /// The interface to leave by, where the verdict is a redirect.
    pub ifindex: u32,
}

impl From<Counter> for Outcome {
    #[inline(always)]
    fn from(counter: Counter) -> Self {
        Self {
            counter,
            ifindex: 0,
        }
    }
}

/// Who a frame is addressed to, among those that concern this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// To this interface.
    ToUs,
    /// To a group that this interface may be in.
    ToGroup,
}

/// Decides what becomes of a frame, and rewrites it where it leaves by this or another interface.
/// The caller increments the outcome's counter, once.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    let Some(ethernet) = packet.header::<EthHdr>(0) else {
        return Counter::PassRunt.into();
    };
    let iface = tables.iface();
    let destination = mac_to_word(ethernet.dst_addr);
    let ethertype = u16::from_be(ethernet.ether_type);
    let addressed = if destination == iface.mac {
        Addressed::ToUs
    } else if ethernet.dst_addr[0] & GROUP_BIT != 0 {
        Addressed::ToGroup
    } else if is_virtual_mac(destination) {
        match to_virtual_mac(packet, tables, &iface, destination) {
            Ok(()) => Addressed::ToUs,
            Err(counter) => return counter.into(),
        }
    } else {
        return Counter::PassForeignMac.into();
    };
    dispatch(packet, tables, &iface, addressed, ethertype)
}

/// The first five bytes of a MAC, as a word.
const VIRTUAL_MAC_MASK: u64 = 0xff_ffff_ffff;
/// Those of the virtual MACs of routers over IPv4 and over IPv6.
const VIRTUAL_MACS: [u64; 2] = [
    mac_to_word(virtual_mac_v4(0)),
    mac_to_word(virtual_mac_v6(0)),
];

#[inline(always)]
const fn is_virtual_mac(destination: u64) -> bool {
    let family = destination & VIRTUAL_MAC_MASK;
    family == VIRTUAL_MACS[0] || family == VIRTUAL_MACS[1]
}

/// A frame to a virtual MAC: if its router is ours and attracts, the frame goes on as one to us, which
/// the stack takes too. Two nodes share the MAC, and a switch that does not know its place sends the
/// frame to both: a node that does not attract must not serve it, not even in its grace.
#[inline(never)]
fn to_virtual_mac<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    destination: u64,
) -> Result<(), Counter> {
    let router = tables
        .router_of(
            (destination >> 40) as u8,
            destination & VIRTUAL_MAC_MASK == VIRTUAL_MACS[1],
        )
        .ok_or(Counter::PassForeignMac)?;
    let config = tables.router(router).ok_or(Counter::PassForeignMac)?;
    if config.virtual_mac != destination {
        return Err(Counter::PassForeignMac);
    }
    if !arp::attracts(tables, router) {
        return Err(Counter::DropVirtualMac);
    }
    let ethernet = packet.header_mut::<EthHdr>(0).ok_or(Counter::PassRunt)?;
    ethernet.dst_addr = mac_from_word(iface.mac);
    Ok(())
}

#[inline(always)]
fn dispatch<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
    ethertype: u16,
) -> Outcome {
    match ethertype {
        ETH_IPV4 => ipv4::process(packet, tables, iface, addressed),
        ETH_ARP => arp::process(packet, tables, iface).into(),
        ETH_IPV6 => ipv6::process(packet, tables, iface, addressed),
        ETH_8021Q | ETH_8021AD => Counter::PassVlan.into(),
        _ => Counter::PassEthertype.into(),
    }
}

/// The first byte of what follows the Ethernet header.
pub(crate) const L3: usize = EthHdr::LEN;
