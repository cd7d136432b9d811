//! The proxy's control socket: a unix stream socket that only its owner may open. A request is one
//! JSON object on a line, `{"cmd":"status"}`, and so is the answer; listening sockets follow their
//! line as SCM_RIGHTS. `hafw run` is the usual client ([`client::Control`]); the same lines hand a
//! new proxy its configuration ([`crate::supervise`]).

pub mod client;
pub mod fd_stream;
pub mod server;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    counters::{RouteCounters, Totals, UpstreamCounters},
    listeners::ListenerKey,
    model::ProxyConfig,
};

/// Name of the control socket in the node's `state_dir`.
pub const SOCKET_NAME: &str = "l7.sock";

/// What a client may ask.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Request {
    /// Answered with [`Reply::Status`].
    Status,
    /// Answered with [`Reply::Listeners`] and the sockets.
    Listeners,
    /// Replaces routes, clusters and listening sockets; the sockets follow the line. Answered with
    /// [`Reply::Done`] or [`Reply::Refused`], and then nothing has changed.
    Configure {
        config: Box<ProxyConfig>,
        listeners: Vec<ListenerKey>,
    },
    /// Answered with [`Reply::Offenders`] when there are any, or after a second.
    Offenders,
    /// Stops in order: no new connections, requests under way are finished. Answered with
    /// [`Reply::Done`] as soon as no new connection is accepted.
    Stop,
}

/// What the proxy answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Status(Box<Status>),
    Listeners(Vec<ListenerKey>),
    /// Sources that are to be kept out, as [`crate::model::Block`] says.
    Offenders(Vec<IpAddr>),
    Done {
        pid: u32,
    },
    Refused(String),
}

/// The state of a running proxy. What one of another version does not tell has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the running binary.
    pub version: String,
    pub pid: u32,
    pub uptime_ms: u64,
    /// [`ProxyConfig::fingerprint`] of the configuration in force.
    pub config: String,
    /// Whether it has been told to stop and is finishing what is under way.
    pub stopping: bool,
    pub workers: Vec<WorkerStatus>,
    pub listeners: Vec<SocketAddr>,
    /// Sums over the workers that answered.
    pub totals: Totals,
    pub upstreams: Vec<UpstreamCounters>,
    pub routes: Vec<RouteCounters>,
}

/// One worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Whether its loop answered in time; a worker that hangs or ended did not.
    pub alive: bool,
    /// Client connections that it has open.
    pub connections: u64,
}
