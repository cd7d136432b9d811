//! Network-namespace labs with real peers: a switch, the lesson's hosts on it, keepalived, nginx and
//! hafw as programs that run there, faults, and probes that measure what a client sees.
//!
//! [`Lab`] owns everything it makes: namespaces, links, processes, pins below `/sys/fs/bpf` and its
//! folder below `/run/hafw-lab`. All of it goes when the lab is dropped. What a lab leaves whose
//! process was killed, the next lab (or [`sweep`]) removes: a lab's folder is locked while its
//! process lives.
//!
//! Nothing here is part of a node, and nothing touches the host's own network.

mod error;
mod host;
mod interrupt;
mod lab;
mod netns;
pub mod peers;
pub mod probe;
mod process;
mod registry;
mod shell;
mod station;
mod switch;
mod wait;
mod xdp_pass;

pub use error::LabError;
pub use host::Host;
pub use interrupt::{handle_signals, interrupted};
pub use lab::Lab;
pub use netns::Namespace;
pub use nix::sys::signal::Signal;
pub use process::{Daemon, Scope};
pub use registry::sweep;
pub use station::{Station, VIP_BBS, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6};
pub use wait::{pause, wait_for, wait_until};
