//! IPv4: adverts, traffic to a VIP, what `nat` backends answer, and the rest, which passes at the
//! price of two look-ups in filters.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    proto::{IP_ICMP, IP_IPIP, IP_TCP, IP_UDP, IP_VRRP},
    service::ServiceKey,
    v4_mapped,
    vip::{VIP_HAS_SERVICE, filter_bit},
};
use network_types::{ip::Ipv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    advert,
    checksum::{adjust, difference},
    icmp,
    local::{self, Segment},
    nat,
    packet::PacketMut,
    path::{Addressed, L3, Outcome},
    steer::{self, Datagram, Flow},
    tables::{BackendWords, Ends, Tables},
    too_big,
    wire::{Ports, is_fragment},
};

/// Decides over an IPv4 frame.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
) -> Outcome {
    match packet.header::<Ipv4Hdr>(L3) {
        None => Counter::PassRunt.into(),
        Some(ip) if ip.proto == IP_VRRP => advert::process(packet, tables).into(),
        Some(_) => {
            let mut ifindex = 0;
            let counter = other(packet, tables, iface, addressed, &mut ifindex);
            Outcome { counter, ifindex }
        }
    }
}

/// What is no advert. `ifindex`: set where the verdict is a redirect.
///
/// A function of its own in the program: stack frames add up to 512 bytes at most, so that this one
/// must not be beneath an advert's or IPv6's.
#[inline(never)]
fn other<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
    ifindex: &mut u32,
) -> Counter {
    let Some(&ip) = packet.header::<Ipv4Hdr>(L3) else {
        return Counter::PassRunt;
    };
    let (word, bit) = filter_bit(ip.dst_addr);
    let outcome = if tables.filter_word(word) & bit == 0 {
        None
    } else {
        match addressed {
            Addressed::ToUs => to_vip(packet, tables, iface, &ip),
            Addressed::ToGroup => tables
                .vip(v4_mapped(ip.dst_addr))
                .map(|_| Counter::PassGroup.into()),
        }
    };
    let outcome = outcome
        .or_else(|| match addressed {
            Addressed::ToUs => nat::reply(packet, tables, iface, &ip),
            Addressed::ToGroup => None,
        })
        .unwrap_or(Counter::PassIpv4.into());
    *ifindex = outcome.ifindex;
    outcome.counter
}

/// A frame to an address that is a VIP; `None` if the filter took it for one and it is none.
#[inline(always)]
fn to_vip<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ipv4Hdr,
) -> Option<Outcome> {
    // Only a first fragment has ports, so fragments cannot be told from a service's.
    let fragment = is_fragment(ip);
    let contents = if !is_sound(packet, ip) {
        Err(Malformed)
    } else if fragment {
        Ok(Contents::default())
    } else {
        contents(packet, ip)
    };
    let Ok(Contents { flow, segment }) = contents else {
        return tables
            .vip(v4_mapped(ip.dst_addr))
            .map(|_| Counter::DropMalformed.into());
    };
    if let Some(flow) = flow
        && let Some(service) = tables.service(&flow.key)
    {
        return Some(steer::process(
            packet, tables, iface, &service, &flow, segment, ip,
        ));
    }
    let vip = tables.vip(v4_mapped(ip.dst_addr))?;
    if fragment && vip.flags & VIP_HAS_SERVICE != 0 {
        return Some(Counter::DropFragment.into());
    }
    let ends = || ends(ip, segment.ports);
    let source = v4_mapped(ip.src_addr).into();
    Some(local::process(
        packet, tables, iface, vip, segment, source, ends,
    ))
}

impl Datagram for Ipv4Hdr {
    #[inline(always)]
    fn length(&self) -> usize {
        total_length(self)
    }

    #[inline(always)]
    fn rewrite<P: PacketMut + ?Sized>(
        &self,
        packet: &mut P,
        backend: BackendWords<'_>,
    ) -> Result<(), Counter> {
        nat::to_backend(packet, self, backend)
    }

    const PROTOCOL: u8 = IP_IPIP;

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn traffic_class<P: PacketMut + ?Sized>(&self, _: &P) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn lower_hop_limit<P: PacketMut + ?Sized>(&self, packet: &mut P) -> Result<(), Counter> {
        let ip = packet.header_mut::<Self>(L3).ok_or(Counter::DropTable)?;
        ip.ttl = self.ttl - 1;
        ip.check = adjust(self.check, difference([self.ttl, 0], [self.ttl - 1, 0]));
        Ok(())
    }

    #[inline(always)]
    fn too_big<P: PacketMut + ?Sized, T: Tables>(
        &self,
        packet: &mut P,
        _: &T,
        mtu: usize,
    ) -> Outcome {
        too_big::v4(packet, self, mtu)
    }
}

/// What a datagram carries, as far as it matters here.
#[derive(Default)]
struct Contents {
    /// The flow that it belongs to, if it can be one of a service.
    flow: Option<Flow<[u8; 4]>>,
    /// Its TCP segment.
    segment: Segment,
}

/// A datagram that ends before its L4 header does.
struct Malformed;

#[inline(always)]
fn contents<P: PacketMut + ?Sized>(packet: &P, ip: &Ipv4Hdr) -> Result<Contents, Malformed> {
    let l4 = L3 + header_length(ip);
    let payload = total_length(ip) - header_length(ip);
    match ip.proto {
        IP_TCP => {
            let tcp = packet
                .header::<TcpHdr>(l4)
                .filter(|_| payload >= TcpHdr::LEN);
            let segment = Segment::from(tcp.ok_or(Malformed)?);
            Ok(Contents {
                flow: Some(flow(ip, segment.ports)),
                segment,
            })
        }
        IP_UDP => {
            let udp = packet
                .header::<UdpHdr>(l4)
                .filter(|_| payload >= UdpHdr::LEN);
            let UdpHdr { src, dst, .. } = *udp.ok_or(Malformed)?;
            let flow = flow(
                ip,
                Ports {
                    source: src,
                    destination: dst,
                },
            );
            Ok(Contents {
                flow: Some(flow),
                segment: Segment::default(),
            })
        }
        IP_ICMP => {
            let flow = icmp::flow_of_error(packet, ip, l4);
            Ok(Contents {
                flow,
                segment: Segment::default(),
            })
        }
        _ => Ok(Contents::default()),
    }
}

#[inline(always)]
fn flow(ip: &Ipv4Hdr, ports: Ports) -> Flow<[u8; 4]> {
    let key = ServiceKey {
        address: v4_mapped(ip.dst_addr),
        port: ports.destination,
        protocol: ip.proto,
        reserved: 0,
    };
    Flow {
        client: ip.src_addr,
        client_port: ports.source,
        key,
    }
}

#[inline(always)]
fn ends(ip: &Ipv4Hdr, ports: Ports) -> Ends {
    Ends {
        source: v4_mapped(ip.src_addr),
        destination: v4_mapped(ip.dst_addr),
        source_port: ports.source,
        destination_port: ports.destination,
    }
}

/// Whether the header agrees with itself and with the frame.
#[inline(always)]
pub(crate) fn is_sound<P: PacketMut + ?Sized>(packet: &P, ip: &Ipv4Hdr) -> bool {
    ip.version() == 4
        && header_length(ip) >= Ipv4Hdr::LEN
        && total_length(ip) >= header_length(ip)
        && packet.holds(L3 + total_length(ip))
}

/// Bytes of the header with its options, 0 to 60.
#[inline(always)]
pub(crate) fn header_length(ip: &Ipv4Hdr) -> usize {
    usize::from(ip.ihl())
}

/// Bytes of the datagram, header included.
#[inline(always)]
pub(crate) fn total_length(ip: &Ipv4Hdr) -> usize {
    usize::from(ip.tot_len())
}
