//! A whole frame around an advert: Ethernet and IPv4; and the way in for either family.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use hafw_common::proto::{ETH_IPV4, ETH_IPV6, IP_VRRP, VRRP_GROUP_MAC_V4, VRRP_GROUP_V4, VRRP_TTL};
use thiserror::Error;

use super::{checksum::Sum, frame_v6};

/// Why a frame carries no VRRP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Shorter than its headers, or than the datagram's length says.
    #[error("the frame is cut")]
    Truncated,
    /// Neither IPv4 nor IPv6, or a header that contradicts itself.
    #[error("not an IP datagram")]
    NotIp,
    /// Another protocol.
    #[error("IP protocol {0} is not VRRP's 112")]
    Protocol(u8),
    /// A fragment.
    #[error("a fragment")]
    Fragment,
    /// The header's checksum.
    #[error("the IPv4 header's checksum is wrong")]
    Checksum,
    /// RFC 9568 §7.1.
    #[error("TTL or hop limit {0} is not 255")]
    Ttl(u8),
}

/// Bytes of the Ethernet header.
pub(super) const ETHERNET: usize = 14;
const IPV4: usize = 20;

mod field {
    use std::ops::Range;

    pub(super) const DESTINATION_MAC: Range<usize> = 0..6;
    pub(super) const SOURCE_MAC: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: Range<usize> = 12..14;
    // Within the IPv4 header.
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LENGTH: Range<usize> = 2..4;
    pub(super) const ID: Range<usize> = 4..6;
    pub(super) const FRAGMENT: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

/// Internetwork control, precedence 6, as keepalived and FRR send.
const TOS: u8 = 0xc0;
/// Version 4, a header of five words.
const VERSION_IHL: u8 = 0x45;
/// More fragments, and the offset: everything but DF and the reserved bit.
const FRAGMENT_MASK: u16 = 0x3fff;

/// The frame of a message to 224.0.0.18 (RFC 9568 §5.1.1), with TTL 255 and, as keepalived sends
/// it, DF clear. `id`: the datagram's identification.
///
/// ```text
///  0       8       16      24
/// +-------+-------+-------+-------+
/// | 4 | 5 | 0xc0  | total length  |   IPv4 (RFC 791), after the 14 bytes of Ethernet
/// +-------+-------+-------+-------+
/// |      id       | 0             |
/// +-------+-------+-------+-------+
/// |  255  |  112  |   checksum    |
/// +-------+-------+-------+-------+
/// |            source             |
/// +-------+-------+-------+-------+
/// |          224.0.0.18           |
/// +-------+-------+-------+-------+
/// ```
#[must_use]
pub fn advert_frame(source_mac: [u8; 6], source: Ipv4Addr, id: u16, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV4 + message.len()];
    write(&mut frame, source_mac, source, id, message);
    frame
}

/// As [`advert_frame`], the datagram alone, to one router by its own address.
#[must_use]
pub fn advert_datagram(source: Ipv4Addr, peer: Ipv4Addr, id: u16, message: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; IPV4 + message.len()];
    write_datagram(&mut datagram, source, peer.octets(), id, message);
    datagram
}

/// Writes every byte of `frame`, which has room for the headers and the message.
fn write(frame: &mut [u8], source_mac: [u8; 6], source: Ipv4Addr, id: u16, message: &[u8]) {
    write_ethernet(frame, VRRP_GROUP_MAC_V4, source_mac, ETH_IPV4);
    write_datagram(&mut frame[ETHERNET..], source, VRRP_GROUP_V4, id, message);
}

fn write_datagram(
    datagram: &mut [u8],
    source: Ipv4Addr,
    destination: [u8; 4],
    id: u16,
    message: &[u8],
) {
    let (ip, payload) = datagram.split_at_mut(IPV4);
    // At most VRRP_MAX_LEN.
    let total = u16::try_from(IPV4 + message.len()).unwrap_or(u16::MAX);
    ip[field::VERSION_IHL] = VERSION_IHL;
    ip[field::TOS] = TOS;
    ip[field::TOTAL_LENGTH].copy_from_slice(&total.to_be_bytes());
    ip[field::ID].copy_from_slice(&id.to_be_bytes());
    ip[field::FRAGMENT].copy_from_slice(&[0, 0]);
    ip[field::TTL] = VRRP_TTL;
    ip[field::PROTOCOL] = IP_VRRP;
    ip[field::CHECKSUM].copy_from_slice(&[0, 0]);
    ip[field::SOURCE].copy_from_slice(&source.octets());
    ip[field::DESTINATION].copy_from_slice(&destination);
    let checksum = Sum::default().and(ip).checksum();
    ip[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    payload.copy_from_slice(message);
}

/// Writes every byte of the Ethernet header.
pub(super) fn write_ethernet(
    frame: &mut [u8],
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: u16,
) {
    frame[field::DESTINATION_MAC].copy_from_slice(&destination);
    frame[field::SOURCE_MAC].copy_from_slice(&source);
    frame[field::ETHERTYPE].copy_from_slice(&ethertype.to_be_bytes());
}

/// The source, the destination and the message of a frame of either family, after the checks that
/// the IP header allows.
///
/// # Errors
/// See [`FrameError`].
pub fn parse_frame(frame: &[u8]) -> Result<(IpAddr, IpAddr, &[u8]), FrameError> {
    let (ethernet, datagram) = frame
        .split_at_checked(ETHERNET)
        .ok_or(FrameError::Truncated)?;
    let ethertype = u16::from_be_bytes([
        ethernet[field::ETHERTYPE.start],
        ethernet[field::ETHERTYPE.start + 1],
    ]);
    match ethertype {
        ETH_IPV4 => parse_v4(datagram),
        ETH_IPV6 => frame_v6::parse(datagram),
        _ => Err(FrameError::NotIp),
    }
}

fn parse_v4(datagram: &[u8]) -> Result<(IpAddr, IpAddr, &[u8]), FrameError> {
    let fixed: &[u8; IPV4] = datagram.first_chunk().ok_or(FrameError::Truncated)?;
    let header = usize::from(fixed[field::VERSION_IHL] & 0xf) * 4;
    let total = usize::from(word(fixed, field::TOTAL_LENGTH));
    if fixed[field::VERSION_IHL] >> 4 != 4 || header < IPV4 || total < header {
        return Err(FrameError::NotIp);
    }
    // Ethernet pads short frames: the datagram's own length counts.
    let datagram = datagram.get(..total).ok_or(FrameError::Truncated)?;
    if fixed[field::PROTOCOL] != IP_VRRP {
        return Err(FrameError::Protocol(fixed[field::PROTOCOL]));
    }
    if word(fixed, field::FRAGMENT) & FRAGMENT_MASK != 0 {
        return Err(FrameError::Fragment);
    }
    if !Sum::default().and(&datagram[..header]).is_valid() {
        return Err(FrameError::Checksum);
    }
    if fixed[field::TTL] != VRRP_TTL {
        return Err(FrameError::Ttl(fixed[field::TTL]));
    }
    Ok((
        address(fixed, field::SOURCE),
        address(fixed, field::DESTINATION),
        &datagram[header..],
    ))
}

fn word(header: &[u8; IPV4], at: Range<usize>) -> u16 {
    u16::from_be_bytes([header[at.start], header[at.start + 1]])
}

fn address(header: &[u8; IPV4], at: Range<usize>) -> IpAddr {
    let mut octets = [0; 4];
    octets.copy_from_slice(&header[at]);
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// keepalived 2.2.7: VRID 51, priority 150, 1 s, PASS "1111", 10.0.0.3, from 10.0.0.5.
    const FRAME: [u8; 54] = [
        0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x02, 0x00, 0x00, 0x00, 0x00, 0x05, 0x08, 0x00, //
        0x45, 0xc0, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xd0, 0x8d, //
        10, 0, 0, 5, 224, 0, 0, 18, //
        0x21, 51, 150, 1, 1, 1, 0xdb, 0x64, 10, 0, 0, 3, b'1', b'1', b'1', b'1', 0, 0, 0, 0,
    ];
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    /// The frame with one byte of its IP header changed and the header's checksum set right.
    fn with(at: usize, byte: u8) -> Vec<u8> {
        let mut frame = FRAME.to_vec();
        let ip = &mut frame[ETHERNET..ETHERNET + IPV4];
        ip[at] = byte;
        ip[field::CHECKSUM].copy_from_slice(&[0, 0]);
        let checksum = Sum::default().and(ip).checksum();
        ip[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        frame
    }

    #[test]
    fn keepaliveds_frame_parses() {
        let wanted = (
            IpAddr::V4(SOURCE),
            IpAddr::from(VRRP_GROUP_V4),
            &FRAME[34..],
        );
        assert_eq!(parse_frame(&FRAME), Ok(wanted));
    }

    #[test]
    fn the_same_message_makes_keepaliveds_frame() {
        assert_eq!(advert_frame(MAC, SOURCE, 1, &FRAME[34..]), FRAME);
    }

    #[test]
    fn a_datagram_to_a_peer_differs_by_its_destination_alone() {
        let peer = Ipv4Addr::new(10, 0, 0, 6);
        let datagram = advert_datagram(SOURCE, peer, 1, &FRAME[34..]);
        let mut frame = FRAME;
        frame[ETHERNET + 16..ETHERNET + 20].copy_from_slice(&peer.octets());
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&datagram[10..12]);
        assert_eq!(datagram, frame[ETHERNET..]);
        assert!(Sum::default().and(&datagram[..IPV4]).is_valid());
    }

    #[test]
    fn every_byte_is_written() {
        let mut frame = [0xa5; FRAME.len()];
        write(&mut frame, MAC, SOURCE, 1, &FRAME[34..]);
        assert_eq!(frame, FRAME);
    }

    #[test]
    fn each_check_of_the_ip_header_has_its_own_error() {
        assert_eq!(
            parse_frame(&with(field::TTL, 254)),
            Err(FrameError::Ttl(254))
        );
        assert_eq!(
            parse_frame(&with(field::PROTOCOL, 51)),
            Err(FrameError::Protocol(51))
        );
        assert_eq!(
            parse_frame(&with(6, 0x20)),
            Err(FrameError::Fragment),
            "more fragments"
        );
        assert_eq!(
            parse_frame(&with(7, 1)),
            Err(FrameError::Fragment),
            "an offset"
        );
        assert_eq!(
            parse_frame(&with(field::VERSION_IHL, 0x44)),
            Err(FrameError::NotIp)
        );
        assert_eq!(
            parse_frame(&with(field::VERSION_IHL, 0x65)),
            Err(FrameError::NotIp)
        );
        let mut damaged = FRAME;
        damaged[ETHERNET + field::TOS] ^= 1;
        assert_eq!(parse_frame(&damaged), Err(FrameError::Checksum));
    }

    #[test]
    fn df_is_no_fragment() {
        assert!(parse_frame(&with(6, 0x40)).is_ok());
    }

    #[test]
    fn options_are_skipped() {
        let mut frame = FRAME.to_vec();
        // Four bytes of "no operation".
        frame.splice(ETHERNET + IPV4..ETHERNET + IPV4, [1; 4]);
        let ip = &mut frame[ETHERNET..ETHERNET + IPV4 + 4];
        ip[field::VERSION_IHL] = 0x46;
        ip[field::TOTAL_LENGTH].copy_from_slice(&44u16.to_be_bytes());
        ip[field::CHECKSUM].copy_from_slice(&[0, 0]);
        let checksum = Sum::default().and(ip).checksum();
        ip[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(
            parse_frame(&frame).map(|(_, _, message)| message),
            Ok(&FRAME[34..])
        );
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused_and_padding_is_ignored() {
        for length in 0..FRAME.len() {
            assert_eq!(
                parse_frame(&FRAME[..length]),
                Err(FrameError::Truncated),
                "{length}"
            );
        }
        let padded = [&FRAME[..], &[0xa5; 6]].concat();
        assert_eq!(parse_frame(&padded), parse_frame(&FRAME));
    }
}
