//! L4 services and their slots.

use core::net::{IpAddr, SocketAddr};

use crate::unmapped;

/// Key of [`crate::maps::SERVICES`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct ServiceKey {
    /// The VIP, network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
    /// Destination port, network order.
    pub port: [u8; 2],
    /// [`crate::proto::IP_TCP`] or [`crate::proto::IP_UDP`].
    pub protocol: u8,
    /// Explicit padding, zero.
    pub reserved: u8,
}

impl ServiceKey {
    /// The key of a service, its port as a number.
    #[must_use]
    pub const fn new(vip: IpAddr, port: u16, protocol: u8) -> Self {
        Self {
            address: crate::mapped(vip),
            port: port.to_be_bytes(),
            protocol,
            reserved: 0,
        }
    }

    /// The VIP and port.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        SocketAddr::new(unmapped(self.address), u16::from_be_bytes(self.port))
    }
}

/// How packets of a service reach its backends: as they are, the backend has the VIP.
pub const MODE_DSR: u32 = 1;
/// With the backend's address and port as destination; replies come back through the node.
pub const MODE_NAT: u32 = 2;
/// Inside another datagram, to the backend's address; the backend has the VIP.
pub const MODE_IPIP: u32 = 3;
/// As [`MODE_IPIP`], inside a UDP datagram to [`crate::proto::GUE_PORT`].
pub const MODE_GUE: u32 = 4;

/// In [`Service::mode`]: sources are looked up in [`crate::maps::GUARDS`] first.
pub const SERVICE_GUARDED: u32 = 1 << 31;
/// The bits of [`Service::mode`] that are the mode.
pub const SERVICE_MODE: u32 = 0xff;

/// One service: a region of [`crate::maps::SLOTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Service {
    /// Index of the owning router's words in [`crate::maps::LEASES`].
    pub router: u32,
    /// First slot.
    pub first_slot: u32,
    /// Number of slots; at least 1.
    pub slots: u32,
    /// [`MODE_DSR`] or one of the others; [`SERVICE_GUARDED`] above.
    pub mode: u32,
}

/// A slot: one 64-bit word, replaced in one store.
///
/// ```text
///  63        48 47                 24 23                  0
/// +------------+---------------------+---------------------+
/// |   flags    |        base         |       current       |
/// +------------+---------------------+---------------------+
/// ```
/// At rest (no flag set) `current` serves every packet, and no other table is read. A slot that has
/// moved ([`SLOT_MOVED`]) while flows were on it has them on `base`; new ones go to `current` and have
/// entries in [`crate::maps::FLOWS`]. It may have moved back, so `current` and `base` being equal is
/// not rest.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u64);

/// "No backend" in either field of a [`Slot`].
pub const NO_BACKEND: u32 = 0x00ff_ffff;

/// In a [`Slot`]: it is not at rest.
pub const SLOT_MOVED: u64 = 1 << 48;

impl Slot {
    /// A slot that sends new flows to one backend and those without entry to another.
    #[must_use]
    pub const fn moved(current: u32, base: u32) -> Self {
        let (current, base) = (current & NO_BACKEND, base & NO_BACKEND);
        Self(current as u64 | (base as u64) << 24 | SLOT_MOVED)
    }

    /// Whether it is not at rest.
    #[must_use]
    #[inline(always)]
    pub const fn is_moved(self) -> bool {
        self.0 & SLOT_MOVED != 0
    }

    /// A slot at rest on `backend`, or on none.
    #[must_use]
    pub const fn at_rest(backend: u32) -> Self {
        let id = (backend & NO_BACKEND) as u64;
        Self(id | id << 24)
    }

    /// The backend of new flows; at rest, of all.
    #[must_use]
    #[inline(always)]
    pub const fn current(self) -> u32 {
        self.0 as u32 & NO_BACKEND
    }

    /// The backend of the flows that were here before the slot moved.
    #[must_use]
    #[inline(always)]
    pub const fn base(self) -> u32 {
        (self.0 >> 24) as u32 & NO_BACKEND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_at_rest_names_one_backend_twice() {
        let slot = Slot::at_rest(65_535);
        assert_eq!((slot.current(), slot.base()), (65_535, 65_535));
        assert_eq!(slot.0 >> 48, 0);
        assert_eq!(Slot::at_rest(NO_BACKEND).current(), NO_BACKEND);
        assert!(!slot.is_moved());
    }

    #[test]
    fn a_slot_that_moved_back_is_not_at_rest() {
        let slot = Slot::moved(7, 7);
        assert_eq!((slot.current(), slot.base()), (7, 7));
        assert!(slot.is_moved());
        let drained = Slot::moved(NO_BACKEND, 7);
        assert_eq!((drained.current(), drained.base()), (NO_BACKEND, 7));
    }
}
