//! What the kernel-level tests share.

pub mod kernel;
pub mod object;

pub use kernel::Kernel;
