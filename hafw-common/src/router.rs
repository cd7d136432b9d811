//! What XDP must know of a virtual router to judge an advert, and what it remembers of peers.

/// One virtual router, by router index. Changes only with the configuration, except `interval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RouterConfig {
    /// The address this node's adverts leave from ([`crate::v4_mapped`]): the tie-break, and how
    /// a reflected own advert is told.
    pub source: [u8; 16],
    /// Version 2: the password, zero padded; compared where `auth_type` is PASS.
    pub auth_data: [u8; 8],
    /// How old the last renewal may be, in ns, before any valid foreign advert suspends the
    /// attract lease: a little over the advert interval.
    pub suspend_after: u64,
    /// Virtual router id.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// Version 2: [`crate::proto::VRRP_AUTH_NONE`] or [`crate::proto::VRRP_AUTH_PASS`].
    pub auth_type: u8,
    /// Version 2: the interval in seconds that adverts must carry (RFC 3768 §7.1).
    pub interval_seconds: u8,
    /// Interface slot the router lives on.
    pub iface: u32,
    /// The virtual MAC that the router goes by, see [`crate::mac_to_word`]; 0: the interface's own.
    pub virtual_mac: u64,
    /// Explicit padding.
    pub reserved: u64,
    /// From whom adverts are taken, sent to `source` ([`crate::v4_mapped`]); the first is 0 where
    /// they are multicast.
    pub unicast_peers: [[u8; 16]; MAX_UNICAST_PEERS],
}

/// Peers that a router can have by unicast.
pub const MAX_UNICAST_PEERS: usize = 16;

impl RouterConfig {
    /// Whether adverts come by unicast.
    #[must_use]
    #[inline(always)]
    pub const fn is_unicast(&self) -> bool {
        u128::from_ne_bytes(self.unicast_peers[0]) != 0
    }
}

/// Key of [`crate::maps::PEERS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeerKey {
    /// Source address of the adverts, [`crate::v4_mapped`].
    pub source: [u8; 16],
    /// Router index.
    pub router: u32,
}

/// What was seen of one peer of one router. Only valid adverts count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeerSeen {
    /// Adverts.
    pub adverts: u64,
    /// CLOCK_MONOTONIC ns of the last.
    pub last_at: u64,
    /// Priority of the last.
    pub priority: u64,
    /// Ethernet source of the last, see [`crate::mac_to_word`].
    pub mac: u64,
}
