//! What a `[[server]]` sets for all of its routes, and each route may set otherwise.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::compress::Coding;

/// How requests are sent on and answers passed back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Headers set on the upstream request, in order; an empty value removes the header.
    pub set_headers: Vec<SetHeader>,
    /// Headers added to the upstream request beside those that are there.
    pub add_headers: Vec<SetHeader>,
    /// Headers set on answers; an empty value removes the header.
    pub set_response_headers: Vec<SetHeader>,
    /// Headers added to answers beside those that are there.
    pub add_response_headers: Vec<SetHeader>,
    pub next_upstream: NextUpstream,
    pub timeouts: Timeouts,
    /// Longest request body in bytes; 0 = no limit.
    pub client_max_body_size: u64,
    /// Longest request body in bytes that is read before a server is asked, and can be sent again.
    pub replay_buffer: u64,
    /// All of them count.
    pub rate_limits: Vec<RateLimit>,
    /// Where requests are logged; `None` = nowhere.
    pub access_log: Option<AccessLog>,
    /// Which answers are compressed; `None` = none.
    pub compress: Option<Compress>,
    /// What the client gets instead of the proxy's own answers with these statuses.
    pub error_pages: Vec<ErrorPage>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            set_headers: Vec::new(),
            add_headers: Vec::new(),
            set_response_headers: Vec::new(),
            add_response_headers: Vec::new(),
            next_upstream: NextUpstream::default(),
            timeouts: Timeouts::default(),
            client_max_body_size: 1024 * 1024,
            replay_buffer: 16 * 1024,
            rate_limits: Vec::new(),
            access_log: None,
            compress: None,
            error_pages: Vec::new(),
        }
    }
}

/// One header to set, with a [template](crate::template::Template) as its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHeader {
    pub name: String,
    pub value: String,
}

/// How many requests a key may make (nginx's `limit_req`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Thousandths of a request a second; at least 1.
    pub rate: u64,
    /// Requests that may exceed it.
    pub burst: u32,
    /// Those are not delayed.
    pub nodelay: bool,
    /// Whose requests count together, a [template](crate::template::Template). Requests for which
    /// it is empty are not counted.
    pub key: String,
    /// What refused requests are answered with.
    pub status: u16,
    /// Limits of one zone count together.
    pub zone: Option<String>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            rate: 1000,
            burst: 0,
            nodelay: false,
            key: "$remote_addr".to_owned(),
            status: 429,
            zone: None,
        }
    }
}

/// An access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    pub to: LogTo,
    pub format: LogFormat,
}

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTo {
    File(PathBuf),
    Stdout,
    /// A datagram socket such as /dev/log.
    Syslog(PathBuf),
}

/// What the lines of an access log are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// nginx's `combined`.
    #[default]
    Combined,
    /// One object a line.
    Json,
}

/// Which answers are compressed for clients that ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compress {
    /// The first that the client knows is used.
    pub codings: Vec<Coding>,
    /// Media types without parameters; one that ends in `/*` stands for all of its kind.
    pub types: Vec<String>,
    /// Answers that say that they are shorter, in bytes, are sent as they are.
    pub min_length: u64,
}

/// A page for the proxy's own answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPage {
    /// The statuses that it stands for.
    pub on: BTreeSet<u16>,
    /// The status that the client gets; 0 keeps the one that it stands for.
    pub status: u16,
    /// As it is sent, without variables.
    pub body: String,
    pub content_type: String,
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
