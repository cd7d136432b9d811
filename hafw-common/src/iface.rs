//! What XDP knows of the interface it runs on.

/// One interface. The program instance of each interface has its slot as a constant.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Iface {
    /// The interface's own MAC, see [`crate::mac_to_word`].
    pub mac: u64,
    /// Kernel index, for redirects.
    pub ifindex: u32,
    /// Explicit padding.
    pub reserved: u32,
}
