//! HTTP/2 by the `h2` crate, as a codec beneath sessions: each request of a client is a connection of
//! its own to them, on which HTTP/1.1 is read and written ([`crate::http2`]). So both protocols have
//! one way from a request to its answer.

mod connection;
mod downstream;
mod inbound;
mod outbound;
mod screened;
mod upstream;

pub(super) use connection::Connection;
pub(crate) use downstream::Downstream;
pub(crate) use upstream::{Links, UpstreamStream};
