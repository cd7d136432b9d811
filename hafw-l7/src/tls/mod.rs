//! TLS by rustls: what the configuration gives, what is checked about it, and what is made of it.
//!
//! Keys are read by whoever reads the file, as root; the proxy itself gets their contents over the
//! socket that hands it its configuration, and opens no file.

mod client;
mod facts;
mod material;
pub mod model;
mod server;

pub use client::AnyCertificate;
pub(crate) use client::ClientTls;
pub use facts::{Client, Facts, SslVariable};
pub use material::{MaterialError, Part, check_certificate, check_client_ca, unnamed_hosts};
pub(crate) use server::ServerTls;
pub use server::check_listen;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// Checks that TLS with upstream servers can be set up.
///
/// # Errors
///
/// [`MaterialError`]
pub fn check_upstream(tls: &model::UpstreamTls, http2: bool) -> Result<(), MaterialError> {
    ClientTls::new(tls, http2).map(|_| ())
}

/// The cryptography that everything here uses.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}
