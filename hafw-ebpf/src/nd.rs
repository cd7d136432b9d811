//! Neighbor Discovery (RFC 4861): solicitations for a VIP are answered in place, claims of a VIP by
//! others are reported.

use core::mem::offset_of;

use hafw_common::{
    counters::Counter,
    iface::Iface,
    mac_from_word, mac_to_word,
    proto::{
        ALL_NODES, ALL_NODES_MAC, IP_ICMPV6, ND_ADVERTISEMENT, ND_HOP_LIMIT, ND_OVERRIDE,
        ND_ROUTER, ND_SOLICITATION, ND_SOLICITED, ND_SOURCE_ADDRESS, ND_TARGET_ADDRESS,
        VRRP_MAX_LEN, solicited_node,
    },
    vip::Vip,
};
use network_types::{eth::EthHdr, ip::Ipv6Hdr};

use crate::{
    arp::{attracts, claim, here},
    checksum::Sum,
    ipv6::{Address, Ip, L4, may_be_vip},
    packet::PacketMut,
    path::L3,
    tables::Tables,
    wire::{GROUP_BIT, Icmpv6, Nd, NdOption},
};

/// Decides over a solicitation or advertisement; `None` for any other ICMPv6 message.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ip,
) -> Option<Counter> {
    let kind = packet.header::<Icmpv6>(L4)?.kind;
    if kind != ND_SOLICITATION && kind != ND_ADVERTISEMENT {
        return None;
    }
    let Some(target) = packet.address(TARGET) else {
        return Some(Counter::PassRunt);
    };
    // Who asks in a VIP's name tells its neighbours that the VIP is at its own MAC, as one who
    // advertises it does.
    let claimed = if kind == ND_ADVERTISEMENT {
        target
    } else {
        ip.source
    };
    let (address, (vip, mac), is_claim) = if let Some(vip) = vip_here(tables, iface, claimed) {
        (claimed, vip, true)
    } else if kind == ND_SOLICITATION
        && let Some(vip) = vip_here(tables, iface, target)
    {
        (target, vip, false)
    } else {
        return Some(Counter::PassNd);
    };
    let sender = sender(packet, tables);
    if sender == INVALID {
        return Some(Counter::DropNdInvalid);
    }
    // What we sent, reflected by the network, claims nothing and asks nothing. Nor does a virtual MAC,
    // which is the router's on whatever node.
    if sender == mac {
        return Some(Counter::PassNd);
    }
    if is_claim {
        claim(tables, vip.router, address.octets(), sender);
        return Some(Counter::DropNdClaim);
    }
    if !attracts(tables, vip.router) {
        return Some(Counter::DropNdStandby);
    }
    Some(answer(packet, mac_from_word(mac), ip, target, sender))
}

/// The VIP with this address.
#[inline(always)]
pub(crate) fn vip<T: Tables>(tables: &T, address: Address) -> Option<Vip> {
    if !may_be_vip(tables, address) {
        return None;
    }
    tables.vip(address.octets())
}

/// The VIP with this address and the MAC that it goes by, if its router lives on this interface.
#[inline(always)]
fn vip_here<T: Tables>(tables: &T, iface: &Iface, address: Address) -> Option<(Vip, u64)> {
    here(tables, iface, vip(tables, address)?)
}

/// No MAC has bits above 48.
const INVALID: u64 = u64::MAX;
/// Likewise: nothing is wrong, and there is none.
const ABSENT: u64 = u64::MAX - 1;
/// More options than this are refused; usual are one or two, and five with RFC 3971's.
const MOST_OPTIONS: usize = 8;
const TARGET: usize = L4 + offset_of!(Nd, target);

/// The checks of RFC 4861 §7.1.1 and §7.1.2, but for the target's being no group: it is a VIP, or
/// will not be looked at. Returns the sender's MAC ([`mac_to_word`]): of its link-layer address
/// option, or of the frame where there is none; or [`INVALID`].
///
/// A function of its own: it takes all of the message over into memory.
#[inline(never)]
fn sender<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> u64 {
    checked(packet, tables).unwrap_or(INVALID)
}

#[inline(always)]
fn checked<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> Option<u64> {
    let ip = Ip::of(packet)?;
    let nd = packet.header::<Nd>(L4)?;
    let length = ip.payload;
    let solicits = nd.icmp.kind == ND_SOLICITATION;
    if !ip.is_sound(packet)
        || ip.hop_limit != ND_HOP_LIMIT
        || nd.icmp.code != 0
        || length < size_of::<Nd>()
        || length > VRRP_MAX_LEN
        // Options come in units of eight bytes, after a header of three.
        || !length.is_multiple_of(8)
        || ip.source.is_multicast()
    {
        return None;
    }
    // An answer to a group is an answer to nobody (§7.1.2).
    if !solicits && ip.destination.is_multicast() && nd.icmp.rest[0] & ND_SOLICITED != 0 {
        return None;
    }
    let mut record = tables.record()?;
    let sum = packet.copy(L4, length, &mut record.message)?;
    if !sum.and_sum(ip.pseudo_header(length)).is_valid() {
        return None;
    }
    let wanted = if solicits {
        ND_SOURCE_ADDRESS
    } else {
        ND_TARGET_ADDRESS
    };
    let stated = link_layer_address(packet, length, wanted);
    if stated == INVALID {
        return None;
    }
    // Detection of a duplicate (RFC 4862 §5.4): nobody asks, to the group, without a MAC.
    if solicits
        && ip.source == Address::UNSPECIFIED
        && (stated != ABSENT || !is_solicited_node(ip.destination))
    {
        return None;
    }
    let mac = if stated == ABSENT {
        mac_to_word(packet.header::<EthHdr>(0)?.src_addr)
    } else {
        stated
    };
    (mac_from_word(mac)[0] & GROUP_BIT == 0).then_some(mac)
}

/// The address in the first option of kind `wanted` ([`mac_to_word`]), [`ABSENT`], or [`INVALID`] if
/// an option has no length or goes beyond the message.
///
/// Options are read from the frame: older verifiers follow where in it an offset leads, but not that
/// it is below `length`. And not as an `Option`, which LLVM tests twice: the verifier would follow
/// the path between that cannot be.
#[inline(always)]
fn link_layer_address<P: PacketMut + ?Sized>(packet: &P, length: usize, wanted: u8) -> u64 {
    let mut at = size_of::<Nd>();
    let mut found = ABSENT;
    for _ in 0..MOST_OPTIONS {
        if at >= length {
            break;
        }
        let Some(option) = packet.header::<NdOption>(L4 + at) else {
            return INVALID;
        };
        if option.units == 0 {
            return INVALID;
        }
        if option.kind == wanted && found == ABSENT {
            found = mac_to_word(option.mac);
        }
        at += usize::from(option.units) * 8;
    }
    if at == length { found } else { INVALID }
}

/// Whether an address is a solicited-node group, ff02::1:ff00:0/104.
#[inline(always)]
fn is_solicited_node(address: Address) -> bool {
    let any = Address::from(solicited_node([0; 16]));
    address.first == any.first && u64::from_be(address.second ^ any.second) >> 24 == 0
}

/// Turns a solicitation that [`sender`] found valid into the advertisement (RFC 4861 §7.2.4): the
/// asker becomes the destination, the target the source. One without options has no room for ours;
/// such are probes of a neighbour that knows our MAC, and detections of a duplicate.
#[inline(always)]
fn answer<P: PacketMut + ?Sized>(
    packet: &mut P,
    ours: [u8; 6],
    ip: &Ip,
    target: Address,
    asker: u64,
) -> Counter {
    let (destination, mac, flags) = if ip.source == Address::UNSPECIFIED {
        let all = Address::from(ALL_NODES);
        (all, ALL_NODES_MAC, ND_ROUTER | ND_OVERRIDE)
    } else {
        let flags = ND_ROUTER | ND_SOLICITED | ND_OVERRIDE;
        (ip.source, mac_from_word(asker), flags)
    };
    let option = NdOption {
        kind: ND_TARGET_ADDRESS,
        units: 1,
        mac: ours,
    };
    let has_room = ip.payload >= size_of::<Nd>() + size_of::<NdOption>();
    let length = if has_room {
        size_of::<Nd>() + size_of::<NdOption>()
    } else {
        size_of::<Nd>()
    } as u8;
    let [m0, m1, m2, m3, m4, m5] = ours;
    let mut sum = Sum::default()
        .and_address(target)
        .and_address(destination)
        .and([0, 0, 0, length])
        .and([0, 0, 0, IP_ICMPV6])
        .and([ND_ADVERTISEMENT, 0, 0, 0])
        .and([flags, 0, 0, 0])
        .and_address(target);
    if has_room {
        sum = sum
            .and([option.kind, option.units, m0, m1])
            .and([m2, m3, m4, m5]);
        let Some(place) = packet.header_mut::<NdOption>(L4 + size_of::<Nd>()) else {
            return Counter::PassRunt;
        };
        *place = option;
    }
    let Some(nd) = packet.header_mut::<Nd>(L4) else {
        return Counter::PassRunt;
    };
    nd.icmp = Icmpv6 {
        kind: ND_ADVERTISEMENT,
        code: 0,
        checksum: sum.checksum(),
        rest: [flags, 0, 0, 0],
    };
    let Some(header) = packet.header_mut::<Ipv6Hdr>(L3) else {
        return Counter::PassRunt;
    };
    *header = Ipv6Hdr {
        vcf: [0x60, 0, 0, 0],
        payload_len: [0, length],
        next_hdr: IP_ICMPV6,
        hop_limit: ND_HOP_LIMIT,
        src_addr: target.octets(),
        dst_addr: destination.octets(),
    };
    let Some(ethernet) = packet.header_mut::<EthHdr>(0) else {
        return Counter::PassRunt;
    };
    ethernet.dst_addr = mac;
    ethernet.src_addr = ours;
    Counter::TxNdAdvert
}
