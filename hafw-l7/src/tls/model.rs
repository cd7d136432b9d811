//! TLS as plain values, with the contents of the files that the configuration names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a listener speaks TLS for the names of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenTls {
    /// The first that the client can check is shown; at least one.
    pub certificates: Vec<Certificate>,
    /// Whether and how clients show a certificate.
    pub client: Option<ClientAuth>,
    /// TLS 1.2 is not spoken.
    pub only_1_3: bool,
    /// The cipher suites that are spoken, in order of preference; empty: the safe ones that there
    /// are.
    pub ciphers: Vec<String>,
}

/// How the servers of a cluster are spoken to by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// The name that they are asked for and must have; their addresses if there is none.
    pub server_name: Option<String>,
    /// PEM: the authorities that sign their certificates; `None` = these are not checked.
    pub ca: Option<String>,
    /// What the proxy shows of itself.
    pub identity: Option<Certificate>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// PEM: the certificate, and those that lead to a root.
    pub chain: String,
    pub key: PrivateKey,
    /// An OCSP response in DER, sent along as it is.
    pub ocsp: Option<Vec<u8>>,
}

/// A private key in PEM. `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(pub String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// PEM: the authorities that sign them.
    pub ca: String,
    /// Whether a client without one is turned away.
    pub required: bool,
    /// PEM: lists of certificates that these have revoked, one of each authority.
    pub crl: Option<String>,
}
