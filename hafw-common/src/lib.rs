//! The ABI between the XDP programs and user space.
//!
//! Everything here is plain data with a fixed layout, or a pure function that both sides must
//! compute alike. Addresses, ports and MACs are byte arrays in network order; counters, times and
//! indices are native-endian integers. Anything that decides *policy* (the VRRP state machine,
//! Maglev) lives in its own crate.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
extern crate std;

use core::net::{IpAddr, Ipv6Addr};

pub mod backend;
pub mod blocked;
pub mod counters;
pub mod decap;
pub mod event;
pub mod flow;
pub mod guard;
pub mod iface;
pub mod lease;
pub mod maps;
pub mod moved;
pub mod nat;
pub mod proto;
pub mod route;
pub mod router;
pub mod service;
pub mod vip;

#[cfg(feature = "user")]
mod user;

/// Bumped on every change of a map's layout or meaning. A controller that finds pinned maps of
/// another version rebuilds them instead of adopting them.
pub const ABI_VERSION: u32 = 5;

/// One word of node-wide facts, in [`maps::NODE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Node {
    /// [`ABI_VERSION`] of the controller that made the maps.
    pub abi_version: u32,
    /// How many entries of [`maps::SLOTS`] the maps were made with.
    pub slot_capacity: u32,
    /// Length of a jiffy in ns, measured by the controller that made the maps.
    pub tick_ns: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// A MAC address in the low 48 bits of a word, so that it can be stored and replaced in one
/// store. The first byte on the wire is the lowest byte.
#[must_use]
pub const fn mac_to_word(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// The inverse of [`mac_to_word`]; the top 16 bits are ignored.
#[must_use]
pub const fn mac_from_word(word: u64) -> [u8; 6] {
    let b = word.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

/// An IPv4 address in the v4-mapped form of RFC 4291 §2.5.5.2, the form in which shared types
/// carry addresses of either family.
#[must_use]
pub const fn v4_mapped(a: [u8; 4]) -> [u8; 16] {
    // As one number: from bytes, LLVM makes a call of memset, which the BPF target has to loop in.
    (0xffff_0000_0000 | u32::from_be_bytes(a) as u128).to_be_bytes()
}

/// An address of either family in that form.
#[must_use]
pub const fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4_mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The inverse of [`mapped`].
#[must_use]
pub const fn unmapped(a: [u8; 16]) -> IpAddr {
    Ipv6Addr::from_octets(a).to_canonical()
}

/// The inverse of [`v4_mapped`]; `None` for an IPv6 address.
#[must_use]
pub const fn as_v4(a: [u8; 16]) -> Option<[u8; 4]> {
    let (first, second) = halves(a);
    if first == 0 && second >> 32 == 0xffff {
        Some((second as u32).to_be_bytes())
    } else {
        None
    }
}

/// An address as two numbers. Not as one: what is read as a u128 is aligned to 16 bytes, and
/// LLVM 22 crashes over copies of such in the BPF target.
#[inline(always)]
pub(crate) const fn halves(a: [u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = a;
    (
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_survives_its_word() {
        let mac = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
        assert_eq!(mac_from_word(mac_to_word(mac)), mac);
        assert_eq!(mac_from_word(mac_to_word(mac) | 0xbeef << 48), mac);
    }

    #[test]
    fn only_a_mapped_address_is_ipv4() {
        assert_eq!(as_v4(v4_mapped([10, 0, 0, 3])), Some([10, 0, 0, 3]));
        assert_eq!(as_v4([0; 16]), None);
        assert_eq!(as_v4([0xff; 16]), None);
    }
}
