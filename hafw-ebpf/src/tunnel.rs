//! `ipip` and `gue` modes: the datagram goes to the backend inside another one, of the family of the
//! backend's address (RFC 2003, RFC 2473, RFC 4213), in `gue` mode inside a UDP datagram of that
//! (GUE variant 1, draft-ietf-intarea-gue §3.4: the payload's first byte says which family it is).

use hafw_common::{
    counters::Counter,
    proto::{ETH_IPV4, ETH_IPV6, GUE_PORT, IP_UDP, TUNNEL_SOURCE_V4, TUNNEL_SOURCE_V6},
    service::MODE_GUE,
};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    checksum::Sum,
    ipv6::L4,
    packet::PacketMut,
    path::{L3, Outcome},
    steer::Datagram,
    tables::{BackendWords, Tables},
};

/// No link carries less (RFC 791): shorter datagrams are not compared with the link's MTU.
const ALWAYS_FITS: usize = 576;

/// Puts a datagram of a flow with this hash into one to the backend; returns what that adds. One
/// that is too long for the link becomes an answer to its sender that says so.
///
/// # Errors
/// What becomes of the frame instead.
#[inline(always)]
pub fn encapsulate<P: PacketMut + ?Sized, T: Tables, D: Datagram>(
    packet: &mut P,
    tables: &T,
    datagram: &D,
    mode: u32,
    backend: BackendWords<'_>,
    hash: u32,
) -> Result<usize, Outcome> {
    if datagram.hop_limit() <= 1 {
        return Err(Counter::DropTtl.into());
    }
    let is_v4 = backend.is_v4();
    let udp = mode == MODE_GUE;
    let added = overhead(is_v4, udp);
    let length = datagram.length() + added;
    if length > ALWAYS_FITS
        && let Some(mtu) = tables.mtu(backend.ifindex() as u32)
        && length > mtu as usize
    {
        return Err(datagram.too_big(packet, tables, mtu as usize - added));
    }
    if length > 0xffff {
        return Err(Counter::DropTooLong.into());
    }
    let ethernet = *packet.header::<EthHdr>(0).ok_or(Counter::DropTable)?;
    let tos = datagram.traffic_class(packet);
    // It was forwarded into the tunnel (RFC 2003 §3.1, RFC 2473 §3.1).
    datagram.lower_hop_limit(packet)?;
    if !packet.push_front(added) {
        return Err(Counter::DropTooLong.into());
    }
    let protocol = if udp { IP_UDP } else { D::PROTOCOL };
    // The inner datagram's marks count on the way too (RFC 6040).
    let at = if is_v4 {
        let ends = (source_v4(hash), backend.v4_address());
        put_v4(
            packet,
            ethernet,
            header_v4(tos, protocol, length as u16, ends),
        )?;
        L3 + Ipv4Hdr::LEN
    } else {
        let payload = (length - Ipv6Hdr::LEN) as u16;
        // The flow's hash is the label too, by which routers spread tunnels (RFC 6438).
        let label = hash & 0xf_ffff;
        let ends = (source_v6(hash), backend.mapped_address());
        put_v6(
            packet,
            ethernet,
            header_v6((tos, label), protocol, payload, ends),
        )?;
        L4
    };
    if udp {
        let carried = (length - (at - L3)) as u16;
        // Of IPv6 too the checksum may be left out in a tunnel (RFC 6935).
        *packet.header_mut::<UdpHdr>(at).ok_or(Counter::DropTable)? = UdpHdr {
            src: source_port(hash),
            dst: GUE_PORT.to_be_bytes(),
            len: carried.to_be_bytes(),
            check: [0; 2],
        };
    }
    Ok(added)
}

/// Bytes that the outer headers add.
#[inline(always)]
const fn overhead(is_v4: bool, udp: bool) -> usize {
    let ip = if is_v4 { Ipv4Hdr::LEN } else { Ipv6Hdr::LEN };
    ip + if udp { UdpHdr::LEN } else { 0 }
}

/// The outer source: in a network of its own, and different from flow to flow, so that the
/// backend's card spreads tunnels over its queues as Katran's do.
#[inline(always)]
const fn source_v4(hash: u32) -> [u8; 4] {
    let [_, _, c, d] = hash.to_be_bytes();
    let [a, b, ..] = TUNNEL_SOURCE_V4;
    [a, b, c, d]
}

/// As [`source_v4`].
#[inline(always)]
fn source_v6(hash: u32) -> [u8; 16] {
    let [first, second] = TUNNEL_SOURCE_V6;
    bytemuck::cast([first.to_be(), (second | hash as u64).to_be()])
}

/// Of the ports that are nobody's (RFC 6335 §6), as GUE has it.
#[inline(always)]
const fn source_port(hash: u32) -> [u8; 2] {
    (0xc000 | (hash >> 16) as u16).to_be_bytes()
}

/// A header without options, that asks not to be fragmented and so needs no identification
/// (RFC 6864).
#[inline(always)]
pub(crate) fn header_v4(
    tos: u8,
    proto: u8,
    length: u16,
    (src_addr, dst_addr): ([u8; 4], [u8; 4]),
) -> Ipv4Hdr {
    let [high, low] = length.to_be_bytes();
    let sum = Sum::default()
        .and([0x45, tos, high, low])
        .and([0, 0, 0x40, 0])
        .and([HOP_LIMIT, proto, 0, 0])
        .and(src_addr)
        .and(dst_addr);
    Ipv4Hdr {
        vihl: 0x45,
        tos,
        tot_len: [high, low],
        id: [0; 2],
        frags: [0x40, 0],
        ttl: HOP_LIMIT,
        proto,
        check: sum.complement(),
        src_addr,
        dst_addr,
    }
}

/// A header before `payload` bytes, with a traffic class and a flow label.
#[inline(always)]
pub(crate) fn header_v6(
    (traffic_class, label): (u8, u32),
    next_hdr: u8,
    payload: u16,
    (src_addr, dst_addr): ([u8; 16], [u8; 16]),
) -> Ipv6Hdr {
    let vcf = 6 << 28 | (traffic_class as u32) << 20 | label;
    Ipv6Hdr {
        vcf: vcf.to_be_bytes(),
        payload_len: payload.to_be_bytes(),
        next_hdr,
        hop_limit: HOP_LIMIT,
        src_addr,
        dst_addr,
    }
}

/// Of datagrams that begin here.
const HOP_LIMIT: u8 = 64;

/// Writes the headers of a frame that has grown.
#[inline(always)]
pub(crate) fn put_v4<P: PacketMut + ?Sized>(
    packet: &mut P,
    ethernet: EthHdr,
    ip: Ipv4Hdr,
) -> Result<(), Counter> {
    put_ethernet(packet, ethernet, ETH_IPV4)?;
    *packet.header_mut::<Ipv4Hdr>(L3).ok_or(Counter::DropTable)? = ip;
    Ok(())
}

/// As [`put_v4`].
#[inline(always)]
pub(crate) fn put_v6<P: PacketMut + ?Sized>(
    packet: &mut P,
    ethernet: EthHdr,
    ip: Ipv6Hdr,
) -> Result<(), Counter> {
    put_ethernet(packet, ethernet, ETH_IPV6)?;
    *packet.header_mut::<Ipv6Hdr>(L3).ok_or(Counter::DropTable)? = ip;
    Ok(())
}

#[inline(always)]
fn put_ethernet<P: PacketMut + ?Sized>(
    packet: &mut P,
    ethernet: EthHdr,
    ether_type: u16,
) -> Result<(), Counter> {
    *packet.header_mut::<EthHdr>(0).ok_or(Counter::DropTable)? = EthHdr {
        ether_type: ether_type.to_be(),
        ..ethernet
    };
    Ok(())
}
