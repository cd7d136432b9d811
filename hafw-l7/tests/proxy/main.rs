//! The proxy's binary, run for real on loopback addresses between scripted servers and clients.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]
#![expect(clippy::print_stderr, reason = "the log of a proxy whose test fails")]

mod beyond;
mod bodies;
mod harness;
mod http2;
mod limits;
mod operation;
mod outside;
mod process;
mod reference;
mod retry;
mod routing;
mod strict;
mod supervise;
mod tls;
mod unix;
mod upstreams;
