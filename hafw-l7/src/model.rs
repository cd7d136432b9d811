//! What the proxy is told to do, as plain values: no sockets, no compiled regexes, no places in a
//! file. [`crate::config`] reads it from TOML; `hafw run` hands it to the proxy as JSON;
//! [`crate::plan`] compiles it into what a worker looks things up in.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// The whole of the proxy's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// Worker threads; 0 means one per core that the process may run on.
    pub workers: u16,
    /// The clusters that routes name, by unique name.
    pub upstreams: Vec<Upstream>,
    /// The virtual servers, in the order of the file.
    pub servers: Vec<Server>,
}

/// A cluster of servers that hold the same content (nginx's `upstream`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    pub balance: Balance,
    pub servers: Vec<UpstreamServer>,
    /// Idle connections kept per worker, over all servers of the cluster; 0 keeps none.
    pub keepalive: u32,
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
}

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    pub address: SocketAddr,
    /// Share of the requests; at least 1.
    pub weight: u16,
    /// Failed attempts within `fail_timeout` that take the server out for `fail_timeout`; 0 = never.
    pub max_fails: u32,
    pub fail_timeout: Duration,
    /// Only asked when every other server is out.
    pub backup: bool,
}

impl UpstreamServer {
    /// A server with nginx's defaults: weight 1, one failure in 10 s takes it out for 10 s.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            weight: 1,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            backup: false,
        }
    }
}

/// A virtual server: names served on addresses, and where their requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub listen: Vec<SocketAddr>,
    /// Host names without port, compared without regard to case.
    pub hosts: Vec<String>,
    /// Also serves names that no server of the same address has.
    pub default: bool,
    /// Headers set on the upstream request, in order; an empty value removes the header.
    pub set_headers: Vec<SetHeader>,
    pub next_upstream: NextUpstream,
    pub timeouts: Timeouts,
    /// Longest request body in bytes; 0 = no limit.
    pub client_max_body_size: u64,
    pub routes: Vec<Route>,
}

impl Server {
    /// A server with the defaults of every key that the file may leave out.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, hosts: Vec<String>, routes: Vec<Route>) -> Self {
        Self {
            listen,
            hosts,
            default: false,
            set_headers: Vec::new(),
            next_upstream: NextUpstream::default(),
            timeouts: Timeouts::default(),
            client_max_body_size: 1024 * 1024,
            routes,
        }
    }
}

/// One header to set, with a [template](crate::template::Template) as its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHeader {
    pub name: String,
    pub value: String,
}

/// When a request is given to the next server of its cluster (nginx's `proxy_next_upstream`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextUpstream {
    /// Empty = off.
    pub on: BTreeSet<RetryCondition>,
    /// Most servers asked for one request; 0 = no limit.
    pub tries: u32,
    /// No further server is asked once this much time has passed; zero = no limit.
    pub timeout: Duration,
}

impl Default for NextUpstream {
    fn default() -> Self {
        Self {
            on: BTreeSet::from([RetryCondition::Error, RetryCondition::Timeout]),
            tries: 0,
            timeout: Duration::ZERO,
        }
    }
}

/// What makes an attempt worth repeating at another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryCondition {
    /// The connection could not be made, or broke before the answer's head was complete.
    Error,
    /// `connect_timeout`, `send_timeout` or `read_timeout` ran out before the answer's head.
    Timeout,
    /// The answer was empty or not HTTP/1.
    InvalidHeader,
    #[serde(rename = "http_403")]
    Http403,
    #[serde(rename = "http_404")]
    Http404,
    #[serde(rename = "http_429")]
    Http429,
    #[serde(rename = "http_500")]
    Http500,
    #[serde(rename = "http_502")]
    Http502,
    #[serde(rename = "http_503")]
    Http503,
    #[serde(rename = "http_504")]
    Http504,
    /// Repeat also what may have had an effect already: POST, LOCK and PATCH once sent.
    NonIdempotent,
}

impl RetryCondition {
    /// Every condition with its name in the file.
    pub const NAMES: [(&'static str, Self); 11] = [
        ("error", Self::Error),
        ("timeout", Self::Timeout),
        ("invalid_header", Self::InvalidHeader),
        ("http_403", Self::Http403),
        ("http_404", Self::Http404),
        ("http_429", Self::Http429),
        ("http_500", Self::Http500),
        ("http_502", Self::Http502),
        ("http_503", Self::Http503),
        ("http_504", Self::Http504),
        ("non_idempotent", Self::NonIdempotent),
    ];

    /// The condition that an upstream answer with this status may meet.
    #[must_use]
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            403 => Some(Self::Http403),
            404 => Some(Self::Http404),
            429 => Some(Self::Http429),
            500 => Some(Self::Http500),
            502 => Some(Self::Http502),
            503 => Some(Self::Http503),
            504 => Some(Self::Http504),
            _ => None,
        }
    }
}

/// How long each kind of silence is borne. All are counted between two steps of progress, not over
/// a whole transfer, except `connect` and `client_header`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Until a connection to an upstream server stands.
    pub connect: Duration,
    /// Between two reads from the upstream server.
    pub read: Duration,
    /// Between two writes, to the upstream server or to the client.
    pub send: Duration,
    /// From a request's first byte (or the connection) to the end of its head.
    pub client_header: Duration,
    /// Between two reads of a request body.
    pub client_body: Duration,
    /// How long a connection may stay without a request.
    pub keepalive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(60),
            send: Duration::from_secs(60),
            client_header: Duration::from_secs(60),
            client_body: Duration::from_secs(60),
            keepalive: Duration::from_secs(75),
        }
    }
}

/// Where requests that meet all of its conditions go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub path: PathCondition,
    pub headers: Vec<HeaderCondition>,
    /// Name of an [`Upstream`].
    pub upstream: String,
}

/// What the normalised path of a request must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathCondition {
    /// Anything.
    #[default]
    Any,
    Exact(String),
    /// A regular expression that matches somewhere in the path.
    Regex(String),
    Prefix {
        prefix: String,
        /// Chosen before regexes are tried, if it is the longest (nginx's `^~`).
        r#final: bool,
    },
}

/// A header that must be there and match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderCondition {
    /// Compared without regard to case.
    pub name: String,
    /// A regular expression that matches somewhere in a value.
    pub regex: String,
}

impl HeaderCondition {
    /// The route key `user_agent`.
    #[must_use]
    pub fn user_agent(regex: impl Into<String>) -> Self {
        Self {
            name: "User-Agent".to_owned(),
            regex: regex.into(),
        }
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
            .flat_map(|server| server.listen.iter().copied())
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
