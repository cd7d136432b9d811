//! What a backend does whose kernel lacks the tunnel's device: a datagram that came through an `ipip`
//! or `gue` tunnel is taken out of it ([`crate::tunnel`] put it in), and goes up the stack as if it
//! had come alone.

use hafw_common::{
    decap::DecapCounter,
    mac_to_word,
    proto::{ETH_IPV4, ETH_IPV6, IP_IPIP, IP_IPV6, IP_UDP},
    v4_mapped,
};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    checksum::{adjust, difference},
    ipv4,
    ipv6::{Ip, L4},
    packet::PacketMut,
    path::L3,
    wire::{Quad, is_fragment},
};

/// What the program is told.
pub trait Settings {
    /// The interface's MAC, see [`mac_to_word`].
    fn mac(&self) -> u64;
    /// The port of `gue` tunnels, network order.
    fn gue_port(&self) -> [u8; 2];
    /// Whether tunnels may come from this address, IPv4 as [`v4_mapped`].
    fn is_source(&self, address: [u8; 16]) -> bool;
}

/// The headers around an inner datagram.
#[derive(Clone, Copy)]
struct Outer {
    source: [u8; 16],
    /// Bytes of IP header.
    header: usize,
    /// Bytes after it.
    payload: usize,
    protocol: u8,
    /// The congestion mark of RFC 3168.
    ecn: u8,
    is_fragment: bool,
}

/// Takes a datagram out of its tunnel, and drops what may not come through one. Everything else is
/// left as it was.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, S: Settings>(packet: &mut P, settings: &S) -> DecapCounter {
    let Some(ethernet) = packet.header::<EthHdr>(0) else {
        return DecapCounter::Pass;
    };
    let ethernet = *ethernet;
    if mac_to_word(ethernet.dst_addr) != settings.mac() {
        return DecapCounter::Pass;
    }
    let outer = match u16::from_be(ethernet.ether_type) {
        ETH_IPV4 => outer_v4(packet),
        ETH_IPV6 => outer_v6(packet),
        _ => None,
    };
    let Some(outer) = outer else {
        return DecapCounter::Pass;
    };
    match take_out(packet, settings, ethernet, outer) {
        Ok(()) => DecapCounter::Decapsulated,
        Err(counter) => counter,
    }
}

/// None where it is no header, or has options, which no tunnel has.
#[inline(always)]
fn outer_v4<P: PacketMut + ?Sized>(packet: &P) -> Option<Outer> {
    let ip = packet.header::<Ipv4Hdr>(L3)?;
    if !ipv4::is_sound(packet, ip) || ipv4::header_length(ip) != Ipv4Hdr::LEN {
        return None;
    }
    Some(Outer {
        source: v4_mapped(ip.src_addr),
        header: Ipv4Hdr::LEN,
        payload: ipv4::total_length(ip) - Ipv4Hdr::LEN,
        protocol: ip.proto,
        ecn: ip.tos & ECN,
        is_fragment: is_fragment(ip),
    })
}

/// As [`outer_v4`]. Fragments are behind an extension header, and not looked at.
#[inline(always)]
fn outer_v6<P: PacketMut + ?Sized>(packet: &P) -> Option<Outer> {
    let ip = Ip::of(packet)?;
    if !ip.is_sound(packet) {
        return None;
    }
    let header = packet.header::<Ipv6Hdr>(L3)?;
    Some(Outer {
        source: ip.source.octets(),
        header: Ipv6Hdr::LEN,
        payload: ip.payload,
        protocol: ip.next_header,
        ecn: (u32::from_be_bytes(header.vcf) >> 20) as u8 & ECN,
        is_fragment: false,
    })
}

/// The two bits of a type of service that RFC 3168 has.
const ECN: u8 = 3;
/// In them: congestion was met.
const CONGESTION: u8 = 3;

#[inline(always)]
fn take_out<P: PacketMut + ?Sized, S: Settings>(
    packet: &mut P,
    settings: &S,
    ethernet: EthHdr,
    outer: Outer,
) -> Result<(), DecapCounter> {
    // Two places for what follows, both constant to the verifier.
    let (at, family) = if outer.header == Ipv4Hdr::LEN {
        carried(packet, settings, outer, L3 + Ipv4Hdr::LEN)?
    } else {
        carried(packet, settings, outer, L4)?
    };
    if outer.is_fragment {
        return Err(DecapCounter::DropFragment);
    }
    if !settings.is_source(outer.source) {
        return Err(DecapCounter::DropSource);
    }
    let payload = outer
        .payload
        .checked_sub(at - L3 - outer.header)
        .ok_or(DecapCounter::DropMalformed)?;
    if !packet.pull_front(at - L3) {
        return Err(DecapCounter::DropMalformed);
    }
    *packet
        .header_mut::<EthHdr>(0)
        .ok_or(DecapCounter::DropMalformed)? = EthHdr {
        ether_type: family.to_be(),
        ..ethernet
    };
    if family == ETH_IPV4 {
        inner_v4(packet, payload, outer.ecn)
    } else {
        inner_v6(packet, payload, outer.ecn)
    }
}

/// Where the inner datagram begins, and its EtherType.
#[inline(always)]
fn carried<P: PacketMut + ?Sized, S: Settings>(
    packet: &P,
    settings: &S,
    outer: Outer,
    at: usize,
) -> Result<(usize, u16), DecapCounter> {
    match outer.protocol {
        IP_IPIP => Ok((at, ETH_IPV4)),
        IP_IPV6 => Ok((at, ETH_IPV6)),
        // Of fragments, the first has the port; the later ones can't be told from others.
        IP_UDP => {
            let udp = packet.header::<UdpHdr>(at).ok_or(DecapCounter::Pass)?;
            if udp.dst != settings.gue_port() {
                return Err(DecapCounter::Pass);
            }
            in_gue(packet, at + UdpHdr::LEN)
        }
        _ => Err(DecapCounter::Pass),
    }
}

/// Behind a UDP header: variant 1 has the datagram itself, variant 0, as Linux's IPVS sends it, a
/// header of four bytes and perhaps options, which are refused.
#[inline(always)]
fn in_gue<P: PacketMut + ?Sized>(packet: &P, at: usize) -> Result<(usize, u16), DecapCounter> {
    let [first, protocol, ..] = packet
        .header::<Quad>(at)
        .ok_or(DecapCounter::DropMalformed)?
        .0;
    match (first >> 4, first, protocol) {
        (4, ..) => Ok((at, ETH_IPV4)),
        (6, ..) => Ok((at, ETH_IPV6)),
        (_, 0, IP_IPIP) => Ok((at + size_of::<Quad>(), ETH_IPV4)),
        (_, 0, IP_IPV6) => Ok((at + size_of::<Quad>(), ETH_IPV6)),
        _ => Err(DecapCounter::DropMalformed),
    }
}

/// The inner datagram must be one, and fit the outer; a mark of congestion is carried over (RFC 6040
/// §4.2), and where the inner's sender would not understand it, it is a loss.
#[inline(always)]
fn inner_v4<P: PacketMut + ?Sized>(
    packet: &mut P,
    payload: usize,
    ecn: u8,
) -> Result<(), DecapCounter> {
    let ip = *packet
        .header::<Ipv4Hdr>(L3)
        .ok_or(DecapCounter::DropMalformed)?;
    if !ipv4::is_sound(packet, &ip) || ipv4::total_length(&ip) > payload {
        return Err(DecapCounter::DropMalformed);
    }
    if ecn != CONGESTION || ip.tos & ECN == CONGESTION {
        return Ok(());
    }
    if ip.tos & ECN == 0 {
        return Err(DecapCounter::DropCongested);
    }
    let marked = packet
        .header_mut::<Ipv4Hdr>(L3)
        .ok_or(DecapCounter::DropMalformed)?;
    marked.tos = ip.tos | CONGESTION;
    marked.check = adjust(
        ip.check,
        difference([ip.vihl, ip.tos], [ip.vihl, marked.tos]),
    );
    Ok(())
}

/// As [`inner_v4`].
#[inline(always)]
fn inner_v6<P: PacketMut + ?Sized>(
    packet: &mut P,
    payload: usize,
    ecn: u8,
) -> Result<(), DecapCounter> {
    let ip = Ip::of(packet).ok_or(DecapCounter::DropMalformed)?;
    if !ip.is_sound(packet) || Ipv6Hdr::LEN + ip.payload > payload {
        return Err(DecapCounter::DropMalformed);
    }
    if ecn != CONGESTION {
        return Ok(());
    }
    // The mark is in the second byte's bits 4 and 5.
    let header = packet
        .header_mut::<Ipv6Hdr>(L3)
        .ok_or(DecapCounter::DropMalformed)?;
    match header.vcf[1] >> 4 & ECN {
        0 => Err(DecapCounter::DropCongested),
        _ => {
            header.vcf[1] |= CONGESTION << 4;
            Ok(())
        }
    }
}
