//! Virtual addresses.

/// Key of [`crate::maps::VIPS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VipKey {
    /// Network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
}

/// What a VIP belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Vip {
    /// Index of the owning router's words in [`crate::maps::LEASES`].
    pub router: u32,
    /// [`VIP_HAS_SERVICE`], [`VIP_ACCEPT`], [`VIP_SHIELDED`].
    pub flags: u32,
}

/// Some L4 service uses this VIP: a fragment for it cannot be told from a service's.
pub const VIP_HAS_SERVICE: u32 = 1;
/// Traffic to the VIP that no service takes is delivered to the local stack (RFC 9568's
/// Accept_Mode, §6.1).
pub const VIP_ACCEPT: u32 = 1 << 1;
/// What is delivered to the local stack is looked up in [`crate::maps::BLOCKED`] first.
pub const VIP_SHIELDED: u32 = 1 << 2;

/// The word and bit of [`crate::maps::VIP_FILTER`] for an IPv4 address. A clear bit proves that the
/// address is no VIP, at the price of one array look-up instead of a hash look-up.
#[must_use]
#[inline(always)]
pub const fn filter_bit(address: [u8; 4]) -> (u32, u64) {
    // Fibonacci hashing: the top 16 bits of the product depend on every bit of the address.
    let hash = u32::from_ne_bytes(address).wrapping_mul(0x9e37_79b1) >> 16;
    (hash >> 6, 1 << (hash & 63))
}

/// As [`filter_bit`], for an IPv6 address, in the same filter.
#[must_use]
#[inline(always)]
pub const fn filter_bit6(address: [u8; 16]) -> (u32, u64) {
    let (high, low) = crate::halves(address);
    // One half is turned: the halves of an address often resemble each other.
    let hash = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    ((hash >> 6) as u32, 1 << (hash & 63))
}

/// [`filter_bit`] or [`filter_bit6`], for an address as [`VipKey`] has it.
#[must_use]
pub const fn filter_bit_of(address: [u8; 16]) -> (u32, u64) {
    match crate::as_v4(address) {
        Some(v4) => filter_bit(v4),
        None => filter_bit6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_word_in_the_filter() {
        for last in 0..=255u8 {
            let (word, bit) = filter_bit([10, last, 255, last]);
            assert!(word < crate::maps::VIP_FILTER_WORDS);
            assert_eq!(bit.count_ones(), 1);
        }
    }

    #[test]
    fn neighbouring_ipv6_addresses_spread_over_the_filter() {
        let mut taken = std::collections::BTreeSet::new();
        for last in 0..1000u16 {
            let mut address = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            address[14..].copy_from_slice(&last.to_be_bytes());
            let (word, bit) = filter_bit6(address);
            assert!(word < crate::maps::VIP_FILTER_WORDS);
            assert_eq!(bit.count_ones(), 1);
            taken.insert((word, bit));
        }
        // Of 1000 on 65,536, some 7 would meet by chance.
        assert!(taken.len() > 970, "{}", taken.len());
    }

    #[test]
    fn an_address_has_the_bit_of_its_family() {
        let v4 = [10, 0, 0, 3];
        assert_eq!(filter_bit_of(crate::v4_mapped(v4)), filter_bit(v4));
        let v6 = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
        assert_eq!(filter_bit_of(v6), filter_bit6(v6));
    }
}
