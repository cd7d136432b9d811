//! ICMPv6 errors about what a backend sent in a VIP's name: "packet too big", above all, must reach
//! the backend, or its large segments vanish (RFC 8201).

use core::mem::offset_of;

use hafw_common::{
    proto::{IP_TCP, IP_UDP},
    service::ServiceKey,
};
use network_types::ip::Ipv6Hdr;

use crate::{
    ipv6::{Ip, L4},
    packet::Packet,
    steer::Flow,
    wire::{ICMPV6_ERRORS, Icmpv6, Ports},
};

/// The flow that an ICMPv6 error to the VIP is about, in the direction from the client: the
/// datagram it quotes (RFC 4443 §3: as much of it as fits) went from the VIP to the client. `None`
/// for everything else, and for a quoted datagram with extension headers.
#[inline(always)]
pub fn flow_of_error<P: Packet + ?Sized>(packet: &P, ip: &Ip) -> Option<Flow<[u8; 16]>> {
    let kind = packet.header::<Icmpv6>(L4)?.kind;
    if !ICMPV6_ERRORS.contains(&kind) {
        return None;
    }
    const QUOTED: usize = L4 + size_of::<Icmpv6>();
    const NEEDED: usize = size_of::<Icmpv6>() + Ipv6Hdr::LEN + size_of::<Ports>();
    let quoted = packet.header::<Ipv6Hdr>(QUOTED)?;
    if quoted.version() != 6
        || packet.address(QUOTED + offset_of!(Ipv6Hdr, src_addr))? != ip.destination
        || !matches!(quoted.next_hdr, IP_TCP | IP_UDP)
        || ip.payload < NEEDED
    {
        return None;
    }
    let client = packet.address(QUOTED + offset_of!(Ipv6Hdr, dst_addr))?;
    let ports = packet.header::<Ports>(QUOTED + Ipv6Hdr::LEN)?;
    let key = ServiceKey {
        address: ip.destination.octets(),
        port: ports.source,
        protocol: quoted.next_hdr,
        reserved: 0,
    };
    Some(Flow {
        client: client.octets(),
        client_port: ports.destination,
        key,
    })
}
