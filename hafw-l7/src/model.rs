//! What the proxy is told to do, as plain values: no sockets, no compiled regexes, no places in a
//! file. [`crate::config`] reads it from TOML; `hafw run` hands it to the proxy as JSON;
//! [`crate::plan`] compiles it into what a worker looks things up in.

mod options;
mod route;
mod upstream;

use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Duration};

pub use options::{
    AccessLog, Compress, ErrorPage, LogFormat, LogTo, NextUpstream, Options, RateLimit,
    RetryCondition, SetHeader, Timeouts,
};
pub use route::{
    Action, Condition, Field, Network, PathChange, PathCondition, Respond, Rewrite, RewriteEnd,
    Route, Test,
};
use serde::{Deserialize, Serialize};
pub use upstream::{Address, Balance, Health, Queue, StickyCookie, Upstream, UpstreamServer};

use crate::tls::model::ListenTls;

/// The whole of the proxy's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// Worker threads; 0 means one per core that the process may run on.
    pub workers: u16,
    /// Most client connections at once, over all workers; 0 = no limit.
    pub max_connections: u32,
    /// The same for each client's address.
    pub max_connections_per_source: u32,
    /// How long a stop waits for the requests under way; `None`: 10 s.
    pub stop_timeout: Option<Duration>,
    /// What becomes of sources that exceed limits again and again; none: no more than that.
    pub block: Option<Block>,
    /// The clusters that routes name, by unique name.
    pub upstreams: Vec<Upstream>,
    /// The virtual servers, in the order of the file.
    pub servers: Vec<Server>,
}

/// Keeps sources out that exceed limits again and again. Whoever asks the proxy for them does that,
/// before their packets reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// How many times within 10 s a source is refused something before.
    pub after: u32,
    pub time: Duration,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            after: 20,
            time: Duration::from_secs(60),
        }
    }
}

/// A virtual server: names served on addresses, and where their requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub listen: Vec<Listen>,
    /// Host names without port, compared without regard to case: whole ones, `*.name`, `.name`,
    /// `name.*`, and regular expressions after a `~`.
    pub hosts: Vec<String>,
    /// Also serves names that no server of the same address has.
    pub default: bool,
    /// Clients may speak HTTP/2: with TLS by ALPN, in clear by prior knowledge.
    pub http2: bool,
    pub options: Options,
    /// Rules that change the path before a route is looked for, in order.
    pub rewrites: Vec<Rewrite>,
    pub routes: Vec<Route>,
}

impl Server {
    /// A server with the defaults of every key that the file may leave out.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, hosts: Vec<String>, routes: Vec<Route>) -> Self {
        Self {
            listen: listen.into_iter().map(Listen::plain).collect(),
            hosts,
            default: false,
            http2: true,
            options: Options::default(),
            rewrites: Vec::new(),
            routes,
        }
    }
}

/// An address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub address: SocketAddr,
    /// Without, requests are in clear.
    pub tls: Option<ListenTls>,
    /// Connections from these networks (from all, if there is none) begin with a PROXY header.
    pub proxy_protocol: Option<Vec<Network>>,
}

impl Listen {
    /// In clear.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            proxy_protocol: None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { " (TLS)" } else { "" };
        write!(f, "{}{tls}", self.address)
    }
}

impl ProxyConfig {
    /// A fingerprint of the whole configuration, to tell whether a running proxy has this one.
    /// FNV-1a over the JSON text; equal configurations of one version have equal fingerprints.
    ///
    /// # Panics
    ///
    /// Never: the model has no map keys or floats that JSON could refuse.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).expect("the model is plain data");
        let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// The addresses listened on, each once, in order.
    #[must_use]
    pub fn listen_addresses(&self) -> BTreeSet<SocketAddr> {
        self.servers
            .iter()
            .flat_map(|server| server.listen.iter().map(|listen| listen.address))
            .collect()
    }

    /// The number of worker threads, with 0 resolved by the process's affinity.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => usize::from(n),
        }
    }
}
