//! The companion HTTP/1.1 proxy of a hafw node: routes requests by URI and headers to clusters of
//! servers. It runs as a process of its own, without capabilities, and outlives the controller.
#![forbid(unsafe_code)]

mod cli;
pub mod config;
pub mod control;
pub mod counters;
pub mod http1;
pub mod listeners;
pub mod model;
pub mod plan;
pub mod privileges;
pub mod process;
pub(crate) mod proxy;
pub mod retry;
pub mod route;
pub mod supervise;
pub mod template;
pub mod upstream;

/// Version of this binary, as the control socket names it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use cli::main;
