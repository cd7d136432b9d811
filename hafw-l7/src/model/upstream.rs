//! Clusters of servers.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{proxy_protocol::Version, tls::model::UpstreamTls};

/// A cluster of servers that hold the same content (nginx's `upstream`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    pub balance: Balance,
    /// What [`Balance::Hash`] looks at, a [template](crate::template::Template).
    pub hash: Option<String>,
    pub servers: Vec<UpstreamServer>,
    /// Idle connections kept per worker, over all servers of the cluster; 0 keeps none.
    pub keepalive: u32,
    pub health: Option<Health>,
    pub sticky: Option<StickyCookie>,
    pub queue: Queue,
    /// How often names of servers are resolved again.
    pub resolve: Duration,
    /// Without, requests are in clear.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 is spoken, with TLS or without.
    pub http2: bool,
    /// The PROXY header that connections begin with.
    pub proxy_protocol: Option<Version>,
}

impl Upstream {
    /// A cluster with the defaults of every key that the file may leave out.
    #[must_use]
    pub fn new(name: impl Into<String>, servers: Vec<UpstreamServer>) -> Self {
        Self {
            name: name.into(),
            balance: Balance::default(),
            hash: None,
            servers,
            keepalive: 64,
            health: None,
            sticky: None,
            queue: Queue::default(),
            resolve: Duration::from_secs(10),
            tls: None,
            http2: false,
            proxy_protocol: None,
        }
    }
}

/// How the next server of a cluster is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// nginx's smooth weighted round robin.
    #[default]
    RoundRobin,
    /// The fewest requests under way per weight, then round robin.
    LeastConnections,
    /// By the client's address, so that a client stays with its server while the set is stable.
    SourceHash,
    /// By [`Upstream::hash`], likewise.
    Hash,
    /// The less loaded of two that are drawn by weight.
    RandomTwo,
}

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    pub address: Address,
    /// Share of the requests; at least 1.
    pub weight: u16,
    /// Failed attempts within `fail_timeout` that take the server out for `fail_timeout`; 0 = never.
    pub max_fails: u32,
    pub fail_timeout: Duration,
    /// Only asked when every other server is out.
    pub backup: bool,
    /// Most requests under way per worker; 0 = no limit.
    pub max_connections: u32,
    /// How long a server that is back takes to its full share; zero = none.
    pub slow_start: Duration,
}

impl UpstreamServer {
    /// A server with nginx's defaults: weight 1, one failure in 10 s takes it out for 10 s.
    #[must_use]
    pub fn new(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            weight: 1,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            backup: false,
            max_connections: 0,
            slow_start: Duration::ZERO,
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    Ip(SocketAddr),
    /// A name that is resolved to addresses, each a server of its own.
    Name {
        host: String,
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(String),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// What `sockaddr_un` has room for.
const MAX_PATH: usize = 107;

/// A text that is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a name with a port, nor a unix socket")]
pub struct BadAddress;

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0');
            return is_path
                .then(|| Self::Unix(path.to_owned()))
                .ok_or(BadAddress);
        }
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.len() < 64 && label.bytes().all(is_plain)
        };
        let labels = host.strip_suffix('.').unwrap_or(host);
        let is_name = labels.len() < 254
            && labels.split('.').all(is_label)
            && labels.contains(|c: char| c.is_ascii_alphabetic());
        if !is_name {
            return Err(BadAddress);
        }
        Ok(Self::Name {
            host: host.to_owned(),
            port: port.ok_or(BadAddress)?,
        })
    }
}

impl TryFrom<String> for Address {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Self, BadAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Probes of a cluster's servers, beside what requests tell of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Path of a GET; `None` = a connection is enough.
    pub http: Option<String>,
    /// Host of the request; the server's address if there is none.
    pub host: Option<String>,
    pub expect_status: Vec<u16>,
    /// Instead of the server's.
    pub port: Option<u16>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Good probes in a row that bring a server back.
    pub rise: u32,
    /// Bad probes in a row that take it out.
    pub fall: u32,
}

/// A cookie that brings a client back to its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyCookie {
    pub name: String,
    /// Zero = until the browser ends.
    pub max_age: Duration,
    pub path: String,
    pub secure: bool,
}

/// Requests that wait for a server that is below its `max_connections`, per worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// 0 = none waits.
    pub length: u32,
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in [
            "10.0.0.7:80",
            "[2001:db8::1]:80",
            "web.example.com:8080",
            "web_1:80",
            "unix:/run/app.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "web",
            "web:0",
            "web:x",
            ":80",
            "10.0.0.300:80",
            "a..b:80",
            "a b:80",
            "a/b:1",
            "unix:run/app.sock",
            "unix:",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress), "{bad}");
        }
    }
}
