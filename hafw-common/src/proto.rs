//! Protocol numbers that both sides use.

/// EtherType of IPv4.
pub const ETH_IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ETH_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETH_IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const ETH_8021Q: u16 = 0x8100;
/// EtherType of an 802.1ad service tag.
pub const ETH_8021AD: u16 = 0x88a8;

/// IP protocol number of ICMP.
pub const IP_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const IP_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const IP_UDP: u8 = 17;
/// IP protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const IP_VRRP: u8 = 112;

/// The VRRP group over IPv4 (RFC 9568 §5.1.1.2).
pub const VRRP_GROUP_V4: [u8; 4] = [224, 0, 0, 18];
/// The Ethernet group address of [`VRRP_GROUP_V4`] (RFC 1112 §6.4).
pub const VRRP_GROUP_MAC_V4: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
/// The only TTL a valid advert may arrive with (RFC 9568 §5.1.1.3).
pub const VRRP_TTL: u8 = 255;
/// The VRRP header up to and including the checksum, without addresses.
pub const VRRP_HEADER_LEN: usize = 8;
/// The authentication data at the end of every version 2 advert (RFC 3768 §5.3.10).
pub const VRRP_V2_AUTH_LEN: usize = 8;
/// The longest VRRP message: 255 IPv4 addresses and version 2's authentication data.
pub const VRRP_MAX_LEN: usize = VRRP_HEADER_LEN + 255 * 4 + VRRP_V2_AUTH_LEN;
/// Version 2 authentication types: none, and the clear-text password of RFC 2338 §5.3.6.
pub const VRRP_AUTH_NONE: u8 = 0;
/// See [`VRRP_AUTH_NONE`].
pub const VRRP_AUTH_PASS: u8 = 1;
