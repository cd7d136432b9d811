//! HTTP/2 on the side of the clients.

mod conformance;
mod frames;
mod requests;
