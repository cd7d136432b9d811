//! What does not fit into a tunnel becomes the ICMP error that tells its sender of the MTU (RFC 1191,
//! RFC 8201), to be sent back whence it came.

use hafw_common::{
    counters::Counter,
    proto::{IP_ICMP, IP_ICMPV6, IPV6_MIN_MTU},
};
use network_types::{
    eth::EthHdr,
    icmp::Icmpv4Hdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use crate::{
    checksum::Sum,
    ipv4::header_length,
    ipv6::{Ip, L4},
    packet::PacketMut,
    path::{L3, Outcome},
    steer::Datagram as _,
    tables::Tables,
    tunnel::{header_v4, header_v6, put_v4, put_v6},
    wire::{ICMP_UNREACHABLE, ICMPV6_TOO_BIG, Icmpv6, Quote},
};

/// [`Icmpv4Hdr::code`] of "fragmentation needed" (RFC 1191).
const FRAGMENTATION_NEEDED: u8 = 4;

/// The error over IPv4. It quotes the header and 8 bytes more.
#[inline(always)]
pub(crate) fn v4<P: PacketMut + ?Sized>(packet: &mut P, ip: &Ipv4Hdr, mtu: usize) -> Outcome {
    answer_v4(packet, ip, mtu as u16)
        .map_or(Counter::DropTooLong, |()| Counter::TxTooBig)
        .into()
}

#[inline(always)]
fn answer_v4<P: PacketMut + ?Sized>(packet: &mut P, ip: &Ipv4Hdr, mtu: u16) -> Option<()> {
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
    let ends = (ip.dst_addr, ip.src_addr);
    let header = header_v4(0, IP_ICMP, LENGTH as u16, ends);
    put_v4(packet, back(came), header).ok()?;
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

/// The error over IPv6. It quotes as much as fits into the least MTU (RFC 4443 §2.4), which no
/// sender may be asked to go below: what is no longer than that is dropped.
#[inline(always)]
pub(crate) fn v6<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ip,
    mtu: usize,
) -> Outcome {
    let mtu = mtu.max(IPV6_MIN_MTU);
    if ip.length() <= mtu {
        return Counter::DropTooLong.into();
    }
    answer_v6(packet, tables, ip, mtu as u16)
        .map_or(Counter::DropTooLong, |()| Counter::TxTooBig)
        .into()
}

#[inline(always)]
fn answer_v6<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ip,
    mtu: u16,
) -> Option<()> {
    const ADDED: usize = Ipv6Hdr::LEN + size_of::<Icmpv6>();
    const QUOTED: usize = IPV6_MIN_MTU - ADDED;
    const MESSAGE: usize = size_of::<Icmpv6>() + QUOTED;
    let came = *packet.header::<EthHdr>(0)?;
    let quote = {
        // For the sum alone.
        let mut record = tables.record()?;
        packet.copy(L3, QUOTED, &mut record.message)?
    };
    if !packet.push_front(ADDED) || !packet.truncate(EthHdr::LEN + IPV6_MIN_MTU) {
        return None;
    }
    let ends = (ip.destination.octets(), ip.source.octets());
    let header = header_v6((0, 0), IP_ICMPV6, MESSAGE as u16, ends);
    put_v6(packet, back(came), header).ok()?;
    let [high, low] = mtu.to_be_bytes();
    let [length_high, length_low] = (MESSAGE as u16).to_be_bytes();
    let sum = Sum::default()
        .and_address(ip.source)
        .and_address(ip.destination)
        .and([0, 0, length_high, length_low])
        .and([0, 0, 0, IP_ICMPV6])
        .and([ICMPV6_TOO_BIG, 0, 0, 0])
        .and([0, 0, high, low])
        .and_sum(quote);
    *packet.header_mut::<Icmpv6>(L4)? = Icmpv6 {
        kind: ICMPV6_TOO_BIG,
        code: 0,
        checksum: sum.checksum(),
        rest: [0, 0, high, low],
    };
    Some(())
}

/// To the station that sent it.
#[inline(always)]
const fn back(came: EthHdr) -> EthHdr {
    EthHdr {
        dst_addr: came.src_addr,
        src_addr: came.dst_addr,
        ether_type: came.ether_type,
    }
}
