//! Headers as they lie on the wire: byte arrays in network order, so of alignment 1.

use bytemuck::{Pod, Zeroable};

/// A header that may be read in place at any offset.
pub trait Header: Pod {
    /// Fails to compile for a type that would have to be aligned.
    const UNALIGNED: () = assert!(align_of::<Self>() == 1);
}

/// Bytes of an Ethernet header without tags.
pub const ETH_LEN: usize = size_of::<Ethernet>();

/// Ethernet II.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ethernet {
    /// Destination MAC.
    pub destination: [u8; 6],
    /// Source MAC.
    pub source: [u8; 6],
    /// EtherType of what follows.
    pub ethertype: [u8; 2],
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
///
/// ```text
///  0                   1                   2                   3
/// +-------------------------------+-------------------------------+
/// |       hardware type = 1       |    protocol type = 0x0800     |
/// +---------------+---------------+-------------------------------+
/// |  hw length 6  | proto length 4|           operation           |
/// +---------------+---------------+-------------------------------+
/// |             sender hardware address, sender protocol address  |
/// |             target hardware address, target protocol address  |
/// +---------------------------------------------------------------+
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Arp {
    /// Hardware and protocol types and lengths; [`ARP_ETHERNET_IPV4`] is the only one known here.
    pub kind: [u8; 6],
    /// [`ARP_REQUEST`] or [`ARP_REPLY`].
    pub operation: [u8; 2],
    /// Sender's MAC.
    pub sender_mac: [u8; 6],
    /// Sender's address.
    pub sender: [u8; 4],
    /// Target's MAC; of no meaning in a request.
    pub target_mac: [u8; 6],
    /// Target's address.
    pub target: [u8; 4],
}

/// [`Arp::kind`] of IPv4 over Ethernet.
pub const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
/// A request, a gratuitous one too.
pub const ARP_REQUEST: [u8; 2] = [0, 1];
/// A reply.
pub const ARP_REPLY: [u8; 2] = [0, 2];

/// The fixed part of an IPv4 header (RFC 791 §3.1).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ipv4 {
    /// Version in the upper four bits, header length in 32-bit words in the lower.
    pub version_length: u8,
    /// Differentiated services.
    pub service: u8,
    /// Bytes of the whole datagram.
    pub total_length: [u8; 2],
    /// Identification.
    pub identification: [u8; 2],
    /// DF, MF and the fragment's offset in units of 8 bytes.
    pub fragment: [u8; 2],
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header.
    pub checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Bytes of the header with its options, 0 to 60; below 20 is invalid.
    #[must_use]
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.version_length as usize & 0xf) << 2
    }

    /// Whether the version is 4.
    #[must_use]
    #[inline(always)]
    pub const fn is_version_4(&self) -> bool {
        self.version_length >> 4 == 4
    }

    /// Bytes of the datagram, header included.
    #[must_use]
    #[inline(always)]
    pub const fn total_length(&self) -> usize {
        u16::from_be_bytes(self.total_length) as usize
    }

    /// Whether this is a part of a datagram: more follow, or it isn't the first. DF does not count.
    #[must_use]
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x3fff != 0
    }

    /// Whether this is a fragment other than the first: what follows is no L4 header.
    #[must_use]
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x1fff != 0
    }
}

/// The first four bytes of TCP and of UDP.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

/// Bytes of a UDP header (RFC 768).
pub const UDP_LEN: usize = 8;
/// Bytes of a TCP header without options (RFC 9293 §3.1).
pub const TCP_LEN: usize = size_of::<Tcp>();

/// A TCP header without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Tcp {
    /// Both ports.
    pub ports: Ports,
    /// Sequence and acknowledgement numbers.
    pub numbers: [u8; 8],
    /// Header length in 32-bit words in the upper four bits.
    pub offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Window, checksum, urgent pointer.
    pub rest: [u8; 6],
}

/// Bits of [`Tcp::flags`]: a new connection has SYN and not ACK.
pub const TCP_SYN: u8 = 0x02;
/// See [`TCP_SYN`].
pub const TCP_ACK: u8 = 0x10;

/// Bytes of an ICMP header; in an error, the datagram it is about follows.
pub const ICMP_LEN: usize = size_of::<Icmp>();

/// An ICMP header (RFC 792).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: [u8; 2],
    /// Of a meaning that depends on the type.
    pub rest: [u8; 4],
}

/// [`Icmp::kind`]s of errors about a datagram.
pub const ICMP_UNREACHABLE: u8 = 3;
/// See [`ICMP_UNREACHABLE`].
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// See [`ICMP_UNREACHABLE`].
pub const ICMP_PARAMETER_PROBLEM: u8 = 12;

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
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
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

/// The type of an advert, the only one there is.
pub const VRRP_ADVERT: u8 = 1;

/// Four bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Word(pub [u8; 4]);

impl Header for Ethernet {}
impl Header for Arp {}
impl Header for Ipv4 {}
impl Header for Ports {}
impl Header for Tcp {}
impl Header for Icmp {}
impl Header for Vrrp {}
impl Header for Word {}

/// In the first byte of a MAC: a group, broadcast among them (IEEE 802, I/G).
pub(crate) const GROUP_BIT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_length_on_the_wire() {
        assert_eq!(ETH_LEN, 14);
        assert_eq!(size_of::<Arp>(), 28);
        assert_eq!(size_of::<Ipv4>(), 20);
        assert_eq!(TCP_LEN, 20);
        assert_eq!(size_of::<Vrrp>(), 8);
    }

    #[test]
    fn dont_fragment_is_no_fragment() {
        let mut ip = Ipv4::zeroed();
        ip.fragment = [0x40, 0];
        assert!(!ip.is_fragment());
        for fragment in [[0x20, 0], [0, 1], [0x1f, 0xff], [0x60, 0]] {
            ip.fragment = fragment;
            assert!(ip.is_fragment(), "{fragment:x?}");
        }
    }
}
