//! What the kernel offers and no library wraps: small, each with its own `unsafe`.

pub mod clock;
pub mod netdev;
pub mod packet;
pub mod realtime;
pub mod unicast;
pub mod vrrp_socket;
pub mod words;
