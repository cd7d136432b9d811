//! VRRP adverts: every check of RFC 9568 §7.1 (RFC 3768 §7.1 for version 2) that can be made
//! without the state machine, the hand-over to user space, and the end of a lease.
//!
//! An advert always passes to the stack afterwards, valid or not: other VRRP routers may run on
//! this host.

use hafw_common::{
    counters::Counter,
    event::EVENT_ADVERT,
    lease::{attracting, ends_lease, wins},
    mac_to_word,
    proto::{
        IP_VRRP, VRRP_AUTH_PASS, VRRP_GROUP_V4, VRRP_GROUP_V6, VRRP_HEADER_LEN, VRRP_MAX_LEN,
        VRRP_TTL, VRRP_V2_AUTH_LEN,
    },
    router::{PeerKey, RouterConfig},
    v4_mapped,
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr};

use crate::{
    checksum::Sum,
    ipv6::{Address, Ip, L4},
    packet::PacketMut,
    path::L3,
    tables::Tables,
    wire::{Quad, VRRP_ADVERT, Vrrp, is_fragment},
};

/// A datagram of protocol 112 that has all that its IP header says.
struct Datagram {
    /// Source address, [`v4_mapped`].
    source: [u8; 16],
    /// Where the message starts in the frame.
    start: usize,
    /// How long it can be.
    payload: usize,
    /// The sum of both addresses and the protocol: of the pseudo-header without its length.
    pseudo_header: Sum,
    ipv6: bool,
    /// It went to the group.
    to_group: bool,
    /// Destination address, [`v4_mapped`].
    destination: [u8; 16],
}

/// Judges an IPv4 frame of protocol 112, and acts on it if it is a valid advert for a router here.
#[inline(never)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> Counter {
    counter(over_ipv4(packet, tables))
}

/// As [`process`], of an IPv6 frame.
#[inline(never)]
pub fn process_v6<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> Counter {
    counter(over_ipv6(packet, tables))
}

#[inline(always)]
fn counter(judged: Result<(), Counter>) -> Counter {
    match judged {
        Ok(()) => Counter::AdvertValid,
        Err(reason) => reason,
    }
}

#[inline(always)]
fn over_ipv4<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> Result<(), Counter> {
    let ip = packet.header::<Ipv4Hdr>(L3).ok_or(Counter::PassRunt)?;
    let to_group = ip.dst_addr == VRRP_GROUP_V4;
    if is_fragment(ip) {
        return Err(Counter::AdvertFragment);
    }
    if !is_intact(packet, ip) {
        return Err(Counter::AdvertBadIpHeader);
    }
    // A router with unicast peers takes any: they may be behind others (as keepalived does).
    if to_group && ip.ttl != VRRP_TTL {
        return Err(Counter::AdvertBadTtl);
    }
    let header = usize::from(ip.ihl());
    let pseudo_header = Sum::default()
        .and(ip.src_addr)
        .and(ip.dst_addr)
        .and([0, IP_VRRP, 0, 0]);
    let datagram = Datagram {
        source: v4_mapped(ip.src_addr),
        start: L3 + header,
        payload: usize::from(ip.tot_len()).saturating_sub(header),
        pseudo_header,
        ipv6: false,
        to_group,
        destination: v4_mapped(ip.dst_addr),
    };
    judge(packet, tables, &datagram)
}

#[inline(always)]
fn over_ipv6<P: PacketMut + ?Sized, T: Tables>(packet: &P, tables: &T) -> Result<(), Counter> {
    let ip = Ip::of(packet).ok_or(Counter::PassRunt)?;
    let to_group = ip.destination == Address::from(VRRP_GROUP_V6);
    if !ip.is_sound(packet) {
        return Err(Counter::AdvertBadIpHeader);
    }
    if to_group && ip.hop_limit != VRRP_TTL {
        return Err(Counter::AdvertBadTtl);
    }
    let datagram = Datagram {
        source: ip.source.octets(),
        start: L4,
        payload: ip.payload,
        // The length comes with the message's.
        pseudo_header: ip.pseudo_header(0),
        ipv6: true,
        to_group,
        destination: ip.destination.octets(),
    };
    judge(packet, tables, &datagram)
}

#[inline(always)]
fn judge<P: PacketMut + ?Sized, T: Tables>(
    packet: &P,
    tables: &T,
    datagram: &Datagram,
) -> Result<(), Counter> {
    let Datagram {
        source,
        start,
        payload,
        ipv6,
        ..
    } = *datagram;
    let vrrp = packet
        .header::<Vrrp>(start)
        .ok_or(Counter::AdvertBadLength)?;
    if payload < VRRP_HEADER_LEN {
        return Err(Counter::AdvertBadLength);
    }

    let router = tables
        .router_of(vrrp.vrid, ipv6)
        .ok_or(Counter::AdvertForeignVrid)?;
    // A router whose entries are missing is none.
    let config = tables.router(router).ok_or(Counter::AdvertForeignVrid)?;
    let seen = tables.seen(router).ok_or(Counter::AdvertForeignVrid)?;
    if source == config.source {
        return Err(Counter::AdvertOwn);
    }
    check_way(datagram, config)?;
    if vrrp.version_type & 0xf != VRRP_ADVERT {
        return Err(Counter::AdvertBadType);
    }
    if vrrp.version_type >> 4 != config.version {
        return Err(Counter::AdvertBadVersion);
    }
    let auth_data = if config.version == 2 {
        VRRP_V2_AUTH_LEN
    } else {
        0
    };
    let address = if ipv6 { 16 } else { 4 };
    let length = VRRP_HEADER_LEN + vrrp.count as usize * address + auth_data;
    if payload < length {
        return Err(Counter::AdvertBadLength);
    }
    // There always is one: without it, nothing could be copied either.
    let mut record = tables.record().ok_or(Counter::AdvertBadLength)?;
    let sum = packet
        .copy(start, length, &mut record.message)
        .ok_or(Counter::AdvertBadLength)?;
    check_message(&record.message, length, sum, datagram, vrrp, config)?;

    let at = tables.now();
    let peer = PeerKey { source, router };
    let mac = packet
        .header::<EthHdr>(0)
        .map_or([0; 6], |ethernet| ethernet.src_addr);
    if !tables.note_peer(&peer, vrrp.priority, mac_to_word(mac), at) {
        tables.count(Counter::PeersFull);
    }
    seen.set_advert_at(at);
    record.kind = EVENT_ADVERT;
    record.router = router;
    record.at = at;
    record.source = source;
    record.mac = mac;
    record.length = length as u16;
    if !tables.push_advert(&record) {
        seen.add_overflow();
        tables.count(Counter::RingFull);
    }
    revoke(tables, &peer, vrrp.priority, config);
    Ok(())
}

/// Whether it came as the router's adverts do: to the group, or from a named peer to us.
#[inline(always)]
fn check_way(datagram: &Datagram, config: &RouterConfig) -> Result<(), Counter> {
    let to_group = datagram.to_group;
    if !config.is_unicast() {
        return if to_group {
            Ok(())
        } else {
            Err(Counter::AdvertUnicast)
        };
    }
    if to_group {
        return Err(Counter::AdvertForeignSource);
    }
    if datagram.destination != config.source {
        return Err(Counter::AdvertUnicast);
    }
    let source = words(datagram.source);
    // A difference of 0, folded into 32 bits, less 1, has its highest bit set. No branch for each
    // peer: the verifier would follow all their combinations.
    let mut found = 0u64;
    for peer in &config.unicast_peers {
        let peer = words(*peer);
        let difference = (peer[0] ^ source[0]) | (peer[1] ^ source[1]);
        let folded = (difference >> 32) | (difference & 0xffff_ffff);
        found |= folded.wrapping_sub(1);
    }
    if found >> 63 != 0 && source != [0; 2] {
        Ok(())
    } else {
        Err(Counter::AdvertForeignSource)
    }
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u64; 2] {
    bytemuck::cast(address)
}

/// Ends the lease if the advert does.
///
/// The clock is read again: a renewal that drained the ring before the advert came into it was
/// under way at a time before this, so `lost_at` is later than its `renewed_at`.
#[inline(always)]
fn revoke<T: Tables>(tables: &T, peer: &PeerKey, priority: u8, config: &RouterConfig) {
    let (Some(lease), Some(seen)) = (tables.lease(peer.router), tables.seen(peer.router)) else {
        return;
    };
    let now = tables.now();
    let renewed_at = lease.renewed_at();
    let beaten = wins(
        priority,
        &peer.source,
        lease.priority() as u8,
        &config.source,
    );
    if !ends_lease(now, beaten, renewed_at, config.suspend_after) {
        return;
    }
    let lost_at = seen.lost_at();
    let live = attracting(now, renewed_at, lease.attract_until(), lost_at);
    // Another CPU may have met a later advert meanwhile.
    if now > lost_at {
        seen.set_lost_at(now);
    }
    if live {
        tables.count(Counter::LeaseLost);
        tables.tell_lease_lost(peer, priority);
    }
}

/// The checks on the message itself: `length` bytes, 8 to [`VRRP_MAX_LEN`], a multiple of 4.
#[inline(always)]
fn check_message(
    message: &[u8; VRRP_MAX_LEN],
    length: usize,
    sum: Sum,
    datagram: &Datagram,
    vrrp: &Vrrp,
    config: &RouterConfig,
) -> Result<(), Counter> {
    // Over IPv4, RFC 9568 §5.2.8 sums the message alone; RFC 5798 was read by keepalived and FRR as
    // summing a pseudo-header too. Both are accepted.
    let alone = !datagram.ipv6 && sum.is_valid();
    let sound = alone || (config.version == 3 && with_pseudo_header(sum, datagram, length));
    if !sound {
        return Err(Counter::AdvertBadChecksum);
    }
    let [first, second] = vrrp.interval;
    if config.version == 2 {
        if first != config.auth_type || !same_password(message, length, config) {
            return Err(Counter::AdvertBadAuth);
        }
        if second != config.interval_seconds {
            return Err(Counter::AdvertBadInterval);
        }
    } else if (first & 0xf) | second == 0 {
        return Err(Counter::AdvertBadInterval);
    }
    if vrrp.count == 0 {
        return Err(Counter::AdvertNoAddress);
    }
    Ok(())
}

#[inline(always)]
fn same_password(message: &[u8; VRRP_MAX_LEN], length: usize, config: &RouterConfig) -> bool {
    if config.auth_type != VRRP_AUTH_PASS {
        return true;
    }
    message
        .get(length - VRRP_V2_AUTH_LEN..)
        .and_then(|tail| tail.first_chunk())
        .is_some_and(|data| u64::from_ne_bytes(*data) == u64::from_ne_bytes(config.auth_data))
}

/// Whether the IP header is one, its checksum holds and the frame has the whole datagram.
#[inline(always)]
fn is_intact<P: PacketMut + ?Sized>(packet: &P, ip: &Ipv4Hdr) -> bool {
    let header = usize::from(ip.ihl());
    if ip.version() != 4
        || header < Ipv4Hdr::LEN
        || usize::from(ip.tot_len()) < header
        || !packet.holds(L3 + usize::from(ip.tot_len()))
    {
        return false;
    }
    let mut sum = Sum::default();
    for word in 0..15 {
        if word * 4 >= header {
            break;
        }
        let Some(Quad(bytes)) = packet.header::<Quad>(L3 + word * 4) else {
            return false;
        };
        sum = sum.and(*bytes);
    }
    sum.is_valid()
}

/// Whether the sum is valid with a pseudo-header: RFC 8200's §8.1 for IPv6, and for IPv4 that of
/// RFC 5798 as its implementations read it. They sum up alike.
#[inline(always)]
fn with_pseudo_header(sum: Sum, datagram: &Datagram, length: usize) -> bool {
    let [high, low] = (length as u16).to_be_bytes();
    sum.and_sum(datagram.pseudo_header)
        .and([0, 0, high, low])
        .is_valid()
}
