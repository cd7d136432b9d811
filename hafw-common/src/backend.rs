//! Backends as the packet path needs them: the next hop is known, nothing is computed per packet.

/// One backend of one service. Each word is replaced in one store.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Backend {
    /// MAC of the next hop in the low 48 bits ([`crate::mac_to_word`]); [`BACKEND_RESOLVED`] and
    /// [`BACKEND_DEAD`] above.
    pub next_hop: u64,
    /// MAC of the interface that leads there, see [`crate::mac_to_word`].
    pub source: u64,
    /// That interface's kernel index. Equal to the ingress interface's: XDP_TX.
    pub ifindex: u64,
    /// Which backend of which service this is: a stable hash by which a restarted controller
    /// finds its entries again. 0: the entry is free. XDP does not read it.
    pub identity: u64,
    /// The first half of the backend's address (IPv4 as [`crate::v4_mapped`]), the lowest byte first.
    pub address: u64,
    /// The other half; of IPv4, all of it is in the upper 32 bits.
    pub address_end: u64,
    /// What puts the backend in place of the service, see [`crate::nat::Rewrite`].
    pub rewrite: u64,
    /// Explicit padding: a cache line in all.
    pub reserved: u64,
}

/// The next hop's MAC is known.
pub const BACKEND_RESOLVED: u64 = 1 << 48;

/// It serves nobody any more: flows that are known to be on it are not sent there.
pub const BACKEND_DEAD: u64 = 1 << 49;

/// What was steered to a backend, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Traffic {
    /// Frames.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
}
