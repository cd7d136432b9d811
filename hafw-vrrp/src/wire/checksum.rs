//! The Internet checksum (RFC 1071).

/// The ones' complement sum of big-endian words. Parts of an odd length are padded with a zero, so
/// only the last part may have one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u32);

impl Sum {
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        let words = bytes
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
        // At most 2^15 words of a datagram: no overflow.
        Self(words.fold(self.0, |sum, word| sum + word))
    }

    /// The checksum that makes a sum over it valid.
    pub(super) fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether a sum that included the checksum says that nothing changed.
    pub(super) fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    fn fold(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        // Below 2^16 after two folds of a 32-bit sum.
        u16::try_from(twice).unwrap_or(0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = Sum::default().and(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), !0xddf2);
    }
}
