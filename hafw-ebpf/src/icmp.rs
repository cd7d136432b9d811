//! ICMP errors about what a backend sent in a VIP's name: "fragmentation needed", above all, must
//! reach the backend, or its large segments vanish (RFC 1191).

use hafw_common::{
    proto::{IP_TCP, IP_UDP},
    service::ServiceKey,
    v4_mapped,
};
use network_types::{icmp::Icmpv4Hdr, ip::Ipv4Hdr};

use crate::{
    packet::Packet,
    steer::Flow,
    wire::{
        ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, Ports, is_later_fragment,
    },
};

/// The datagram that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// Its header.
    pub ip: Ipv4Hdr,
    /// Its ports.
    pub ports: Ports,
    /// Where in the frame they are.
    pub at: usize,
}

/// The flow that an ICMP error (its header at `icmp`) to the VIP is about, in the direction from
/// the client: the datagram it quotes went from the VIP to the client. `None` for everything else.
#[inline(always)]
pub fn flow_of_error<P: Packet + ?Sized>(
    packet: &P,
    ip: &Ipv4Hdr,
    icmp: usize,
) -> Option<Flow<[u8; 4]>> {
    let Quoted {
        ip: quoted, ports, ..
    } = quoted(packet, ip, icmp)?;
    if quoted.src_addr != ip.dst_addr {
        return None;
    }
    let key = ServiceKey {
        address: v4_mapped(quoted.src_addr),
        port: ports.source,
        protocol: quoted.proto,
        reserved: 0,
    };
    Some(Flow {
        client: quoted.dst_addr,
        client_port: ports.destination,
        key,
    })
}

/// What an ICMP error (its header at `icmp`) quotes (RFC 792: at least the header and 8 bytes
/// more), if it is TCP or UDP. `None` for everything else.
#[inline(always)]
pub fn quoted<P: Packet + ?Sized>(packet: &P, ip: &Ipv4Hdr, icmp: usize) -> Option<Quoted> {
    let kind = packet.header::<Icmpv4Hdr>(icmp)?.type_;
    if !matches!(
        kind,
        ICMP_UNREACHABLE | ICMP_TIME_EXCEEDED | ICMP_PARAMETER_PROBLEM
    ) {
        return None;
    }
    let quoted = *packet.header::<Ipv4Hdr>(icmp + Icmpv4Hdr::LEN)?;
    let header = usize::from(quoted.ihl());
    let needed = Icmpv4Hdr::LEN + header + size_of::<Ports>();
    if quoted.version() != 4
        || header < Ipv4Hdr::LEN
        || is_later_fragment(&quoted)
        || !matches!(quoted.proto, IP_TCP | IP_UDP)
        || usize::from(ip.tot_len()) < usize::from(ip.ihl()) + needed
    {
        return None;
    }
    let at = icmp + Icmpv4Hdr::LEN + header;
    let ports = *packet.header::<Ports>(at)?;
    Some(Quoted {
        ip: quoted,
        ports,
        at,
    })
}
