//! Where the replies of `nat` backends go: the node's routes and neighbours, as user space mirrors
//! them from the kernel.

/// Where datagrams to a prefix go, by prefix in [`crate::maps::ROUTES`]. The longest prefix counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Route {
    /// [`ROUTE_GATEWAY`]: its MAC ([`crate::mac_to_word`]), with [`ROUTE_RESOLVED`] above.
    pub next_hop: u64,
    /// MAC of the interface that leads there, see [`crate::mac_to_word`].
    pub source: u64,
    /// That interface's kernel index.
    pub ifindex: u32,
    /// [`ROUTE_LOCAL`] or one of the others.
    pub kind: u32,
}

/// The gateway's MAC is known.
pub const ROUTE_RESOLVED: u64 = 1 << 48;

/// An address of this node: not to be forwarded.
pub const ROUTE_LOCAL: u32 = 1;
/// On the interface's link: [`crate::maps::NEIGHBOURS`] has the MAC.
pub const ROUTE_ON_LINK: u32 = 2;
/// Behind a gateway.
pub const ROUTE_GATEWAY: u32 = 3;
/// More than a mirror can tell (several next hops, policy rules): the kernel is asked.
pub const ROUTE_ASK: u32 = 4;
/// Nowhere: blackhole, unreachable, prohibit.
pub const ROUTE_NOWHERE: u32 = 5;

/// Key of [`crate::maps::NEIGHBOURS`], whose values are MACs ([`crate::mac_to_word`]).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct NeighbourKey {
    /// Network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
    /// Kernel index of the interface.
    pub ifindex: u32,
}
