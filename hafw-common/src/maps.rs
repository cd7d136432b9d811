//! Names and capacities of the maps. Names stay within the kernel's 15 bytes
//! (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h).
//!
//! "mmap" marks an array made with `BPF_F_MMAPABLE`: user space writes its words with atomic
//! 64-bit stores, so that a reader in XDP never sees half of one.

/// Array of one [`crate::Node`].
pub const NODE: &str = "NODE";
/// Array of [`crate::iface::Iface`], by interface slot.
pub const IFACES: &str = "IFACES";
/// Array of `u32`: [`vrid_index`] -> router index + 1, 0 where no router has that VRID.
pub const VRIDS: &str = "VRIDS";
/// Array of [`crate::router::RouterConfig`], by router index. Written before the router is
/// entered in [`VRIDS`].
pub const ROUTERS: &str = "ROUTERS";
/// mmap array of [`crate::lease::Lease`], by router index: user space alone writes it.
pub const LEASES: &str = "LEASES";
/// mmap array of [`crate::lease::Seen`], by router index: XDP alone writes it.
pub const SEEN: &str = "SEEN";
/// LRU hash [`crate::router::PeerKey`] -> [`crate::router::PeerSeen`]: XDP alone writes it.
pub const PEERS: &str = "PEERS";
/// Array of `u64`: one bit for each hash of a VIP, see [`crate::vip::filter_bit`].
pub const VIP_FILTER: &str = "VIP_FILTER";
/// Hash [`crate::vip::VipKey`] -> [`crate::vip::Vip`].
pub const VIPS: &str = "VIPS";
/// Hash [`crate::service::ServiceKey`] -> [`crate::service::Service`].
pub const SERVICES: &str = "SERVICES";
/// mmap array of `u64` slot words, see [`crate::service::Slot`]; every service has a region.
pub const SLOTS: &str = "SLOTS";
/// mmap array of `u64`, by slot index: jiffies64 at which a packet last went to the base of a slot
/// that has moved. XDP alone writes it.
pub const BASE_SEEN: &str = "BASE_SEEN";
/// Hash [`crate::moved::FlowKey`] -> [`crate::moved::FlowEntry`].
pub const FLOWS: &str = "FLOWS";
/// Array of two words each, see [`crate::moved::Embryo`]. Private to the programs.
pub const EMBRYOS: &str = "EMBRYOS";
/// mmap array of [`crate::backend::Backend`], by backend index.
pub const BACKENDS: &str = "BACKENDS";
/// Per-CPU array of [`crate::backend::Traffic`], by backend index.
pub const TRAFFIC: &str = "TRAFFIC";
/// Per-CPU array of `u64`, by [`crate::counters::Counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Ring buffer of [`crate::event::AdvertEvent`] and [`crate::event::ClaimEvent`].
pub const EVENTS: &str = "EVENTS";
/// Array of `u64`: one bit for each hash of a `nat` backend's address, as in [`VIP_FILTER`].
pub const NAT_FILTER: &str = "NAT_FILTER";
/// Hash [`crate::nat::NatKey`] -> [`crate::nat::NatSource`].
pub const NAT_SOURCES: &str = "NAT_SOURCES";
/// LPM trie of prefixes -> [`crate::route::Route`], those of IPv4 as of [`crate::v4_mapped`]
/// addresses.
pub const ROUTES: &str = "ROUTES";
/// Hash [`crate::route::NeighbourKey`] -> `u64`, the MAC.
pub const NEIGHBOURS: &str = "NEIGHBOURS";
/// Hash [`crate::blocked::Source`] -> `u64`: jiffies64 until which its traffic to shielded VIPs'
/// listeners is dropped.
pub const BLOCKED: &str = "BLOCKED";
/// Ring buffer of [`crate::event::UnresolvedEvent`].
pub const UNRESOLVED: &str = "UNRESOLVED";
/// LPM trie of [`crate::guard::guard_key`]s -> [`crate::guard::Guard`].
pub const GUARDS: &str = "GUARDS";
/// LRU hash [`crate::guard::SourceKey`] -> `u64`: CLOCK_MONOTONIC ns at which the source is due for a
/// new connection. XDP alone writes it.
pub const SOURCES: &str = "SOURCES";

/// The maps that all instances of the programs share, and that outlive the controller.
pub const SHARED: &[&str] = &[
    NODE,
    IFACES,
    VRIDS,
    ROUTERS,
    LEASES,
    SEEN,
    PEERS,
    VIP_FILTER,
    VIPS,
    SERVICES,
    SLOTS,
    BASE_SEEN,
    FLOWS,
    EMBRYOS,
    BACKENDS,
    TRAFFIC,
    COUNTERS,
    EVENTS,
    NAT_FILTER,
    NAT_SOURCES,
    ROUTES,
    NEIGHBOURS,
    BLOCKED,
    UNRESOLVED,
    GUARDS,
    SOURCES,
];

/// Interfaces a node may use.
pub const MAX_IFACES: u32 = 16;
/// Virtual routers a node may have.
pub const MAX_ROUTERS: u32 = 1024;
/// Sources of valid adverts that are remembered.
pub const MAX_PEERS: u32 = 1024;
/// VIPs a node may have.
pub const MAX_VIPS: u32 = 16384;
/// Services a node may have.
pub const MAX_SERVICES: u32 = 16384;
/// Backends, counted once for each service they serve.
pub const MAX_BACKENDS: u32 = 65536;
/// Bytes of [`EVENTS`]: over 300 of the longest adverts, over 2,000 usual ones.
pub const EVENTS_BYTES: u32 = 512 * 1024;
/// Entries of [`FLOWS`], about 100 bytes each, allocated as they come. A connection that finds no
/// room is taken for one that was there before its slot moved.
pub const MAX_FLOWS: u32 = 1 << 20;
/// Prefixes in [`ROUTES`], half of them for each family. Where the kernel has more, it is asked for
/// every packet.
pub const MAX_ROUTES: u32 = 8192;
/// Entries of [`NEIGHBOURS`].
pub const MAX_NEIGHBOURS: u32 = 16384;
/// Entries of [`BLOCKED`], allocated as they come.
pub const MAX_BLOCKED: u32 = 65536;
/// Prefixes in [`GUARDS`], allocated as they come.
pub const MAX_GUARDS: u32 = 1 << 17;
/// Sources whose new connections are counted, over all services; beyond, those that began nothing
/// for longest are forgotten.
pub const MAX_SOURCES: u32 = 1 << 16;
/// Bytes of [`UNRESOLVED`]: over 120 frames.
pub const UNRESOLVED_BYTES: u32 = 256 * 1024;
/// Words of [`VIP_FILTER`] and of [`NAT_FILTER`].
pub const VIP_FILTER_WORDS: u32 = 1024;
/// Entries of [`VRIDS`]: interface slot, family, VRID.
pub const VRID_ENTRIES: u32 = MAX_IFACES * 2 * 256;

/// Where [`VRIDS`] keeps the router of a VRID. `ipv6` selects the family's half: the same VRID
/// may be used once per family on an interface (RFC 9568 §5.2.3).
#[must_use]
pub const fn vrid_index(iface_slot: u32, ipv6: bool, vrid: u8) -> u32 {
    (iface_slot * 2 + ipv6 as u32) * 256 + vrid as u32
}
