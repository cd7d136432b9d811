//! A whole frame around an advert: Ethernet and IPv6.

use std::net::{IpAddr, Ipv6Addr};

use hafw_common::proto::{
    ETH_IPV6, IP_FRAGMENT, IP_VRRP, VRRP_GROUP_MAC_V6, VRRP_GROUP_V6, VRRP_TTL,
};

use super::frame::{ETHERNET, FrameError, write_ethernet};

/// Bytes of the IPv6 header.
pub(super) const IPV6: usize = 40;

/// Within the IPv6 header.
mod field {
    use std::ops::Range;

    pub(super) const VERSION_CLASS_FLOW: Range<usize> = 0..4;
    pub(super) const PAYLOAD_LENGTH: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// Version 6; traffic class 0xc0, internetwork control, as keepalived and FRR send; flow label 0.
const VERSION_CLASS_FLOW: [u8; 4] = [0x6c, 0, 0, 0];

/// The frame of a message to ff02::12 (RFC 9568 §5.1.2), with hop limit 255.
///
/// ```text
///  0       8       16      24
/// +-------+-------+-------+-------+
/// |6| 0xc0  |    flow label: 0    |   IPv6 (RFC 8200), after the 14 bytes of Ethernet
/// +-------+-------+-------+-------+
/// |payload length |  112  |  255  |
/// +-------+-------+-------+-------+
/// |      source, link-local       |
/// +-------+-------+-------+-------+
/// |           ff02::12            |
/// +-------+-------+-------+-------+
/// ```
#[must_use]
pub fn advert_frame_v6(source_mac: [u8; 6], source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV6 + message.len()];
    write(&mut frame, source_mac, source, message);
    frame
}

/// As [`advert_frame_v6`], the datagram alone, to one router by its own address.
#[must_use]
pub fn advert_datagram_v6(source: Ipv6Addr, peer: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; IPV6 + message.len()];
    write_datagram(&mut datagram, source, peer, message);
    datagram
}

/// Writes every byte of `frame`, which has room for the headers and the message.
fn write(frame: &mut [u8], source_mac: [u8; 6], source: Ipv6Addr, message: &[u8]) {
    write_ethernet(frame, VRRP_GROUP_MAC_V6, source_mac, ETH_IPV6);
    write_datagram(
        &mut frame[ETHERNET..],
        source,
        VRRP_GROUP_V6.into(),
        message,
    );
}

fn write_datagram(datagram: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) {
    let (ip, payload) = datagram.split_at_mut(IPV6);
    // At most VRRP_MAX_LEN.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    write_ip(ip, IP_VRRP, length, source, destination);
    ip[field::VERSION_CLASS_FLOW].copy_from_slice(&VERSION_CLASS_FLOW);
    payload.copy_from_slice(message);
}

/// Writes every byte of an IPv6 header with traffic class 0 and the hop limit that VRRP and
/// Neighbor Discovery share.
pub(super) fn write_ip(
    ip: &mut [u8],
    next_header: u8,
    payload: u16,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) {
    ip[field::VERSION_CLASS_FLOW].copy_from_slice(&[0x60, 0, 0, 0]);
    ip[field::PAYLOAD_LENGTH].copy_from_slice(&payload.to_be_bytes());
    ip[field::NEXT_HEADER] = next_header;
    ip[field::HOP_LIMIT] = VRRP_TTL;
    ip[field::SOURCE].copy_from_slice(&source.octets());
    ip[field::DESTINATION].copy_from_slice(&destination.octets());
}

/// As [`super::parse_frame`], for what follows Ethernet. A message behind an extension header is
/// none: no VRRP router sends one.
pub(super) fn parse(datagram: &[u8]) -> Result<(IpAddr, IpAddr, &[u8]), FrameError> {
    let (fixed, rest) = datagram
        .split_first_chunk::<IPV6>()
        .ok_or(FrameError::Truncated)?;
    if fixed[0] >> 4 != 6 {
        return Err(FrameError::NotIp);
    }
    let length = usize::from(u16::from_be_bytes([
        fixed[field::PAYLOAD_LENGTH.start],
        fixed[field::PAYLOAD_LENGTH.start + 1],
    ]));
    // Ethernet pads short frames: the datagram's own length counts.
    let message = rest.get(..length).ok_or(FrameError::Truncated)?;
    match fixed[field::NEXT_HEADER] {
        IP_VRRP => {}
        IP_FRAGMENT => return Err(FrameError::Fragment),
        other => return Err(FrameError::Protocol(other)),
    }
    if fixed[field::HOP_LIMIT] != VRRP_TTL {
        return Err(FrameError::Ttl(fixed[field::HOP_LIMIT]));
    }
    let address = |at: std::ops::Range<usize>| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at]);
        IpAddr::from(octets)
    };
    Ok((address(field::SOURCE), address(field::DESTINATION), message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse_frame;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 5);
    const MESSAGE: [u8; 24] = [0x31; 24];

    fn with(at: usize, byte: u8) -> Result<usize, FrameError> {
        let mut frame = advert_frame_v6(MAC, SOURCE, &MESSAGE);
        frame[ETHERNET + at] = byte;
        parse_frame(&frame).map(|(_, _, message)| message.len())
    }

    #[test]
    fn what_is_written_parses() {
        let frame = advert_frame_v6(MAC, SOURCE, &MESSAGE);
        let wanted = (SOURCE.into(), VRRP_GROUP_V6.into(), &MESSAGE[..]);
        assert_eq!(parse_frame(&frame), Ok(wanted));
        let padded = [&frame[..], &[0xa5; 6]].concat();
        assert_eq!(parse_frame(&padded), Ok(wanted));
    }

    #[test]
    fn every_byte_is_written() {
        let mut frame = [0xa5; ETHERNET + IPV6 + MESSAGE.len()];
        write(&mut frame, MAC, SOURCE, &MESSAGE);
        assert_eq!(frame[..], advert_frame_v6(MAC, SOURCE, &MESSAGE));
    }

    #[test]
    fn each_check_of_the_ip_header_has_its_own_error() {
        assert_eq!(with(0, 0x45), Err(FrameError::NotIp));
        assert_eq!(with(field::HOP_LIMIT, 254), Err(FrameError::Ttl(254)));
        assert_eq!(with(field::NEXT_HEADER, 44), Err(FrameError::Fragment));
        for extension in [0, 43, 51, 60, 58] {
            let refused = with(field::NEXT_HEADER, extension);
            assert_eq!(refused, Err(FrameError::Protocol(extension)));
        }
        assert_eq!(
            with(field::PAYLOAD_LENGTH.end - 1, 25),
            Err(FrameError::Truncated)
        );
        let whole = advert_frame_v6(MAC, SOURCE, &MESSAGE);
        for length in 0..whole.len() {
            assert_eq!(parse_frame(&whole[..length]), Err(FrameError::Truncated));
        }
    }
}
