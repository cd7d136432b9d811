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
/// IP protocol number of an IPv4 datagram in another one (RFC 2003).
pub const IP_IPIP: u8 = 4;
/// IP protocol number of TCP.
pub const IP_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const IP_UDP: u8 = 17;
/// IP protocol number of ICMPv6 (RFC 4443 §1).
pub const IP_ICMPV6: u8 = 58;
/// IP protocol number of an IPv6 datagram in another one (RFC 2473, RFC 4213).
pub const IP_IPV6: u8 = 41;
/// IP protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const IP_VRRP: u8 = 112;
/// Next Header of a Fragment header (RFC 8200 §4.5).
pub const IP_FRAGMENT: u8 = 44;

/// UDP port of GUE, registered for it.
pub const GUE_PORT: u16 = 6080;
/// The network that tunnels over IPv4 come from; 16 bits of the flow's hash follow. Katran's.
pub const TUNNEL_SOURCE_V4: [u8; 4] = [172, 16, 0, 0];
/// The network that tunnels over IPv6 come from, 100::/64 (RFC 6666), in two halves; the flow's hash
/// is in the last 32 bits.
pub const TUNNEL_SOURCE_V6: [u64; 2] = [0x0100 << 48, 0];
/// Every link carries this much of IPv6 (RFC 8200 §5).
pub const IPV6_MIN_MTU: usize = 1280;

/// The VRRP group over IPv4 (RFC 9568 §5.1.1.2).
pub const VRRP_GROUP_V4: [u8; 4] = [224, 0, 0, 18];
/// The Ethernet group address of [`VRRP_GROUP_V4`] (RFC 1112 §6.4).
pub const VRRP_GROUP_MAC_V4: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
/// The VRRP group over IPv6, ff02::12 (RFC 9568 §5.1.2.2).
pub const VRRP_GROUP_V6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
/// The Ethernet group address of [`VRRP_GROUP_V6`] (RFC 2464 §7).
pub const VRRP_GROUP_MAC_V6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x12];
/// The only TTL or hop limit a valid advert may arrive with (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const VRRP_TTL: u8 = 255;
/// The VRRP header up to and including the checksum, without addresses.
pub const VRRP_HEADER_LEN: usize = 8;
/// The authentication data at the end of every version 2 advert (RFC 3768 §5.3.10).
pub const VRRP_V2_AUTH_LEN: usize = 8;
/// The most IPv6 addresses in an advert: with more it does not fit an Ethernet frame of 1500 bytes,
/// and a fragment is no advert. IPv4's 255 do.
pub const VRRP_MAX_V6: usize = 90;
/// The longest VRRP message: [`VRRP_MAX_V6`] addresses.
pub const VRRP_MAX_LEN: usize = VRRP_HEADER_LEN + VRRP_MAX_V6 * 16;
/// Version 2 authentication types: none, and the clear-text password of RFC 2338 §5.3.6.
pub const VRRP_AUTH_NONE: u8 = 0;
/// See [`VRRP_AUTH_NONE`].
pub const VRRP_AUTH_PASS: u8 = 1;

/// Hop limit of Neighbor Discovery, sent and demanded (RFC 4861 §7.1).
pub const ND_HOP_LIMIT: u8 = 255;
/// ICMPv6 type of a Neighbor Solicitation (RFC 4861 §4.3).
pub const ND_SOLICITATION: u8 = 135;
/// ICMPv6 type of a Neighbor Advertisement (RFC 4861 §4.4).
pub const ND_ADVERTISEMENT: u8 = 136;
/// In the first byte of an advertisement's flags: the sender is a router (RFC 4861 §4.4).
pub const ND_ROUTER: u8 = 1 << 7;
/// It answers a solicitation.
pub const ND_SOLICITED: u8 = 1 << 6;
/// It overrides what a neighbour has cached.
pub const ND_OVERRIDE: u8 = 1 << 5;
/// Option type of a source link-layer address (RFC 4861 §4.6.1).
pub const ND_SOURCE_ADDRESS: u8 = 1;
/// Option type of a target link-layer address.
pub const ND_TARGET_ADDRESS: u8 = 2;
/// All nodes on the link, ff02::1 (RFC 4291 §2.7.1).
pub const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The Ethernet group address of [`ALL_NODES`].
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// The solicited-node group of an address (RFC 4291 §2.7.1): where solicitations for it go.
#[must_use]
pub const fn solicited_node(address: [u8; 16]) -> [u8; 16] {
    let [.., a, b, c] = address;
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]
}

/// The first five bytes of an IPv4 router's virtual MAC; the last is its VRID (RFC 9568 §7.3).
pub const VIRTUAL_MAC_V4: [u8; 5] = [0, 0, 0x5e, 0, 1];

/// The virtual MAC of an IPv4 router.
#[must_use]
pub const fn virtual_mac_v4(vrid: u8) -> [u8; 6] {
    let [a, b, c, d, e] = VIRTUAL_MAC_V4;
    [a, b, c, d, e, vrid]
}

/// The first five bytes of an IPv6 router's virtual MAC.
pub const VIRTUAL_MAC_V6: [u8; 5] = [0, 0, 0x5e, 0, 2];

/// The virtual MAC of an IPv6 router.
#[must_use]
pub const fn virtual_mac_v6(vrid: u8) -> [u8; 6] {
    let [a, b, c, d, e] = VIRTUAL_MAC_V6;
    [a, b, c, d, e, vrid]
}
