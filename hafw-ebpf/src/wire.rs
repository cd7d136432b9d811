//! Headers on the wire. Those of the usual protocols are network-types'; here is what it lacks.

use hafw_common::proto::{ETH_IPV4, IP_FRAGMENT, VRRP_HEADER_LEN};
use network_types::{
    arp::ArpHdr,
    eth::EthHdr,
    icmp::Icmpv4Hdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
};

/// A header that may be read, and written, in place.
///
/// # Safety
/// The type is `repr(C)`, has no padding, every bit pattern is a valid value, and its alignment is
/// at most 2: a frame starts at an even address (`NET_IP_ALIGN` is 0 or 2), and headers lie at even
/// offsets in it.
#[expect(
    unsafe_code,
    reason = "what frames are read as must be declared fit for it"
)]
pub unsafe trait Header: Copy + 'static {
    /// Fails to compile for a type that would have to be aligned further.
    const ALIGNED: () = assert!(align_of::<Self>() <= 2);
}

macro_rules! headers {
    ($($header:ty),+ $(,)?) => {$(
        // SAFETY: repr(C), made of bytes and byte arrays (EthHdr: and of a 16-bit number at an even
        // offset, at its end), so without padding and valid whatever the bits.
        #[expect(unsafe_code, reason = "see the trait")]
        unsafe impl Header for $header {}
    )+};
}

headers!(
    EthHdr, ArpHdr, Ipv4Hdr, Ipv6Hdr, TcpHdr, UdpHdr, Icmpv4Hdr, Icmpv6, Nd, NdOption, Ports, Vrrp,
    Quad, Quote,
);

/// In the first byte of a MAC: a group, broadcast among them (IEEE 802, I/G).
pub(crate) const GROUP_BIT: u8 = 1;

/// [`ArpHdr::oper`] of a request, a gratuitous one too (RFC 826).
pub const ARP_REQUEST: [u8; 2] = [0, 1];
/// [`ArpHdr::oper`] of a reply.
pub const ARP_REPLY: [u8; 2] = [0, 2];

/// Whether an ARP packet is about IPv4 over Ethernet.
#[must_use]
#[inline(always)]
pub const fn is_ethernet_ipv4(arp: &ArpHdr) -> bool {
    matches!(arp.htype, [0, 1])
        && u16::from_be_bytes(arp.ptype) == ETH_IPV4
        && arp.hlen == 6
        && arp.plen == 4
}

/// Whether a datagram is a part of one: more follow, or it isn't the first. DF does not count.
#[must_use]
#[inline(always)]
pub const fn is_fragment(ip: &Ipv4Hdr) -> bool {
    u16::from_be_bytes(ip.frags) & 0x3fff != 0
}

/// Whether a datagram is a fragment other than the first: what follows is no L4 header.
#[must_use]
#[inline(always)]
pub const fn is_later_fragment(ip: &Ipv4Hdr) -> bool {
    u16::from_be_bytes(ip.frags) & 0x1fff != 0
}

/// [`Icmpv4Hdr::type_`]s of errors about a datagram, which they quote (RFC 792).
pub const ICMP_UNREACHABLE: u8 = 3;
/// See [`ICMP_UNREACHABLE`].
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// See [`ICMP_UNREACHABLE`].
pub const ICMP_PARAMETER_PROBLEM: u8 = 12;

/// The ICMPv6 header (RFC 4443 §2.1) and the four bytes that every message has after it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6 {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum, over a pseudo-header too.
    pub checksum: [u8; 2],
    /// The type's own.
    pub rest: [u8; 4],
}

/// [`Icmpv6::kind`]s of errors about a datagram, which they quote (RFC 4443 §3): unreachable, too
/// big, time exceeded, parameter problem.
pub const ICMPV6_ERRORS: core::ops::RangeInclusive<u8> = 1..=4;

/// [`Icmpv6::kind`] of "packet too big" (RFC 4443 §3.2).
pub const ICMPV6_TOO_BIG: u8 = 2;

/// A Neighbor Solicitation or Advertisement without its options (RFC 4861 §4.3, §4.4).
///
/// ```text
/// +-------+-------+-------+-------+
/// | type  | code  |   checksum    |
/// +-------+-------+-------+-------+
/// |R S O  |       reserved        |
/// +-------+-------+-------+-------+
/// |     target, 16 bytes          |
/// +-------+-------+-------+-------+
/// | options ...
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Nd {
    /// ICMPv6's.
    pub icmp: Icmpv6,
    /// Target address.
    pub target: [u8; 16],
}

/// A source or target link-layer address option (RFC 4861 §4.6.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NdOption {
    /// Type.
    pub kind: u8,
    /// Length in units of eight bytes.
    pub units: u8,
    /// The address.
    pub mac: [u8; 6],
}

/// Whether a Next Header is that of an extension header (RFC 8200 §4, RFC 4302, RFC 6275,
/// RFC 7401, RFC 5533): hop-by-hop options, routing, fragment, destination options, authentication,
/// mobility, HIP, Shim6. What follows it is not looked at.
#[must_use]
#[inline(always)]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        0 | 43 | IP_FRAGMENT | 51 | 60 | 135 | 139 | 140
    )
}

/// The first four bytes of TCP and of UDP.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

/// A VRRP header without addresses, of either version (RFC 9568 §5.2, RFC 3768 §5.3).
///
/// ```text
///  0                   1                   2                   3
/// +-------+-------+---------------+---------------+---------------+
/// |Version| Type  |     VRID      |   Priority    |     Count     |
/// +-------+-------+---------------+---------------+---------------+
/// | v3: rsvd, Max Advertise Intvl |            Checksum           |
/// | v2: Auth Type,  Adver Int     |                               |
/// +-------------------------------+-------------------------------+
/// |            Count addresses; version 2: 8 bytes more           |
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Vrrp {
    /// Version and type.
    pub version_type: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority; 0 releases.
    pub priority: u8,
    /// Number of addresses.
    pub count: u8,
    /// Version 2: authentication type and interval in seconds. Version 3: four reserved bits and
    /// the interval in centiseconds.
    pub interval: [u8; 2],
    /// Checksum.
    pub checksum: [u8; 2],
}

const _: () = assert!(size_of::<Vrrp>() == VRRP_HEADER_LEN);

/// The type of an advert, the only one there is.
pub const VRRP_ADVERT: u8 = 1;

/// What an ICMP error quotes of a datagram without options: its header and 8 bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Quote(pub [[u8; 4]; 7]);

/// Four bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Quad(pub [u8; 4]);

// SAFETY: as a Quad.
#[expect(unsafe_code, reason = "see the trait")]
unsafe impl Header for [Quad; 4] {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_length_on_the_wire() {
        assert_eq!(EthHdr::LEN, 14);
        assert_eq!(ArpHdr::LEN, 28);
        assert_eq!(Ipv4Hdr::LEN, 20);
        assert_eq!(TcpHdr::LEN, 20);
        assert_eq!(UdpHdr::LEN, 8);
        assert_eq!(Icmpv4Hdr::LEN, 8);
        assert_eq!(size_of::<Ports>(), 4);
        assert_eq!(Ipv6Hdr::LEN, 40);
        assert_eq!(size_of::<Icmpv6>(), 8);
        assert_eq!(size_of::<Nd>(), 24);
        assert_eq!(size_of::<NdOption>(), 8);
    }

    fn with_frags(frags: [u8; 2]) -> Ipv4Hdr {
        Ipv4Hdr {
            vihl: 0x45,
            tos: 0,
            tot_len: [0; 2],
            id: [0; 2],
            frags,
            ttl: 64,
            proto: 6,
            check: [0; 2],
            src_addr: [0; 4],
            dst_addr: [0; 4],
        }
    }

    #[test]
    fn dont_fragment_is_no_fragment() {
        assert!(!is_fragment(&with_frags([0x40, 0])));
        for frags in [[0x20, 0], [0, 1], [0x1f, 0xff], [0x60, 0]] {
            assert!(is_fragment(&with_frags(frags)), "{frags:x?}");
        }
    }

    #[test]
    fn only_an_offset_makes_a_later_fragment() {
        assert!(!is_later_fragment(&with_frags([0x60, 0])));
        assert!(is_later_fragment(&with_frags([0x20, 1])));
    }
}
