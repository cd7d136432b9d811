//! The companion HTTP/1.1 proxy of a hafw node: routes requests by URI and headers to clusters of
//! servers. It runs as a process of its own, without capabilities, and outlives the controller.
//!
//! # Parts
//!
//! Pure, without sockets and clocks: [`route`] (which cluster), [`upstream`] (whose turn),
//! [`retry`] (whether again), [`http1`] (bytes to heads and back), [`plan`] (a compiled [`model`]).
//! Only [`http1`] and [`http2`] know the protocols. Around them: `proxy` (workers, sessions, attempts),
//! [`control`] (the socket that tells and orders), [`supervise`] (the half that `hafw run` calls).
//!
//! # What it does as nginx does
//!
//! Smooth weighted round robin, `max_fails`, `fail_timeout` and `backup`, each worker for itself as
//! nginx without a `zone`; `next_upstream` with its rules for POST, LOCK and PATCH; path matching on
//! the decoded and simplified path while the target is sent on as it was written; a client that
//! closes its sending side while it waits counts as gone.
//!
//! # What it does otherwise
//!
//! * Without `set_headers`, the server gets the client's Host, not the cluster's name.
//! * A name that the listener does not serve gets 421 and no page, unless a server is the default.
//! * Upstream connections are HTTP/1.1, or HTTP/2 on demand, and kept.
//! * The last answer is also passed on when the servers that are left are all out.
//! * A method that is not known is not repeated either.
//! * Requests and answers that two readers could understand differently are refused: any doubt about
//!   a body's length, bare line feeds, folded lines, control characters, a Host that differs from
//!   the target's.
//! * Request bodies up to `replay_buffer` are read before a server is asked, and can be sent again;
//!   larger and chunked ones are passed on as they come.
//! * An Upgrade of HTTP/1.1 is passed on without being configured, except one to HTTP/2.
#![forbid(unsafe_code)]

mod cli;
pub mod compress;
pub mod config;
pub mod control;
pub mod counters;
mod health;
pub mod http1;
pub mod http2;
pub mod limits;
pub mod listeners;
pub mod log;
pub mod model;
pub mod offenders;
pub mod plan;
pub mod privileges;
pub mod process;
pub(crate) mod proxy;
pub mod proxy_protocol;
mod resolve;
pub mod retry;
pub mod route;
pub mod supervise;
pub mod template;
pub mod tls;
pub mod upstream;
pub mod values;

/// Version of this binary, as the control socket names it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use cli::main;
