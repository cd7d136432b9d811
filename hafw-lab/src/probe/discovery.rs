//! The observer's questions and what it hears over IPv6 (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use super::observer::Seen;
use crate::Station;

const ICMPV6: u8 = 58;
const VRRP: u8 = 112;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// In an advertisement's flags.
const SOLICITED: u8 = 1 << 6;

/// A Neighbor Solicitation from a host, to the VIP's group.
pub(super) fn solicitation(from: Station, vip: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = vip.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(vip.octets());
    message.extend([1, 1]);
    message.extend(from.mac());
    let source = from.address_v6().octets();
    let length = u16::try_from(message.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let pseudo = [&source[..], &group, &[0, 0], &length, &[0, 0, 0, ICMPV6]].concat();
    let sum = checksum(&[pseudo, message.clone()].concat());
    message[2..4].copy_from_slice(&sum);

    let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
    frame.extend(from.mac());
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(length);
    frame.extend([ICMPV6, 255]);
    frame.extend(source);
    frame.extend(group);
    frame.extend(message);
    frame
}

/// What a datagram says, if the observer looks for it.
pub(super) fn parse(
    frame_source: [u8; 6],
    packet: &[u8],
    own: Station,
    vips: &[IpAddr],
) -> Option<Seen> {
    let address = |at: usize| {
        let octets = packet.get(at..at + 16)?;
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?))
    };
    let (source, destination) = (address(8)?, address(24)?);
    let message = packet.get(40..)?;
    match *packet.get(6)? {
        VRRP => {
            let [kind, vrid, priority] = message.get(..3)?.try_into().ok()?;
            Some(Seen::Advert {
                mac: frame_source,
                source: source.into(),
                version: kind >> 4,
                vrid,
                priority,
            })
        }
        ICMPV6 if *message.first()? == ADVERTISEMENT => {
            let vip = IpAddr::V6(address(40 + 8)?);
            if !vips.contains(&vip) {
                return None;
            }
            // The option says whose MAC neighbours are to take.
            let mac = match message.get(24..32) {
                Some([2, 1, mac @ ..]) => mac.try_into().ok()?,
                Some(_) | None => frame_source,
            };
            if destination == own.address_v6() {
                Some(Seen::Reply { vip, mac })
            } else if message.get(4)? & SOLICITED == 0 {
                Some(Seen::Announcement { vip, mac })
            } else {
                None
            }
        }
        _ => None,
    }
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    // Below 2^16 after two folds.
    (!u16::try_from(twice).unwrap_or(0)).to_be_bytes()
}
