//! Records of the [`crate::maps::EVENTS`] and [`crate::maps::UNRESOLVED`] rings.

use crate::proto::VRRP_MAX_LEN;

/// First word of an [`AdvertEvent`].
pub const EVENT_ADVERT: u32 = 1;
/// First word of a [`ClaimEvent`].
pub const EVENT_CLAIM: u32 = 2;

/// A valid advert for one of our routers. A record may be cut after `length` bytes of `message`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AdvertEvent {
    /// [`EVENT_ADVERT`].
    pub kind: u32,
    /// Router index.
    pub router: u32,
    /// CLOCK_MONOTONIC ns at which XDP saw it: the state machine runs on this.
    pub at: u64,
    /// Source address, [`crate::v4_mapped`].
    pub source: [u8; 16],
    /// Ethernet source.
    pub mac: [u8; 6],
    /// Bytes of `message` that are meant.
    pub length: u16,
    /// The VRRP message: the IP payload.
    pub message: [u8; VRRP_MAX_LEN],
}

/// Bytes of an [`AdvertEvent`] before `message`.
pub const ADVERT_EVENT_HEADER: usize = core::mem::offset_of!(AdvertEvent, message);

/// Another station claimed one of our VIPs in ARP or Neighbor Discovery. At most one is reported per router and
/// [`CLAIM_EVENT_GAP`]; all are counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClaimEvent {
    /// [`EVENT_CLAIM`].
    pub kind: u32,
    /// Router index.
    pub router: u32,
    /// CLOCK_MONOTONIC ns at which XDP saw it.
    pub at: u64,
    /// The claimant's hardware address as the packet gives it, see [`crate::mac_to_word`].
    pub mac: u64,
    /// The VIP, [`crate::v4_mapped`].
    pub vip: [u8; 16],
}

/// Least time between two [`ClaimEvent`]s of one router, ns.
pub const CLAIM_EVENT_GAP: u64 = 50_000_000;

/// A frame whose next hop's MAC is not known: user space resolves it and sends the frame. The record
/// ends after `length` bytes of `frame`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct UnresolvedEvent {
    /// The address whose route the frame is to take, [`crate::v4_mapped`].
    pub destination: [u8; 16],
    /// Bytes of `frame` that are meant.
    pub length: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// The frame, rewritten but for its Ethernet addresses. Two bytes more than the longest, to a
    /// multiple of 8.
    pub frame: [u8; 14 + MAX_UNRESOLVED_DATAGRAM + 2],
}

/// Bytes of an [`UnresolvedEvent`] before `frame`.
pub const UNRESOLVED_EVENT_HEADER: usize = core::mem::offset_of!(UnresolvedEvent, frame);

/// A datagram that is handed to user space for want of a MAC is shorter than this; longer ones are
/// dropped. A power of two, by which the verifier knows the bound.
pub const MAX_UNRESOLVED_DATAGRAM: usize = 2048;

const _: () = assert!(size_of::<UnresolvedEvent>().is_multiple_of(8));
const _: () = assert!(size_of::<AdvertEvent>().is_multiple_of(8));
