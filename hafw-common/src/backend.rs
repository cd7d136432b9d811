//! Backends as the packet path needs them: the next hop is known, nothing is computed per packet.

/// One backend of one service. Each word is replaced in one store.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Backend {
    /// MAC of the next hop in the low 48 bits ([`crate::mac_to_word`]), [`BACKEND_RESOLVED`] above.
    pub next_hop: u64,
    /// MAC of the interface that leads there, see [`crate::mac_to_word`].
    pub source: u64,
    /// That interface's kernel index. Equal to the ingress interface's: XDP_TX.
    pub ifindex: u64,
    /// Which backend of which service this is: a stable hash by which a restarted controller
    /// finds its entries again. 0: the entry is free. XDP does not read it.
    pub identity: u64,
}

/// The next hop's MAC is known.
pub const BACKEND_RESOLVED: u64 = 1 << 48;

/// What was steered to a backend, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Traffic {
    /// Frames.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
}
