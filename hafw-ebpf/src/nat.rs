//! `nat` mode (invariant 8): the destination of what goes to a backend is rewritten, and the source
//! of what comes back. No flow table: where a reply comes from says which service it belongs to.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    nat::{Delta, NatKey, Rewrite},
    proto::{IP_ICMP, IP_TCP, IP_UDP},
    v4_mapped,
    vip::filter_bit,
};
use network_types::{icmp::Icmpv4Hdr, ip::Ipv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    checksum::{adjust, difference},
    icmp::{self, Quoted},
    ipv4::{header_length, is_sound, total_length},
    next_hop::{Way, by_routes, hand_up, send},
    packet::PacketMut,
    path::{L3, Outcome},
    tables::{BackendWords, Query, Tables},
    wire::{Ports, is_fragment, is_later_fragment},
};

/// Which end of a datagram is rewritten; in the datagram that an ICMP error quotes, it is the
/// other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// Rewrites a datagram of a flow, or an ICMP error about one, to go to a backend.
///
/// # Errors
/// Why it cannot be: the frame is to be dropped.
#[inline(always)]
pub fn to_backend<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ipv4Hdr,
    backend: BackendWords<'_>,
) -> Result<(), Counter> {
    let by = Rewrite::from_word(backend.rewrite());
    rewrite(packet, ip, End::Destination, backend.v4_address(), by)
}

/// Sends what a `nat` backend answers on to the client, in the VIP's name. `None` for everything
/// else, which is left as it was.
#[inline(always)]
pub fn reply<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ipv4Hdr,
) -> Option<Outcome> {
    let key = source_key(packet, tables, ip)?;
    let source = tables.nat_source(&key)?;
    if !is_sound(packet, ip) {
        return None;
    }
    let query = Query {
        ifindex: iface.ifindex,
        source: source.address,
        destination: v4_mapped(ip.dst_addr),
        tos: ip.tos,
        protocol: ip.proto,
        length: total_length(ip) as u16,
    };
    let way = by_routes(tables, &query);
    match way {
        // To the node itself: a health check's answer.
        Way::Local => return None,
        Way::Nowhere => return Some(Counter::DropNoRoute.into()),
        Way::Known(_) | Way::Unresolved => {}
    }
    if is_fragment(ip) {
        return Some(Counter::DropFragment.into());
    }
    let by = Rewrite::from_word(source.rewrite);
    let [.., a, b, c, d] = source.address;
    if let Err(counter) = rewrite(packet, ip, End::Source, [a, b, c, d], by) {
        return Some(counter.into());
    }
    let Way::Known(hop) = way else {
        return Some(hand_up(tables, v4_mapped(ip.dst_addr), total_length(ip)));
    };
    let counters = (Counter::TxReply, Counter::RedirectReply);
    Some(send(packet, iface, hop, counters))
}

/// The backend that a datagram would be from. An ICMP error may be from anyone between.
#[inline(always)]
fn source_key<P: PacketMut + ?Sized, T: Tables>(
    packet: &P,
    tables: &T,
    ip: &Ipv4Hdr,
) -> Option<NatKey> {
    if is_later_fragment(ip) {
        return None;
    }
    let l4 = L3 + header_length(ip);
    let (address, port, protocol) = match ip.proto {
        IP_TCP | IP_UDP => {
            is_backend(tables, ip.src_addr)?;
            (ip.src_addr, packet.header::<Ports>(l4)?.source, ip.proto)
        }
        IP_ICMP => {
            let Quoted {
                ip: quoted, ports, ..
            } = icmp::quoted(packet, ip, l4)?;
            is_backend(tables, quoted.dst_addr)?;
            if quoted.src_addr != ip.dst_addr {
                return None;
            }
            (quoted.dst_addr, ports.destination, quoted.proto)
        }
        _ => return None,
    };
    Some(NatKey {
        address: v4_mapped(address),
        port,
        protocol,
        reserved: 0,
    })
}

/// Some, unless the address is certainly no `nat` backend's.
#[inline(always)]
fn is_backend<T: Tables>(tables: &T, address: [u8; 4]) -> Option<()> {
    let (word, bit) = filter_bit(address);
    (tables.nat_filter_word(word) & bit != 0).then_some(())
}

/// Puts another endpoint in place of one end, lowers the time to live, and corrects the checksums.
#[inline(always)]
fn rewrite<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ipv4Hdr,
    end: End,
    address: [u8; 4],
    Rewrite { port, delta }: Rewrite,
) -> Result<(), Counter> {
    if ip.ttl <= 1 {
        return Err(Counter::DropTtl);
    }
    let l4 = L3 + header_length(ip);
    match ip.proto {
        IP_TCP | IP_UDP => rewrite_port(packet, (ip.proto, l4), end, port, delta)?,
        _ => rewrite_quoted(packet, ip, l4, end, address, port)?,
    }
    let lower = difference([ip.ttl, 0], [ip.ttl - 1, 0]);
    // An error may come from a router before the backend, which the difference is not for.
    let moved = if end == End::Source && ip.proto == IP_ICMP {
        Delta::between((ip.src_addr, port), (address, port)).ip
    } else {
        delta.ip
    };
    let check = adjust(adjust(ip.check, lower), moved);
    let ip = packet
        .header_mut::<Ipv4Hdr>(L3)
        .ok_or(Counter::DropMalformed)?;
    ip.ttl -= 1;
    ip.check = check;
    match end {
        End::Source => ip.src_addr = address,
        End::Destination => ip.dst_addr = address,
    }
    Ok(())
}

/// Puts another port in place of a segment's or a datagram's, whose header is at `l4`.
#[inline(always)]
pub(crate) fn rewrite_port<P: PacketMut + ?Sized>(
    packet: &mut P,
    (protocol, l4): (u8, usize),
    end: End,
    port: [u8; 2],
    delta: Delta,
) -> Result<(), Counter> {
    if protocol == IP_TCP {
        let tcp = packet
            .header_mut::<TcpHdr>(l4)
            .ok_or(Counter::DropMalformed)?;
        match end {
            End::Source => tcp.source = port,
            End::Destination => tcp.dest = port,
        }
        tcp.check = adjust(tcp.check, delta.l4);
        return Ok(());
    }
    let udp = packet
        .header_mut::<UdpHdr>(l4)
        .ok_or(Counter::DropMalformed)?;
    match end {
        End::Source => udp.src = port,
        End::Destination => udp.dst = port,
    }
    // 0: none was sent. One that comes out as 0 is sent as all ones (RFC 768).
    if udp.check != [0; 2] {
        let check = adjust(udp.check, delta.l4);
        udp.check = if check == [0; 2] { [0xff; 2] } else { check };
    }
    Ok(())
}

/// Rewrites the datagram that an error quotes, at its other end: it went the other way. Its own
/// header's checksum is corrected, so that the error's sees the change of the port alone. The
/// quoted segment's checksum stays: of TCP's, 8 bytes do not even have it.
#[inline(always)]
fn rewrite_quoted<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ipv4Hdr,
    icmp: usize,
    end: End,
    address: [u8; 4],
    port: [u8; 2],
) -> Result<(), Counter> {
    let Quoted {
        ip: quoted,
        ports,
        at,
    } = icmp::quoted(packet, ip, icmp).ok_or(Counter::DropMalformed)?;
    let (old_address, old_port) = match end {
        End::Source => (quoted.dst_addr, ports.destination),
        End::Destination => (quoted.src_addr, ports.source),
    };
    let inner = packet
        .header_mut::<Ipv4Hdr>(icmp + Icmpv4Hdr::LEN)
        .ok_or(Counter::DropMalformed)?;
    let delta = Delta::between((old_address, [0; 2]), (address, [0; 2]));
    inner.check = adjust(inner.check, delta.ip);
    match end {
        End::Source => inner.dst_addr = address,
        End::Destination => inner.src_addr = address,
    }
    let inner = packet
        .header_mut::<Ports>(at)
        .ok_or(Counter::DropMalformed)?;
    match end {
        End::Source => inner.destination = port,
        End::Destination => inner.source = port,
    }
    let header = packet
        .header_mut::<Icmpv4Hdr>(icmp)
        .ok_or(Counter::DropMalformed)?;
    header.check = adjust(header.check, difference(old_port, port));
    Ok(())
}
