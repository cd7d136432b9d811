//! From a frame to its way out: the entry of the packet path.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    mac_to_word,
    proto::{ETH_8021AD, ETH_8021Q, ETH_ARP, ETH_IPV4, ETH_IPV6},
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
    let addressed = if mac_to_word(ethernet.dst_addr) == iface.mac {
        Addressed::ToUs
    } else if ethernet.dst_addr[0] & GROUP_BIT != 0 {
        Addressed::ToGroup
    } else {
        return Counter::PassForeignMac.into();
    };
    dispatch(
        packet,
        tables,
        &iface,
        addressed,
        u16::from_be(ethernet.ether_type),
    )
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
