//! The internet checksum (RFC 1071).
//!
//! Sums are taken over 32-bit words in the machine's byte order: the ones' complement sum does not
//! depend on it as long as nothing but its being all ones is asked (RFC 1071 §2 (B)).

use crate::ipv6::Address;

/// A ones' complement sum under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// A sum of words that someone else took.
    #[must_use]
    #[inline(always)]
    pub const fn of(sum: u32) -> Self {
        Self(sum as u64)
    }

    /// With four more bytes, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, word: [u8; 4]) -> Self {
        // 2^32 words fit before this overflows.
        Self(self.0 + u32::from_ne_bytes(word) as u64)
    }

    /// With an IPv6 address.
    #[must_use]
    #[inline(always)]
    pub const fn and_address(self, Address { first, second }: Address) -> Self {
        const LOW: u64 = 0xffff_ffff;
        Self(self.0 + (first >> 32) + (first & LOW) + (second >> 32) + (second & LOW))
    }

    /// With what another sum took.
    #[must_use]
    #[inline(always)]
    pub const fn and_sum(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// With these words.
    #[must_use]
    #[inline(always)]
    pub fn and_all(self, words: &[[u8; 4]]) -> Self {
        words.iter().fold(self, |sum, word| sum.and(*word))
    }

    /// The checksum that makes what was summed intact, as its bytes lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.folded() as u16).to_ne_bytes()
    }

    /// What makes it valid, for the checksum field, which was summed as 0.
    #[must_use]
    #[inline(always)]
    pub const fn complement(self) -> [u8; 2] {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        (!(sum as u16)).to_ne_bytes()
    }

    /// Whether what was summed, its checksum field included, is intact.
    #[must_use]
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        self.folded() == 0xffff
    }

    #[inline(always)]
    const fn folded(self) -> u64 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        (sum >> 16) + (sum & 0xffff)
    }
}

/// A checksum field after a change of `delta` (see [`hafw_common::nat::Delta`]) to what it covers:
/// RFC 1624's equation 3.
#[must_use]
#[inline(always)]
pub const fn adjust(field: [u8; 2], delta: u16) -> [u8; 2] {
    let sum = !u16::from_ne_bytes(field) as u32 + delta as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_ne_bytes()
}

/// The difference that replacing one 16-bit word by another makes.
#[must_use]
#[inline(always)]
pub const fn difference(from: [u8; 2], to: [u8; 2]) -> u16 {
    let sum = !u16::from_ne_bytes(from) as u32 + u16::from_ne_bytes(to) as u32;
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The difference that replacing one IPv6 address by another makes.
#[must_use]
#[inline(always)]
pub const fn address_difference(from: Address, to: Address) -> u16 {
    let not = Address {
        first: !from.first,
        second: !from.second,
    };
    let sum = Sum(0).and_address(not).and_address(to);
    sum.folded() as u16
}

#[cfg(test)]
mod tests {
    use hafw_common::nat::Delta;

    use super::*;

    #[test]
    fn an_adjusted_header_is_valid_again() {
        let mut header = HEADER;
        header[8] -= 1;
        header[16..].copy_from_slice(&[255, 255, 255, 254]);
        let address = Delta::between(([224, 0, 0, 18], [0; 2]), ([255, 255, 255, 254], [0; 2])).ip;
        let field = adjust([header[10], header[11]], address);
        let field = adjust(field, difference([0xff, 0x70], [0xfe, 0x70]));
        header[10..12].copy_from_slice(&field);
        assert!(sum(&header).is_valid());
    }

    /// A header from a keepalived advert, captured.
    const HEADER: [u8; 20] = [
        0x45, 0xc0, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xd0, 0x8d, 10, 0, 0, 5, 224,
        0, 0, 18,
    ];

    fn sum(bytes: &[u8]) -> Sum {
        Sum::default().and_all(bytes.as_chunks().0)
    }

    #[test]
    fn a_captured_header_is_valid() {
        assert!(sum(&HEADER).is_valid());
    }

    #[test]
    fn a_checksum_makes_its_header_valid() {
        let mut bytes = HEADER;
        bytes[10..12].fill(0);
        assert_eq!(sum(&bytes).checksum(), HEADER[10..12]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..HEADER.len() * 8 {
            let mut bytes = HEADER;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!sum(&bytes).is_valid(), "bit {bit}");
        }
    }

    #[test]
    fn carries_are_added_back_until_none_is_left() {
        // 0xffff + 0xffff + 1 folds to 0xffff + 1, which folds to 1, not to 0x10000.
        assert!(sum(&[0xff; 8]).is_valid());
        assert!(!sum(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]).is_valid());
        assert!(!sum(&[0; 8]).is_valid());
    }
}
