//! `ipip` mode: the datagram goes to the backend inside another one (RFC 2003).

use hafw_common::{
    counters::Counter,
    proto::{ETH_IPV4, IP_ICMP, IP_IPIP},
};
use network_types::{eth::EthHdr, icmp::Icmpv4Hdr, ip::Ipv4Hdr};

use crate::{
    checksum::{Sum, adjust, difference},
    ipv4::{header_length, total_length},
    packet::PacketMut,
    path::{L3, Outcome},
    tables::{BackendWords, Tables},
    wire::{ICMP_UNREACHABLE, Quote},
};

/// What the outer header adds.
pub const OVERHEAD: usize = Ipv4Hdr::LEN;
/// No link carries less (RFC 791): shorter datagrams are not compared with the link's MTU.
const ALWAYS_FITS: usize = 576;
/// [`Icmpv4Hdr::code`] of "fragmentation needed" (RFC 1191).
const FRAGMENTATION_NEEDED: u8 = 4;

/// Puts a datagram of a flow with this hash into one to the backend. One that is too long for the
/// link becomes an answer to its sender that says so.
///
/// # Errors
/// What becomes of the frame instead.
#[inline(always)]
pub fn encapsulate<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ipv4Hdr,
    backend: BackendWords<'_>,
    hash: u32,
) -> Result<(), Outcome> {
    if ip.ttl <= 1 {
        return Err(Counter::DropTtl.into());
    }
    let length = total_length(ip) + OVERHEAD;
    if length > ALWAYS_FITS
        && let Some(mtu) = tables.mtu(backend.ifindex() as u32)
        && length > mtu as usize
    {
        return Err(too_big(packet, ip, (mtu as usize - OVERHEAD) as u16));
    }
    if length > 0xffff {
        return Err(Counter::DropTooLong.into());
    }
    let ethernet = *packet.header::<EthHdr>(0).ok_or(Counter::DropTable)?;
    if !packet.push_front(OVERHEAD) {
        return Err(Counter::DropTooLong.into());
    }
    // The inner datagram's marks count on the way too (RFC 6040).
    let ends = (source(hash), backend.v4_address());
    let outer = header(ip.tos, IP_IPIP, length as u16, ends);
    put(packet, ethernet, outer)?;
    let inner = packet
        .header_mut::<Ipv4Hdr>(L3 + OVERHEAD)
        .ok_or(Counter::DropTable)?;
    // It was forwarded into the tunnel (RFC 2003 §3.1).
    inner.ttl = ip.ttl - 1;
    inner.check = adjust(ip.check, difference([ip.ttl, 0], [ip.ttl - 1, 0]));
    Ok(())
}

/// The outer source: in a network of its own, and different from flow to flow, so that the
/// backend's card spreads tunnels over its queues as Katran's do.
#[inline(always)]
const fn source(hash: u32) -> [u8; 4] {
    let [_, _, c, d] = hash.to_be_bytes();
    [172, 16, c, d]
}

/// Turns the frame into the ICMP error that tells its sender of the link's MTU (RFC 1191), to be
/// sent back whence it came. It quotes the header and 8 bytes more.
#[inline(always)]
fn too_big<P: PacketMut + ?Sized>(packet: &mut P, ip: &Ipv4Hdr, mtu: u16) -> Outcome {
    answer(packet, ip, mtu)
        .map_or(Counter::DropTooLong, |()| Counter::TxTooBig)
        .into()
}

#[inline(always)]
fn answer<P: PacketMut + ?Sized>(packet: &mut P, ip: &Ipv4Hdr, mtu: u16) -> Option<()> {
    const ADDED: usize = Ipv4Hdr::LEN + Icmpv4Hdr::LEN;
    const LENGTH: usize = ADDED + size_of::<Quote>();
    // A quotation of another length would have to be summed up by a loop.
    if header_length(ip) != Ipv4Hdr::LEN {
        return None;
    }
    let came = *packet.header::<EthHdr>(0)?;
    let quote = *packet.header::<Quote>(L3)?;
    if !packet.push_front(ADDED) || !packet.truncate(EthHdr::LEN + LENGTH) {
        return None;
    }
    let ethernet = EthHdr {
        dst_addr: came.src_addr,
        src_addr: came.dst_addr,
        ..came
    };
    let ends = (ip.dst_addr, ip.src_addr);
    put(packet, ethernet, header(0, IP_ICMP, LENGTH as u16, ends)).ok()?;
    let [high, low] = mtu.to_be_bytes();
    let kind = [ICMP_UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0];
    let sum = Sum::default().and(kind).and([0, 0, high, low]);
    *packet.header_mut::<Icmpv4Hdr>(L3 + Ipv4Hdr::LEN)? = Icmpv4Hdr {
        type_: ICMP_UNREACHABLE,
        code: FRAGMENTATION_NEEDED,
        check: sum.and_all(&quote.0).complement(),
        data: [0, 0, high, low],
    };
    Some(())
}

/// A header without options, that asks not to be fragmented and so needs no identification
/// (RFC 6864).
#[inline(always)]
fn header(tos: u8, proto: u8, length: u16, (src_addr, dst_addr): ([u8; 4], [u8; 4])) -> Ipv4Hdr {
    const TTL: u8 = 64;
    let [high, low] = length.to_be_bytes();
    let sum = Sum::default()
        .and([0x45, tos, high, low])
        .and([0, 0, 0x40, 0])
        .and([TTL, proto, 0, 0])
        .and(src_addr)
        .and(dst_addr);
    Ipv4Hdr {
        vihl: 0x45,
        tos,
        tot_len: [high, low],
        id: [0; 2],
        frags: [0x40, 0],
        ttl: TTL,
        proto,
        check: sum.complement(),
        src_addr,
        dst_addr,
    }
}

/// Writes the headers of a frame that has grown.
#[inline(always)]
fn put<P: PacketMut + ?Sized>(
    packet: &mut P,
    ethernet: EthHdr,
    ip: Ipv4Hdr,
) -> Result<(), Counter> {
    *packet.header_mut::<EthHdr>(0).ok_or(Counter::DropTable)? = EthHdr {
        ether_type: ETH_IPV4.to_be(),
        ..ethernet
    };
    *packet.header_mut::<Ipv4Hdr>(L3).ok_or(Counter::DropTable)? = ip;
    Ok(())
}
