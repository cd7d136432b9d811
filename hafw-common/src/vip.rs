//! Virtual addresses.

/// Key of [`crate::maps::VIPS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VipKey {
    /// IPv4, network order.
    pub address: [u8; 4],
}

/// What a VIP belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Vip {
    /// Index of the owning router's words in [`crate::maps::LEASES`].
    pub router: u32,
    /// [`VIP_HAS_SERVICE`], [`VIP_ACCEPT`].
    pub flags: u32,
}

/// Some L4 service uses this VIP: a fragment for it cannot be told from a service's.
pub const VIP_HAS_SERVICE: u32 = 1;
/// Traffic to the VIP that no service takes is delivered to the local stack (RFC 9568's
/// Accept_Mode, §6.1).
pub const VIP_ACCEPT: u32 = 1 << 1;

/// The word and bit of [`crate::maps::VIP_FILTER`] for an address. A clear bit proves that the
/// address is no VIP, at the price of one array look-up instead of a hash look-up.
#[must_use]
#[inline(always)]
pub const fn filter_bit(address: [u8; 4]) -> (u32, u64) {
    // Fibonacci hashing: the top 16 bits of the product depend on every bit of the address.
    let hash = u32::from_ne_bytes(address).wrapping_mul(0x9e37_79b1) >> 16;
    (hash >> 6, 1 << (hash & 63))
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
}
