//! Records of the [`crate::maps::EVENTS`] ring.

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

const _: () = assert!(size_of::<AdvertEvent>().is_multiple_of(8));
