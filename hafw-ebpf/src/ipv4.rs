//! IPv4: adverts, traffic to a VIP, and the rest, which passes at the price of one look-up.

use hafw_common::{
    counters::Counter,
    iface::Iface,
    proto::{IP_TCP, IP_UDP, IP_VRRP},
    service::ServiceKey,
    vip::{VIP_HAS_SERVICE, filter_bit},
};

use crate::{
    advert, local,
    packet::PacketMut,
    path::{Addressed, L3, Outcome},
    steer::{self, Flow},
    tables::Tables,
    wire::{Ipv4, Ports, TCP_LEN, UDP_LEN},
};

/// Decides over an IPv4 frame.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    addressed: Addressed,
) -> Outcome {
    let Some(&ip) = packet.header::<Ipv4>(L3) else {
        return Counter::PassRunt.into();
    };
    if ip.protocol == IP_VRRP {
        return advert::process(packet, tables).into();
    }
    let (word, bit) = filter_bit(ip.destination);
    if tables.filter_word(word) & bit == 0 {
        return Counter::PassIpv4.into();
    }
    match addressed {
        Addressed::ToUs => to_vip(packet, tables, iface, &ip),
        Addressed::ToGroup if tables.vip(ip.destination).is_some() => Counter::PassGroup.into(),
        Addressed::ToGroup => Counter::PassIpv4.into(),
    }
}

/// A frame to an address that probably is a VIP: the filter has false positives.
#[inline(always)]
fn to_vip<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ipv4,
) -> Outcome {
    if !is_sound(packet, ip) {
        return unless_foreign(tables, ip, Counter::DropMalformed);
    }
    if ip.is_fragment() {
        return match tables.vip(ip.destination) {
            None => Counter::PassIpv4.into(),
            Some(vip) if vip.flags & VIP_HAS_SERVICE != 0 => Counter::DropFragment.into(),
            Some(vip) => local::process(packet, tables, iface, ip, vip, None),
        };
    }
    let l4 = L3 + ip.header_length();
    let least = match ip.protocol {
        IP_TCP => TCP_LEN,
        IP_UDP => UDP_LEN,
        _ => 0,
    };
    if least == 0 {
        return to_local(packet, tables, iface, ip, None);
    }
    let Some(&ports) = packet.header::<Ports>(l4) else {
        return unless_foreign(tables, ip, Counter::DropMalformed);
    };
    if ip.total_length() < ip.header_length() + least {
        return unless_foreign(tables, ip, Counter::DropMalformed);
    }
    let key = ServiceKey {
        address: ip.destination,
        port: ports.destination,
        protocol: ip.protocol,
        reserved: 0,
    };
    match tables.service(&key) {
        Some(service) => {
            let flow = Flow {
                client: ip.source,
                client_port: ports.source,
                key,
            };
            steer::process(packet, tables, iface, &service, &flow, ip.total_length())
        }
        None => to_local(
            packet,
            tables,
            iface,
            ip,
            (ip.protocol == IP_TCP).then_some(l4),
        ),
    }
}

#[inline(always)]
fn to_local<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    ip: &Ipv4,
    tcp: Option<usize>,
) -> Outcome {
    match tables.vip(ip.destination) {
        Some(vip) => local::process(packet, tables, iface, ip, vip, tcp),
        None => Counter::PassIpv4.into(),
    }
}

/// Whether the header agrees with itself and with the frame.
#[inline(always)]
fn is_sound<P: PacketMut + ?Sized>(packet: &P, ip: &Ipv4) -> bool {
    ip.is_version_4()
        && ip.header_length() >= size_of::<Ipv4>()
        && ip.total_length() >= ip.header_length()
        && packet.holds(L3 + ip.total_length())
}

#[inline(always)]
fn unless_foreign<T: Tables>(tables: &T, ip: &Ipv4, counter: Counter) -> Outcome {
    match tables.vip(ip.destination) {
        Some(_) => counter.into(),
        None => Counter::PassIpv4.into(),
    }
}
