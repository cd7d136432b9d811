//! HTTP/2 on the side of the clients.

mod conformance;
pub(crate) mod frames;
mod requests;
