//! ICMPv6 errors about what a backend sent in a VIP's name: "packet too big", above all, must reach
//! the backend, or its large segments vanish (RFC 8201).

use core::mem::offset_of;

use hafw_common::{
    proto::{IP_TCP, IP_UDP},
    service::ServiceKey,
};
use network_types::ip::Ipv6Hdr;

use crate::{
    ipv6::{Address, Ip, L4},
    packet::Packet,
    steer::Flow,
    wire::{ICMPV6_ERRORS, Icmpv6, Ports},
};

/// The datagram that an ICMPv6 error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// Its source.
    pub source: Address,
    /// Its destination.
    pub destination: Address,
    /// Its protocol.
    pub protocol: u8,
    /// Its ports.
    pub ports: Ports,
}

/// Where in the frame its header is.
pub const QUOTED: usize = L4 + size_of::<Icmpv6>();
/// Where in the frame its ports are.
pub const QUOTED_PORTS: usize = QUOTED + Ipv6Hdr::LEN;

/// What an ICMPv6 error quotes (RFC 4443 §3: as much as fits), if it is TCP or UDP without extension
/// headers. `None` for everything else.
#[inline(always)]
pub fn quoted<P: Packet + ?Sized>(packet: &P, ip: &Ip) -> Option<Quoted> {
    const NEEDED: usize = size_of::<Icmpv6>() + Ipv6Hdr::LEN + size_of::<Ports>();
    if !ICMPV6_ERRORS.contains(&packet.header::<Icmpv6>(L4)?.kind) {
        return None;
    }
    let quoted = packet.header::<Ipv6Hdr>(QUOTED)?;
    if quoted.version() != 6 || !matches!(quoted.next_hdr, IP_TCP | IP_UDP) || ip.payload < NEEDED {
        return None;
    }
    let protocol = quoted.next_hdr;
    let ports = *packet.header::<Ports>(QUOTED_PORTS)?;
    Some(Quoted {
        source: packet.address(QUOTED + offset_of!(Ipv6Hdr, src_addr))?,
        destination: packet.address(QUOTED + offset_of!(Ipv6Hdr, dst_addr))?,
        protocol,
        ports,
    })
}

/// The flow that an ICMPv6 error to the VIP is about, in the direction from the client: the
/// datagram it quotes went from the VIP to the client. `None` for everything else.
#[inline(always)]
pub fn flow_of_error<P: Packet + ?Sized>(packet: &P, ip: &Ip) -> Option<Flow<[u8; 16]>> {
    let Quoted {
        source,
        destination,
        protocol,
        ports,
    } = quoted(packet, ip)?;
    if source != ip.destination {
        return None;
    }
    let key = ServiceKey {
        address: ip.destination.octets(),
        port: ports.source,
        protocol,
        reserved: 0,
    };
    Some(Flow {
        client: destination.octets(),
        client_port: ports.destination,
        key,
    })
}
