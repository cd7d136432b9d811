//! A whole frame around an advert: Ethernet and IPv4.

use std::net::{IpAddr, Ipv4Addr};

use hafw_common::proto::{ETH_IPV4, IP_VRRP, VRRP_GROUP_MAC_V4, VRRP_GROUP_V4, VRRP_TTL};
use thiserror::Error;

use super::checksum::Sum;

/// Why a frame carries no VRRP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Shorter than its headers, or than the datagram's length says.
    #[error("the frame is cut")]
    Truncated,
    /// Not IPv4, or a header that contradicts itself.
    #[error("not an IPv4 datagram")]
    NotIpv4,
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
    #[error("TTL {0} is not 255")]
    Ttl(u8),
}

const ETHERNET: usize = 14;
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

/// The frame of a message to 224.0.0.18: TTL 255, not to be fragmented by routers that will not see
/// it anyway (DF clear, as keepalived). `id`: the datagram's identification.
#[must_use]
pub fn advert_frame(source_mac: [u8; 6], source: Ipv4Addr, id: u16, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV4];
    frame[field::DESTINATION_MAC].copy_from_slice(&VRRP_GROUP_MAC_V4);
    frame[field::SOURCE_MAC].copy_from_slice(&source_mac);
    frame[field::ETHERTYPE].copy_from_slice(&ETH_IPV4.to_be_bytes());
    let ip = &mut frame[ETHERNET..];
    // The longest message has 1036 bytes.
    let total = u16::try_from(IPV4 + message.len()).unwrap_or(u16::MAX);
    ip[field::VERSION_IHL] = 0x45;
    ip[field::TOS] = TOS;
    ip[field::TOTAL_LENGTH].copy_from_slice(&total.to_be_bytes());
    ip[field::ID].copy_from_slice(&id.to_be_bytes());
    ip[field::FRAGMENT].copy_from_slice(&[0, 0]);
    ip[field::TTL] = VRRP_TTL;
    ip[field::PROTOCOL] = IP_VRRP;
    ip[field::SOURCE].copy_from_slice(&source.octets());
    ip[field::DESTINATION].copy_from_slice(&VRRP_GROUP_V4);
    let checksum = Sum::default().and(ip).checksum();
    ip[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// The source, the destination and the message of a frame, after the checks that the IP header
/// allows.
///
/// # Errors
/// See [`FrameError`].
pub fn parse_frame(frame: &[u8]) -> Result<(IpAddr, IpAddr, &[u8]), FrameError> {
    let (ethernet, datagram) = frame
        .split_at_checked(ETHERNET)
        .ok_or(FrameError::Truncated)?;
    if ethernet[field::ETHERTYPE] != ETH_IPV4.to_be_bytes() {
        return Err(FrameError::NotIpv4);
    }
    let fixed: &[u8; IPV4] = datagram.first_chunk().ok_or(FrameError::Truncated)?;
    let header = usize::from(fixed[field::VERSION_IHL] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[field::VERSION_IHL] >> 4 != 4 || header < IPV4 || total < header {
        return Err(FrameError::NotIpv4);
    }
    // Ethernet pads short frames: the datagram's own length counts.
    let datagram = datagram.get(..total).ok_or(FrameError::Truncated)?;
    if fixed[field::PROTOCOL] != IP_VRRP {
        return Err(FrameError::Protocol(fixed[field::PROTOCOL]));
    }
    // More fragments, or an offset.
    if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
        return Err(FrameError::Fragment);
    }
    if !Sum::default().and(&datagram[..header]).is_valid() {
        return Err(FrameError::Checksum);
    }
    if fixed[field::TTL] != VRRP_TTL {
        return Err(FrameError::Ttl(fixed[field::TTL]));
    }
    let address =
        |at: usize| IpAddr::from([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    Ok((address(12), address(16), &datagram[header..]))
}
