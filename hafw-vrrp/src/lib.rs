//! VRRP versions 2 (RFC 3768, with the password of RFC 2338) and 3 (RFC 9568): wire formats, the
//! state machine of one virtual router, and the engine that runs several.
//!
//! Sans-IO: no sockets, no clock, no randomness. Time comes in as [`Instant`]; what is to be done
//! goes out as [`Action`]s or through [`Effects`]. The engine is what a driver thread runs and what
//! the simulation runs: the order of draining events, firing timers, sending and renewing the
//! lease is here, not in the driver.
#![forbid(unsafe_code)]

mod action;
mod announce;
mod config;
mod effects;
mod engine;
mod lease;
mod refusal;
mod router;
mod types;
pub mod wire;

pub use action::{Action, Cause, Revocation, StateKind, Transition};
pub use config::RouterConfig;
pub use effects::{Effects, Event, Missed};
pub use engine::Engine;
pub use lease::lease_length;
pub use refusal::Refusal;
pub use router::{ActivePeer, State, VirtualRouter};
pub use types::{Auth, ChecksumForm, Instant, Interval, Priority, Version, Vrid};
