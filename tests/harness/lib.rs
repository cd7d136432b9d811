//! What the kernel-level tests share.

pub mod kernel;
pub mod object;
pub mod xdp_bench;

pub use kernel::Kernel;
