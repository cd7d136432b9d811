//! The embedded eBPF object and the names in it.

/// The object that `build.rs` compiled, aligned for aya's ELF parser.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hafw-xdp"));

/// The packet path.
pub(super) const PROGRAM_XDP: &str = "hafw";
/// The second belt of invariant 5: no ARP in a VIP's name without a lease.
pub(super) const PROGRAM_EGRESS: &str = "hafw_egress";
/// Lets the stack take what XDP readdressed to the interface.
pub(super) const PROGRAM_INGRESS: &str = "hafw_ingress";
/// Returns a (jiffies64, ktime) pair.
pub(super) const PROGRAM_CLOCK: &str = "hafw_clock";
/// Constant of the XDP program: the slot of its interface in the IFACES map.
pub(super) const GLOBAL_IFACE_SLOT: &str = "IFACE_SLOT";
