//! TLS with what is probed.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use hafw_l7::tls::AnyCertificate;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Limit, Report};

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// The name that is asked for (SNI) and that a certificate must be for: a host name or an
    /// address, without a port.
    pub name: String,
    /// Whether the certificate must be of an authority that the system trusts, and for that name.
    pub verify: bool,
}

/// The protocol that is asked for (ALPN).
#[derive(Clone, Copy, Debug)]
pub(super) enum Alpn {
    Http1,
    Http2,
}

impl TlsSpec {
    /// Encrypts a connection to an address.
    pub(super) async fn encrypt(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        alpn: Alpn,
        limit: Limit,
    ) -> Result<TlsStream<TcpStream>, Report> {
        // A name that is none, such as one with an underscore: the address goes for it.
        let name = ServerName::try_from(self.name.clone())
            .unwrap_or_else(|_| ServerName::IpAddress(address.ip().into()));
        let connector = TlsConnector::from(config(self.verify, alpn));
        let shaken = limit
            .wait("TLS handshake", connector.connect(name, stream))
            .await?;
        shaken.map_err(|error| Report::bad(format!("TLS: {error}")))
    }
}

/// Four in all: they hold the system's authorities, which are many.
fn config(verify: bool, alpn: Alpn) -> Arc<ClientConfig> {
    static CONFIGS: [OnceLock<Arc<ClientConfig>>; 4] = [const { OnceLock::new() }; 4];
    let place = usize::from(verify) * 2 + alpn as usize;
    Arc::clone(CONFIGS[place].get_or_init(|| Arc::new(make(verify, alpn))))
}

fn make(verify: bool, alpn: Alpn) -> ClientConfig {
    let builder = ClientConfig::builder();
    let mut config = if verify {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth()
    };
    config.alpn_protocols = match alpn {
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec()],
    };
    config
}

#[cfg(test)]
mod tests;
