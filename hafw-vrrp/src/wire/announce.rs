//! Gratuitous ARP (RFC 9568 §6.4.2, §6.4.3).

use std::net::Ipv4Addr;

use hafw_common::proto::{ETH_ARP, ETH_IPV4};

/// Bytes of the frame.
pub const GRATUITOUS_ARP_LEN: usize = 42;

const BROADCAST: [u8; 6] = [0xff; 6];
const REQUEST: u16 = 1;
const ETHERNET: u16 = 1;
/// Of a MAC and of an IPv4 address.
const LENGTHS: [u8; 2] = [6, 4];

mod field {
    use std::ops::Range;

    pub(super) const DESTINATION_MAC: Range<usize> = 0..6;
    pub(super) const SOURCE_MAC: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: Range<usize> = 12..14;
    pub(super) const HARDWARE: Range<usize> = 14..16;
    pub(super) const PROTOCOL: Range<usize> = 16..18;
    pub(super) const LENGTHS: Range<usize> = 18..20;
    pub(super) const OPERATION: Range<usize> = 20..22;
    pub(super) const SENDER_MAC: Range<usize> = 22..28;
    pub(super) const SENDER: Range<usize> = 28..32;
    pub(super) const TARGET_MAC: Range<usize> = 32..38;
    pub(super) const TARGET: Range<usize> = 38..42;
}

/// A broadcast ARP request in which sender and target are the VIP, as keepalived and FRR send it:
/// every neighbour that knows the VIP takes the MAC over (RFC 5227 §3).
///
/// ```text
///  0       8       16      24
/// +-------+-------+-------+-------+
/// | hardware: 1   | protocol: IPv4|   ARP (RFC 826), after the 14 bytes of Ethernet
/// +-------+-------+-------+-------+
/// | 6     | 4     | operation: 1  |
/// +-------+-------+-------+-------+
/// |          sender MAC           |
/// +               +-------+-------+
/// |               | sender: VIP   |
/// +-------+-------+-------+-------+
/// |               | target MAC:   |
/// +-------+-------+ broadcast     |
/// |                               |
/// +-------+-------+-------+-------+
/// |          target: VIP          |
/// +-------+-------+-------+-------+
/// ```
#[must_use]
pub fn gratuitous_arp(mac: [u8; 6], vip: Ipv4Addr) -> [u8; GRATUITOUS_ARP_LEN] {
    let mut frame = [0; GRATUITOUS_ARP_LEN];
    write(&mut frame, mac, vip);
    frame
}

fn write(frame: &mut [u8; GRATUITOUS_ARP_LEN], mac: [u8; 6], vip: Ipv4Addr) {
    frame[field::DESTINATION_MAC].copy_from_slice(&BROADCAST);
    frame[field::SOURCE_MAC].copy_from_slice(&mac);
    frame[field::ETHERTYPE].copy_from_slice(&ETH_ARP.to_be_bytes());
    frame[field::HARDWARE].copy_from_slice(&ETHERNET.to_be_bytes());
    frame[field::PROTOCOL].copy_from_slice(&ETH_IPV4.to_be_bytes());
    frame[field::LENGTHS].copy_from_slice(&LENGTHS);
    frame[field::OPERATION].copy_from_slice(&REQUEST.to_be_bytes());
    frame[field::SENDER_MAC].copy_from_slice(&mac);
    frame[field::SENDER].copy_from_slice(&vip.octets());
    frame[field::TARGET_MAC].copy_from_slice(&BROADCAST);
    frame[field::TARGET].copy_from_slice(&vip.octets());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    #[test]
    fn every_byte_is_written() {
        let mut frame = [0xa5; GRATUITOUS_ARP_LEN];
        write(&mut frame, MAC, VIP);
        assert_eq!(frame, gratuitous_arp(MAC, VIP));
    }

    #[test]
    fn sender_and_target_are_the_vip_and_only_the_sender_has_a_mac() {
        let frame = gratuitous_arp(MAC, VIP);
        assert_eq!(frame[field::SENDER], VIP.octets());
        assert_eq!(frame[field::TARGET], VIP.octets());
        assert_eq!(frame[field::SENDER_MAC], MAC);
        assert_eq!(frame[field::SOURCE_MAC], MAC);
        assert_eq!(frame[field::TARGET_MAC], BROADCAST);
    }
}
