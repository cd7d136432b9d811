//! What the kernel-level tests share.

pub mod forward_bench;
pub mod kernel;
mod namespace;
pub mod object;
mod packet_socket;
pub mod xdp_bench;

pub use kernel::Kernel;
pub use namespace::{in_namespace, ip};
pub use packet_socket::PacketSocket;
