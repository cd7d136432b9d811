//! What `nat` mode rewrites, known beforehand: checksum differences are computed here, not per
//! packet.

use core::net::IpAddr;

/// Ones' complement differences (RFC 1624) that one rewrite makes to checksums, as the sums of
/// 16-bit words in the machine's byte order, in which they lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// To the IPv4 header's, and to an ICMPv6 message's: an address changes.
    pub ip: u16,
    /// To TCP's and UDP's: the address, which is in the pseudo-header, and a port change.
    pub l4: u16,
}

impl Delta {
    /// Of replacing one IPv4 address and port by another.
    #[must_use]
    pub const fn between(
        (from, from_port): ([u8; 4], [u8; 2]),
        (to, to_port): ([u8; 4], [u8; 2]),
    ) -> Self {
        let [a, b, c, d] = from;
        let [e, f, g, h] = to;
        let ip = sum([
            word([e, f]),
            word([g, h]),
            !word([a, b]),
            !word([c, d]),
            0,
            0,
        ]);
        Self::with_ports(ip, from_port, to_port)
    }

    /// Of replacing one IPv6 address and port by another.
    #[must_use]
    pub const fn between_v6(
        (from, from_port): ([u8; 16], [u8; 2]),
        (to, to_port): ([u8; 16], [u8; 2]),
    ) -> Self {
        let (mut ip, mut at) = (0, 0);
        while at < 16 {
            let (old, new) = ([from[at], from[at + 1]], [to[at], to[at + 1]]);
            ip = sum([ip, word(new), !word(old), 0, 0, 0]);
            at += 2;
        }
        Self::with_ports(ip, from_port, to_port)
    }

    const fn with_ports(ip: u16, from: [u8; 2], to: [u8; 2]) -> Self {
        let l4 = sum([ip, word(to), !word(from), 0, 0, 0]);
        Self { ip, l4 }
    }
}

/// What an endpoint is replaced by, but for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The port, network order.
    pub port: [u8; 2],
    /// What the replacement does to checksums.
    pub delta: Delta,
}

impl Rewrite {
    /// Of an endpoint by another one. Where their families differ, the port alone is meant.
    #[must_use]
    pub const fn between(from: (IpAddr, u16), to: (IpAddr, u16)) -> Self {
        let (old, port) = (from.1.to_be_bytes(), to.1.to_be_bytes());
        let delta = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Delta::between((from.octets(), old), (to.octets(), port))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Delta::between_v6((from.octets(), old), (to.octets(), port))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Delta { ip: 0, l4: 0 }
            }
        };
        Self { port, delta }
    }

    /// As one word, to be stored and replaced in one store.
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        u16::from_le_bytes(self.port) as u64
            | (self.delta.ip as u64) << 16
            | (self.delta.l4 as u64) << 32
    }

    /// The inverse of [`Self::to_word`]; the top 16 bits are ignored.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            port: (word as u16).to_le_bytes(),
            delta: Delta {
                ip: (word >> 16) as u16,
                l4: (word >> 32) as u16,
            },
        }
    }
}

const fn word(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

const fn sum(words: [u16; 6]) -> u16 {
    let [a, b, c, d, e, f] = words;
    let sum = a as u32 + b as u32 + c as u32 + d as u32 + e as u32 + f as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Key of [`crate::maps::NAT_SOURCES`]: where replies come from.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct NatKey {
    /// The backend's address, network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
    /// Its port, network order.
    pub port: [u8; 2],
    /// [`crate::proto::IP_TCP`] or [`crate::proto::IP_UDP`].
    pub protocol: u8,
    /// Explicit padding, zero.
    pub reserved: u8,
}

/// What a backend's replies are to come from instead: no flow table is needed, because a backend's
/// address, port and protocol belong to one `nat` service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NatSource {
    /// The service's VIP, network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
    /// What puts the VIP and its port in place of the backend, see [`Rewrite`].
    pub rewrite: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_and_its_opposite_cancel() {
        let (vip, backend) = (([10, 0, 0, 3], [0, 80]), ([192, 168, 9, 7], [0x1f, 0x90]));
        let there = Delta::between(vip, backend);
        let back = Delta::between(backend, vip);
        assert_eq!(sum([there.ip, back.ip, 0, 0, 0, 0]), 0xffff);
        assert_eq!(sum([there.l4, back.l4, 0, 0, 0, 0]), 0xffff);
        let (vip, backend) = (([0x20; 16], [0, 80]), ([0xfd; 16], [0x1f, 0x90]));
        let there = Delta::between_v6(vip, backend);
        let back = Delta::between_v6(backend, vip);
        assert_eq!(sum([there.ip, back.ip, 0, 0, 0, 0]), 0xffff);
        assert_eq!(sum([there.l4, back.l4, 0, 0, 0, 0]), 0xffff);
    }

    #[test]
    fn a_rewrite_survives_its_word() {
        let delta = Delta { ip: 0xfffe, l4: 1 };
        let rewrite = Rewrite {
            port: [0xff, 1],
            delta,
        };
        assert_eq!(
            Rewrite::from_word(rewrite.to_word() | 0xbeef << 48),
            rewrite
        );
    }
}
