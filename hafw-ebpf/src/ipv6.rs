//! IPv6: adverts, Neighbor Discovery, traffic to a VIP, what `nat` backends answer, and the rest,
//! which passes at the price of two look-ups in filters.
//!
//! Extension headers are not walked. What concerns VRRP or Neighbor Discovery never has one, and of
//! traffic to a VIP only what could be a service's matters: a flow is known by its ports, and the
//! two cannot be told apart behind a header that only some packets of a flow have.

use core::mem::offset_of;

use hafw_common::{
    counters::Counter,
    iface::Iface,
    proto::{IP_FRAGMENT, IP_ICMPV6, IP_IPV6, IP_TCP, IP_UDP, IP_VRRP, VRRP_GROUP_V6},
    service::ServiceKey,
    vip::{VIP_HAS_SERVICE, filter_bit6},
};
use network_types::{ip::Ipv6Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    advert,
    checksum::Sum,
    icmpv6,
    local::{self, Segment},
    nat6, nd,
    packet::{Packet, PacketMut},
    path::{Addressed, L3, Outcome},
    steer::{self, Datagram, Flow},
    tables::{BackendWords, Ends, Tables},
    too_big,
    wire::{Ports, is_extension},
};

/// What follows the fixed header.
pub(crate) const L4: usize = L3 + Ipv6Hdr::LEN;

/// An address as two words, as they lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its first eight bytes.
    pub first: u64,
    /// Its last eight bytes.
    pub second: u64,
}

impl Address {
    /// The unspecified address.
    pub const UNSPECIFIED: Self = Self {
        first: 0,
        second: 0,
    };

    /// In network order.
    #[must_use]
    #[inline(always)]
    pub fn octets(self) -> [u8; 16] {
        // Not as a u128: LLVM 22 crashes over copies that are aligned to 16 bytes.
        bytemuck::cast([self.first, self.second])
    }

    /// Whether it is a group.
    #[must_use]
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        u64::from_be(self.first) >> 56 == 0xff
    }
}

impl From<[u8; 16]> for Address {
    #[inline(always)]
    fn from(octets: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(octets);
        Self {
            first: ((number >> 64) as u64).to_be(),
            second: (number as u64).to_be(),
        }
    }
}

/// What an IPv6 header says.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Version.
    pub version: u8,
    /// Bytes after the fixed header.
    pub payload: usize,
    /// Protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
}

impl Ip {
    /// The header of a frame; `None` if it lacks part of it.
    #[inline(always)]
    pub(crate) fn of<P: Packet + ?Sized>(packet: &P) -> Option<Self> {
        let ip = packet.header::<Ipv6Hdr>(L3)?;
        Some(Self {
            version: ip.version(),
            payload: usize::from(u16::from_be_bytes(ip.payload_len)),
            next_header: ip.next_hdr,
            hop_limit: ip.hop_limit,
            source: packet.address(SOURCE)?,
            destination: packet.address(DESTINATION)?,
        })
    }

    /// Whether it agrees with the frame.
    #[inline(always)]
    pub(crate) fn is_sound<P: PacketMut + ?Sized>(&self, packet: &P) -> bool {
        self.version == 6 && packet.holds(L4 + self.payload)
    }

    /// The sum of the pseudo-header of RFC 8200 §8.1 for a message of `length` bytes.
    #[inline(always)]
    pub(crate) fn pseudo_header(&self, length: usize) -> Sum {
        let [high, low] = (length as u16).to_be_bytes();
        Sum::default()
            .and_address(self.source)
            .and_address(self.destination)
            .and([0, 0, high, low])
            .and([0, 0, 0, self.next_header])
    }
}

/// Decides over an IPv6 frame.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
) -> Outcome {
    let (Some(ip), Some(destination)) = (packet.header::<Ipv6Hdr>(L3), packet.address(DESTINATION))
    else {
        return Counter::PassRunt.into();
    };
    let next_header = ip.next_hdr;
    if next_header == IP_VRRP {
        return advert::process_v6(packet, tables).into();
    }
    let mut ifindex = 0;
    let mut counter = if next_header != IP_ICMPV6 && !may_be_vip(tables, destination) {
        to_no_vip(next_header, destination, addressed)
    } else {
        concerned(packet, tables, iface, addressed, &mut ifindex)
    };
    if counter == Counter::PassIpv6
        && addressed == Addressed::ToUs
        && nat6::may_be_reply(packet, tables, next_header)
    {
        counter = nat6::reply(packet, tables, iface, &mut ifindex);
    }
    Outcome { counter, ifindex }
}

pub(crate) const SOURCE: usize = L3 + offset_of!(Ipv6Hdr, src_addr);
const DESTINATION: usize = L3 + offset_of!(Ipv6Hdr, dst_addr);

/// What the filter says.
#[inline(always)]
pub(crate) fn may_be_vip<T: Tables>(tables: &T, address: Address) -> bool {
    let (word, bit) = filter_bit6(address.octets());
    tables.filter_word(word) & bit != 0
}

/// To no VIP, but perhaps to VRRP's group.
#[inline(always)]
fn to_no_vip(next_header: u8, destination: Address, addressed: Addressed) -> Counter {
    if addressed == Addressed::ToUs
        || !is_extension(next_header)
        || destination != Address::from(VRRP_GROUP_V6)
    {
        Counter::PassIpv6
    } else if next_header == IP_FRAGMENT {
        Counter::AdvertFragment
    } else {
        Counter::AdvertExtension
    }
}

/// Decides over what may be to a VIP, and over ICMPv6. `ifindex`: set where the verdict is a
/// redirect.
///
/// A function of its own in the program: stack frames add up to 512 bytes at most, so that IPv4's
/// and an advert's must not be beneath it.
#[inline(never)]
fn concerned<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
    ifindex: &mut u32,
) -> Counter {
    let Some(ip) = Ip::of(packet) else {
        return Counter::PassRunt;
    };
    if ip.next_header == IP_ICMPV6 {
        if let Some(counter) = nd::process(packet, tables, iface, &ip) {
            return counter;
        }
        if !may_be_vip(tables, ip.destination) {
            return Counter::PassIpv6;
        }
    }
    match addressed {
        Addressed::ToUs => {
            let outcome = to_vip(packet, tables, iface, &ip);
            *ifindex = outcome.ifindex;
            outcome.counter
        }
        Addressed::ToGroup => unless_foreign(tables, &ip, Counter::PassGroup),
    }
}

/// A frame to an address that is a VIP, but for the filter's false positives.
#[inline(always)]
fn to_vip<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ip,
) -> Outcome {
    let contents = if ip.is_sound(packet) {
        contents(packet, ip)
    } else {
        Err(Malformed)
    };
    let Ok(Contents { flow, segment }) = contents else {
        return unless_foreign(tables, ip, Counter::DropMalformed).into();
    };
    if let Some(flow) = flow
        && let Some(service) = tables.service(&flow.key)
    {
        return steer::process(packet, tables, iface, &service, &flow, segment, ip);
    }
    match tables.vip(ip.destination.octets()) {
        None => Counter::PassIpv6.into(),
        Some(vip) if vip.flags & VIP_HAS_SERVICE != 0 && is_extension(ip.next_header) => {
            if ip.next_header == IP_FRAGMENT {
                Counter::DropFragment.into()
            } else {
                Counter::DropExtension.into()
            }
        }
        Some(vip) => {
            let ends = || ends(ip, segment.ports);
            local::process(packet, tables, iface, vip, segment, ip.source, ends)
        }
    }
}

impl Datagram for Ip {
    #[inline(always)]
    fn length(&self) -> usize {
        Ipv6Hdr::LEN + self.payload
    }

    #[inline(always)]
    fn rewrite<P: PacketMut + ?Sized>(
        &self,
        packet: &mut P,
        backend: BackendWords<'_>,
    ) -> Result<(), Counter> {
        nat6::to_backend(packet, self, backend)
    }

    const PROTOCOL: u8 = IP_IPV6;

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn traffic_class<P: PacketMut + ?Sized>(&self, packet: &P) -> u8 {
        let header = packet.header::<Ipv6Hdr>(L3);
        header.map_or(0, |ip| (u32::from_be_bytes(ip.vcf) >> 20) as u8)
    }

    #[inline(always)]
    fn lower_hop_limit<P: PacketMut + ?Sized>(&self, packet: &mut P) -> Result<(), Counter> {
        let ip = packet.header_mut::<Ipv6Hdr>(L3);
        ip.ok_or(Counter::DropTable)?.hop_limit = self.hop_limit - 1;
        Ok(())
    }

    #[inline(always)]
    fn too_big<P: PacketMut + ?Sized, T: Tables>(
        &self,
        packet: &mut P,
        tables: &T,
        mtu: usize,
    ) -> Outcome {
        too_big::v6(packet, tables, self, mtu)
    }
}

/// What a datagram carries, as far as it matters here.
#[derive(Default)]
struct Contents {
    /// The flow that it belongs to, if it can be one of a service.
    flow: Option<Flow<[u8; 16]>>,
    /// Its TCP segment.
    segment: Segment,
}

/// A datagram that ends before its L4 header does.
struct Malformed;

#[inline(always)]
fn contents<P: PacketMut + ?Sized>(packet: &P, ip: &Ip) -> Result<Contents, Malformed> {
    match ip.next_header {
        IP_TCP => {
            let tcp = packet
                .header::<TcpHdr>(L4)
                .filter(|_| ip.payload >= TcpHdr::LEN);
            let segment = Segment::from(tcp.ok_or(Malformed)?);
            Ok(Contents {
                flow: Some(flow(ip, segment.ports)),
                segment,
            })
        }
        IP_UDP => {
            let udp = packet
                .header::<UdpHdr>(L4)
                .filter(|_| ip.payload >= UdpHdr::LEN);
            let UdpHdr { src, dst, .. } = *udp.ok_or(Malformed)?;
            let ports = Ports {
                source: src,
                destination: dst,
            };
            Ok(Contents {
                flow: Some(flow(ip, ports)),
                segment: Segment::default(),
            })
        }
        IP_ICMPV6 => Ok(Contents {
            flow: icmpv6::flow_of_error(packet, ip),
            segment: Segment::default(),
        }),
        _ => Ok(Contents::default()),
    }
}

#[inline(always)]
fn flow(ip: &Ip, ports: Ports) -> Flow<[u8; 16]> {
    let key = ServiceKey {
        address: ip.destination.octets(),
        port: ports.destination,
        protocol: ip.next_header,
        reserved: 0,
    };
    Flow {
        client: ip.source.octets(),
        client_port: ports.source,
        key,
    }
}

#[inline(always)]
fn ends(ip: &Ip, ports: Ports) -> Ends {
    Ends {
        source: ip.source.octets(),
        destination: ip.destination.octets(),
        source_port: ports.source,
        destination_port: ports.destination,
    }
}

/// `counter`, unless the filter was wrong and the destination is no VIP.
#[inline(always)]
fn unless_foreign<T: Tables>(tables: &T, ip: &Ip, counter: Counter) -> Counter {
    match tables.vip(ip.destination.octets()) {
        Some(_) => counter,
        None => Counter::PassIpv6,
    }
}
