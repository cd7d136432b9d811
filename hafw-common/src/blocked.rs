//! Sources that are kept out for a time.

/// Key of [`crate::maps::BLOCKED`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct Source {
    /// Network order; IPv4 as [`crate::v4_mapped`].
    pub address: [u8; 16],
}
