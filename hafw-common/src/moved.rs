//! Flows of slots that have moved (invariant 7 of the architecture): which backend they are on where
//! the slot's word alone does not say it.

use crate::service::NO_BACKEND;

/// Key of [`crate::maps::FLOWS`], as packets to the service carry it.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct FlowKey {
    /// The client's address, network order; IPv4 as [`crate::v4_mapped`].
    pub client: [u8; 16],
    /// The VIP, likewise.
    pub vip: [u8; 16],
    /// The client's port, network order.
    pub client_port: [u8; 2],
    /// The service's port, network order.
    pub port: [u8; 2],
    /// [`crate::proto::IP_TCP`].
    pub protocol: u8,
    /// Explicit padding, zero.
    pub reserved: [u8; 3],
}

/// Where an established connection is, as two words. XDP alone writes entries; user space removes
/// those whose connections have ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FlowEntry {
    /// The backend's index in the low 24 bits, [`FLOW_CLOSING`] above.
    pub backend: u64,
    /// jiffies64 of the last packet from the client.
    pub seen_at: u64,
}

/// The client sent FIN or RST: a SYN of the same ports is a new connection.
pub const FLOW_CLOSING: u64 = 1 << 32;

/// A SYN of the same ports as a connection that was silent for so many jiffies is a new one. 1 to
/// 10 s, by the kernel's HZ.
pub const FLOW_RECENT: u64 = 1000;

/// Entries of [`crate::maps::EMBRYOS`]: connections whose handshakes may be under way at a time. It
/// is sized by rate × round-trip time: 1.3 million a second over 200 ms. With fewer, a handshake in
/// a slot that has moved may be taken for a connection that was there before, and fail.
pub const EMBRYOS: u32 = 1 << 18;

/// What a client's first sequence number, and the one of a later packet that still counts as the
/// handshake's end, may differ by.
pub const EMBRYO_WINDOW: u32 = 1 << 16;

/// A connection whose handshake is under way, as two words that other CPUs may overwrite one by
/// one. Both tell the flow, so that halves of two are not taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embryo {
    /// From [`FlowKey::fingerprint`].
    pub flow: Fingerprint,
    /// The SYN's sequence number.
    pub sequence: u32,
    /// The backend that it was sent to.
    pub backend: u32,
}

/// What tells a flow in the table of embryonic connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Place in the table.
    pub index: u32,
    first: u32,
    /// 40 bits.
    second: u64,
}

impl FlowKey {
    /// Two hashes of the flow that have nothing to do with its slot.
    #[must_use]
    #[inline(always)]
    pub fn fingerprint(&self) -> Fingerprint {
        let [a, b] = halves(self.client);
        let [c, d] = halves(self.vip);
        let ports = u32::from_ne_bytes([
            self.client_port[0],
            self.client_port[1],
            self.port[0],
            self.port[1],
        ]);
        let mut h = step(ports as u64 | (self.protocol as u64) << 32);
        h = step(h ^ a);
        h = step(h ^ b);
        h = step(h ^ c);
        h = step(h ^ d);
        let other = step(h ^ 0x5851_f42d_4c95_7f2d);
        Fingerprint {
            index: (other >> 40) as u32 & (EMBRYOS - 1),
            first: (h >> 32) as u32,
            second: (h ^ other) & 0xff_ffff_ffff,
        }
    }
}

impl Embryo {
    /// As it is stored.
    #[must_use]
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 2] {
        let Fingerprint { first, second, .. } = self.flow;
        [
            (first as u64) << 32 | self.sequence as u64,
            second << 24 | (self.backend & NO_BACKEND) as u64,
        ]
    }

    /// What is stored, if it is of this flow.
    #[must_use]
    #[inline(always)]
    pub const fn of(flow: Fingerprint, words: [u64; 2]) -> Option<Self> {
        if (words[0] >> 32) as u32 != flow.first || words[1] >> 24 != flow.second {
            return None;
        }
        Some(Self {
            flow,
            sequence: words[0] as u32,
            backend: words[1] as u32 & NO_BACKEND,
        })
    }

    /// Whether a packet with this sequence number, not a SYN, goes on with the handshake.
    #[must_use]
    #[inline(always)]
    pub const fn is_followed_by(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.sequence.wrapping_add(1)) < EMBRYO_WINDOW
    }
}

#[inline(always)]
fn halves(address: [u8; 16]) -> [u64; 2] {
    let number = u128::from_ne_bytes(address);
    [number as u64, (number >> 64) as u64]
}

/// A multiplication with an odd number, which loses nothing, and a rotation, which brings its upper
/// half down.
#[inline(always)]
const fn step(h: u64) -> u64 {
    h.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey {
            client: crate::v4_mapped([10, 0, 0, 1]),
            vip: crate::v4_mapped([10, 0, 0, 3]),
            client_port: port.to_be_bytes(),
            port: [0, 80],
            protocol: 6,
            reserved: [0; 3],
        }
    }

    #[test]
    fn an_embryo_is_known_by_its_flow_alone() {
        let embryo = Embryo {
            flow: key(1).fingerprint(),
            sequence: u32::MAX,
            backend: 65_535,
        };
        let words = embryo.to_words();
        assert_eq!(Embryo::of(key(1).fingerprint(), words), Some(embryo));
        assert_eq!(Embryo::of(key(2).fingerprint(), words), None);
        let other = Embryo {
            flow: key(2).fingerprint(),
            ..embryo
        };
        let torn = [words[0], other.to_words()[1]];
        assert_eq!(Embryo::of(key(1).fingerprint(), torn), None);
        assert_eq!(Embryo::of(key(2).fingerprint(), torn), None);
    }

    #[test]
    fn the_handshake_goes_on_within_a_window_after_the_syn() {
        let embryo = Embryo {
            flow: key(1).fingerprint(),
            sequence: u32::MAX - 1,
            backend: 0,
        };
        assert!(!embryo.is_followed_by(u32::MAX - 1));
        assert!(embryo.is_followed_by(u32::MAX));
        assert!(embryo.is_followed_by(500));
        assert!(!embryo.is_followed_by(EMBRYO_WINDOW - 1));
    }

    #[test]
    fn fingerprints_spread_over_the_table() {
        let indices: BTreeSet<_> = (0..10_000).map(|n| key(n).fingerprint().index).collect();
        // Of 10,000 on 262,144, some 190 would meet by chance.
        assert!(indices.len() > 9_700, "{}", indices.len());
    }
}
