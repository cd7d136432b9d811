//! The VRRP thread: runs [`hafw_vrrp::Engine`] over the event ring, the sending sockets and the
//! lease words. It owns them all, and nothing else runs on it.

mod driver;
mod handoff;
mod realtime;
mod thread;
mod wire;

pub use driver::{Change, DriverParts, RouterSpec};
pub use realtime::{Granted, Wanted};
pub use thread::{Handle, Snapshot, Start, StartError, spawn};
pub use wire::{Wire, WireError, WireSpec};
