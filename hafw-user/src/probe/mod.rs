//! Probes: of what the routers' checks look at, and of the backends of services.
//!
//! A [`Probe`] looks once and gives a [`Report`]; a [`Prober`] runs many of them, each in a task of
//! its own, and tells of the changes that their rise/fall machines make of it. Who is told, and
//! what follows from it, is the node's business.

mod command;
mod http;
mod limit;
mod prober;
mod proxy;
mod tcp;

use std::{net::SocketAddr, time::Duration};

use hafw_lb::Outcome;

pub use command::{CommandProbe, InvalidCommand};
pub use http::{HttpProbe, InvalidHttp};
use limit::Limit;
pub use prober::{Latest, ProbeEvent, Prober, Target, TargetId};
pub use proxy::ProxyProbe;

/// What is looked at, and how. Sockets are not bound: the kernel picks an address of this node,
/// which a VIP never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection can be opened.
    Tcp(SocketAddr),
    /// An HTTP/1.1 GET has a right status.
    Http(HttpProbe),
    /// A command exits with 0.
    Command(CommandProbe),
    /// This node's own proxy says that it serves.
    Proxy(ProxyProbe),
}

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// In words: what was answered, or what failed.
    pub reason: String,
}

impl Report {
    /// All is well.
    pub fn ok(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Ok,
            reason: reason.into(),
        }
    }

    /// The wrong answer.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Bad,
            reason: reason.into(),
        }
    }
}

impl Probe {
    /// Looks once, for at most `timeout` in all.
    pub async fn run(&self, timeout: Duration) -> Report {
        let limit = Limit::starting_now(timeout);
        match self {
            Self::Tcp(address) => tcp::run(*address, limit).await,
            Self::Http(probe) => probe.run(limit).await,
            Self::Command(probe) => probe.run(limit).await,
            Self::Proxy(probe) => probe.run(limit).await,
        }
    }
}
