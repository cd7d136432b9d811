//! ICMP errors about what a backend sent in a VIP's name: "fragmentation needed", above all, must
//! reach the backend, or its large segments vanish (RFC 1191).

use hafw_common::{
    proto::{IP_TCP, IP_UDP},
    service::ServiceKey,
};

use crate::{
    packet::Packet,
    steer::Flow,
    wire::{
        ICMP_LEN, ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, Icmp, Ipv4, Ports,
    },
};

/// The flow that an ICMP error (its header at `icmp`) to the VIP is about, in the direction from
/// the client: the datagram it quotes (RFC 792: at least its header and 8 bytes more) went from
/// the VIP to the client. `None` for everything else.
#[inline(always)]
pub fn flow_of_error<P: Packet + ?Sized>(packet: &P, ip: &Ipv4, icmp: usize) -> Option<Flow> {
    let kind = packet.header::<Icmp>(icmp)?.kind;
    if !matches!(
        kind,
        ICMP_UNREACHABLE | ICMP_TIME_EXCEEDED | ICMP_PARAMETER_PROBLEM
    ) {
        return None;
    }
    let quoted = *packet.header::<Ipv4>(icmp + ICMP_LEN)?;
    let header = quoted.header_length();
    let needed = ICMP_LEN + header + size_of::<Ports>();
    if !quoted.is_version_4()
        || header < size_of::<Ipv4>()
        || quoted.source != ip.destination
        || quoted.is_later_fragment()
        || !matches!(quoted.protocol, IP_TCP | IP_UDP)
        || ip.total_length() < ip.header_length() + needed
    {
        return None;
    }
    let ports = packet.header::<Ports>(icmp + ICMP_LEN + header)?;
    let key = ServiceKey {
        address: quoted.source,
        port: ports.source,
        protocol: quoted.protocol,
        reserved: 0,
    };
    Some(Flow {
        client: quoted.destination,
        client_port: ports.destination,
        key,
    })
}
