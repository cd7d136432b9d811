//! Unsolicited Neighbor Advertisements (RFC 4861 §7.2.6, RFC 9568 §6.4.1, §6.4.2).

use std::net::Ipv6Addr;

use hafw_common::proto::{
    ALL_NODES, ALL_NODES_MAC, ETH_IPV6, IP_ICMPV6, ND_ADVERTISEMENT, ND_OVERRIDE, ND_ROUTER,
    ND_TARGET_ADDRESS,
};

use super::{
    checksum::Sum,
    frame::{ETHERNET, write_ethernet},
    frame_v6::{IPV6, write_ip},
};

/// Bytes of the frame.
pub const NEIGHBOUR_ADVERT_LEN: usize = ETHERNET + IPV6 + ICMPV6;

/// Bytes of the ICMPv6 message.
const ICMPV6: usize = 32;

/// Within the ICMPv6 message.
mod field {
    use std::ops::Range;

    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const FLAGS: Range<usize> = 4..8;
    pub(super) const TARGET: Range<usize> = 8..24;
    pub(super) const OPTION: Range<usize> = 24..26;
    pub(super) const TARGET_MAC: Range<usize> = 26..32;
}

/// An advertisement of the VIP to all nodes of the link, from the VIP itself, as keepalived and FRR
/// send it: every neighbour that knows the VIP takes the MAC over. The flags are those of RFC 9568
/// §6.4.1: router, override, not solicited. (keepalived leaves the router flag out.)
///
/// ```text
///  0       8       16      24
/// +-------+-------+-------+-------+
/// |  136  |   0   |   checksum    |   ICMPv6 (RFC 4861 §4.4), after Ethernet and IPv6
/// +-------+-------+-------+-------+
/// |R 0 O  |          0            |
/// +-------+-------+-------+-------+
/// |             target:           |
/// |              VIP              |
/// +-------+-------+-------+-------+
/// |   2   |   1   |  target MAC   |
/// +-------+-------+               |
/// |                               |
/// +-------+-------+-------+-------+
/// ```
#[must_use]
pub fn neighbour_advert(mac: [u8; 6], vip: Ipv6Addr) -> [u8; NEIGHBOUR_ADVERT_LEN] {
    let mut frame = [0; NEIGHBOUR_ADVERT_LEN];
    write(&mut frame, mac, vip);
    frame
}

fn write(frame: &mut [u8; NEIGHBOUR_ADVERT_LEN], mac: [u8; 6], vip: Ipv6Addr) {
    write_ethernet(frame, ALL_NODES_MAC, mac, ETH_IPV6);
    let (ip, message) = frame[ETHERNET..].split_at_mut(IPV6);
    // A constant that fits.
    let length = u16::try_from(ICMPV6).unwrap_or(u16::MAX);
    write_ip(ip, IP_ICMPV6, length, vip, ALL_NODES.into());
    message[field::TYPE] = ND_ADVERTISEMENT;
    message[field::CODE] = 0;
    message[field::CHECKSUM].copy_from_slice(&[0, 0]);
    message[field::FLAGS].copy_from_slice(&[ND_ROUTER | ND_OVERRIDE, 0, 0, 0]);
    message[field::TARGET].copy_from_slice(&vip.octets());
    // The length is in units of eight bytes.
    message[field::OPTION].copy_from_slice(&[ND_TARGET_ADDRESS, 1]);
    message[field::TARGET_MAC].copy_from_slice(&mac);
    // RFC 8200 §8.1.
    let checksum = Sum::default()
        .and(&vip.octets())
        .and(&ALL_NODES)
        .and(&[0, 0])
        .and(&length.to_be_bytes())
        .and(&[0, 0, 0, IP_ICMPV6])
        .and(message)
        .checksum();
    message[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written() {
        let (mac, vip) = ([2, 0, 0, 0, 0, 5], "fe80::3".parse().unwrap());
        let mut frame = [0xa5; NEIGHBOUR_ADVERT_LEN];
        write(&mut frame, mac, vip);
        assert_eq!(frame, neighbour_advert(mac, vip));
    }
}
