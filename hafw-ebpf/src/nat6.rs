//! `nat` mode over IPv6: the twin of [`crate::nat`]. There is no header checksum, and ICMPv6 sums
//! up a pseudo-header as TCP and UDP do.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    nat::{NatKey, Rewrite},
    proto::{IP_FRAGMENT, IP_ICMPV6, IP_TCP, IP_UDP},
    vip::filter_bit6,
};
use network_types::{ip::Ipv6Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    checksum::{address_difference, adjust, difference},
    icmpv6::{self, QUOTED, QUOTED_PORTS, Quoted},
    ipv6::{Address, Ip, L4, SOURCE},
    nat::{End, rewrite_port},
    next_hop::{Way, by_routes, hand_up, send},
    packet::PacketMut,
    path::L3,
    steer::Datagram as _,
    tables::{BackendWords, Query, Tables},
    wire::{ICMPV6_ERRORS, Icmpv6, Ports, Quad},
};

/// Rewrites a datagram of a flow, or an ICMPv6 error about one, to go to a backend.
///
/// # Errors
/// Why it cannot be: the frame is to be dropped.
#[inline(always)]
pub fn to_backend<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ip,
    backend: BackendWords<'_>,
) -> Result<(), Counter> {
    let by = Rewrite::from_word(backend.rewrite());
    let address = Address {
        first: backend.address(),
        second: backend.address_end(),
    };
    rewrite(packet, ip, End::Destination, address, by)
}

/// Whether a frame may be what a `nat` backend answers, or an error about what was sent to one. An
/// error may be from anyone between.
#[inline(always)]
pub fn may_be_reply<P: PacketMut + ?Sized, T: Tables>(
    packet: &P,
    tables: &T,
    next_header: u8,
) -> bool {
    if next_header == IP_ICMPV6 {
        return packet
            .header::<Icmpv6>(L4)
            .is_some_and(|icmp| ICMPV6_ERRORS.contains(&icmp.kind));
    }
    packet
        .address(SOURCE)
        .is_some_and(|source| is_backend(tables, source).is_some())
}

/// Sends what a `nat` backend answers on to the client, in the VIP's name; everything else passes as
/// it was. `ifindex`: set where the verdict is a redirect.
///
/// A function of its own in the program, as [`crate::ipv6`]'s others are.
#[inline(never)]
pub fn reply<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ifindex: &mut u32,
) -> Counter {
    let sent = reply_of(packet, tables, iface, ifindex);
    sent.unwrap_or(Counter::PassIpv6)
}

#[inline(always)]
fn reply_of<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ifindex: &mut u32,
) -> Option<Counter> {
    let ip = Ip::of(packet)?;
    let key = source_key(packet, tables, &ip)?;
    let source = tables.nat_source(&key)?;
    if !is_sound(packet, &ip) {
        return None;
    }
    let query = Query {
        ifindex: iface.ifindex,
        source: source.address,
        destination: ip.destination.octets(),
        tos: 0,
        protocol: ip.next_header,
        length: ip.length() as u16,
    };
    let way = by_routes(tables, &query);
    match way {
        // To the node itself: a health check's answer.
        Way::Local => return None,
        Way::Nowhere => return Some(Counter::DropNoRoute),
        Way::Known(_) | Way::Unresolved => {}
    }
    if ip.next_header == IP_FRAGMENT {
        return Some(Counter::DropFragment);
    }
    let by = Rewrite::from_word(source.rewrite);
    let [first, second] = bytemuck::cast(source.address);
    if let Err(counter) = rewrite(packet, &ip, End::Source, Address { first, second }, by) {
        return Some(counter);
    }
    let outcome = match way {
        Way::Known(hop) => send(
            packet,
            iface,
            hop,
            (Counter::TxReply, Counter::RedirectReply),
        ),
        Way::Unresolved | Way::Nowhere | Way::Local => {
            hand_up(tables, query.destination, ip.length())
        }
    };
    *ifindex = outcome.ifindex;
    Some(outcome.counter)
}

/// The header agrees with the frame, and the frame has all of the L4 header.
#[inline(always)]
fn is_sound<P: PacketMut + ?Sized>(packet: &P, ip: &Ip) -> bool {
    let least = match ip.next_header {
        IP_TCP => TcpHdr::LEN,
        IP_UDP => UdpHdr::LEN,
        _ => 0,
    };
    ip.is_sound(packet) && ip.payload >= least
}

/// The backend that a datagram would be from. Of fragments, the first has ports.
#[inline(always)]
fn source_key<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T, ip: &Ip) -> Option<NatKey> {
    let (address, port, protocol) = match ip.next_header {
        IP_TCP | IP_UDP => {
            is_backend(tables, ip.source)?;
            (
                ip.source,
                packet.header::<Ports>(L4)?.source,
                ip.next_header,
            )
        }
        IP_FRAGMENT => {
            is_backend(tables, ip.source)?;
            // Next header, reserved, 13 bits of offset (RFC 8200 §4.5).
            let [protocol, _, high, low] = packet.header::<Quad>(L4)?.0;
            if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                return None;
            }
            let ports = packet.header::<Ports>(L4 + FRAGMENT_HEADER)?;
            (ip.source, ports.source, protocol)
        }
        IP_ICMPV6 => {
            let quoted = icmpv6::quoted(packet, ip)?;
            is_backend(tables, quoted.destination)?;
            if quoted.source != ip.destination {
                return None;
            }
            (
                quoted.destination,
                quoted.ports.destination,
                quoted.protocol,
            )
        }
        _ => return None,
    };
    Some(NatKey {
        address: address.octets(),
        port,
        protocol,
        reserved: 0,
    })
}

/// Bytes of a Fragment header (RFC 8200 §4.5).
const FRAGMENT_HEADER: usize = 8;

/// Some, unless the address is certainly no `nat` backend's.
#[inline(always)]
fn is_backend<T: Tables>(tables: &T, address: Address) -> Option<()> {
    let (word, bit) = filter_bit6(address.octets());
    (tables.nat_filter_word(word) & bit != 0).then_some(())
}

/// Puts another endpoint in place of one end, lowers the hop limit, and corrects the checksums.
#[inline(always)]
fn rewrite<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ip,
    end: End,
    address: Address,
    by: Rewrite,
) -> Result<(), Counter> {
    if ip.hop_limit <= 1 {
        return Err(Counter::DropTtl);
    }
    match ip.next_header {
        IP_TCP | IP_UDP => rewrite_port(packet, (ip.next_header, L4), end, by.port, by.delta)?,
        _ => rewrite_quoted(packet, ip, end, address, by)?,
    }
    let header = packet
        .header_mut::<Ipv6Hdr>(L3)
        .ok_or(Counter::DropMalformed)?;
    header.hop_limit = ip.hop_limit - 1;
    match end {
        End::Source => header.src_addr = address.octets(),
        End::Destination => header.dst_addr = address.octets(),
    }
    Ok(())
}

/// Rewrites the datagram that an error quotes, at its other end: it went the other way. The error's
/// checksum sees both changes of an address, and that of the port. The quoted segment's checksum
/// stays, as over IPv4.
#[inline(always)]
fn rewrite_quoted<P: PacketMut + ?Sized>(
    packet: &mut P,
    ip: &Ip,
    end: End,
    address: Address,
    Rewrite { port, delta }: Rewrite,
) -> Result<(), Counter> {
    let Quoted { ports, .. } = icmpv6::quoted(packet, ip).ok_or(Counter::DropMalformed)?;
    let inner = packet
        .header_mut::<Ipv6Hdr>(QUOTED)
        .ok_or(Counter::DropMalformed)?;
    match end {
        End::Source => inner.dst_addr = address.octets(),
        End::Destination => inner.src_addr = address.octets(),
    }
    let inner = packet
        .header_mut::<Ports>(QUOTED_PORTS)
        .ok_or(Counter::DropMalformed)?;
    // An error may come from a router before the backend, which the difference is not for.
    let (old_port, moved) = match end {
        End::Source => {
            inner.destination = port;
            (ports.destination, address_difference(ip.source, address))
        }
        End::Destination => {
            inner.source = port;
            (ports.source, delta.ip)
        }
    };
    let header = packet
        .header_mut::<Icmpv6>(L4)
        .ok_or(Counter::DropMalformed)?;
    let check = adjust(adjust(header.checksum, delta.ip), moved);
    header.checksum = adjust(check, difference(old_port, port));
    Ok(())
}
