//! Probes: of what the routers' checks look at, and of the backends of services.
//!
//! A [`Probe`] looks once and gives a [`Report`]; a [`Prober`] runs many of them, each in a task of
//! its own, and tells of the changes that their rise/fall machines make of it. Who is told, and
//! what follows from it, is the node's business.

mod command;
mod datagram;
mod file;
mod grpc;
mod http;
mod interface;
mod limit;
mod prober;
mod process;
mod proxy;
mod tcp;
mod tls;

use std::{
    future::pending,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hafw_lb::Outcome;

pub use datagram::{DnsProbe, UdpProbe, is_dns_name};
pub use grpc::GrpcProbe;
pub use http::{HttpProbe, HttpRequest, InvalidHttp};
pub use interface::InterfaceProbe;
use limit::Limit;
pub use prober::{Latest, ProbeEvent, Prober, Target, TargetId};
pub use process::ProcessProbe;
pub use proxy::ProxyProbe;
pub use tls::TlsSpec;

use crate::command::UserCommand;

/// What is looked at, and how. Sockets are not bound: the kernel picks an address of this node,
/// which a VIP never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection can be opened.
    Tcp(SocketAddr),
    /// An HTTP/1.1 request has the right answer.
    Http(HttpProbe),
    /// A server says by grpc.health.v1 that it serves.
    Grpc(GrpcProbe),
    /// A name server answers.
    Dns(DnsProbe),
    /// A datagram is answered, or not refused.
    Udp(UdpProbe),
    /// An address answers echo requests.
    Icmp(IpAddr),
    /// A command exits with 0.
    Command(UserCommand),
    /// A process lives.
    Process(ProcessProbe),
    /// The number in a file is 0.
    File(PathBuf),
    /// An interface is up, with its carrier.
    Interface(InterfaceProbe),
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
    /// Where the probe finds a number rather than only good or bad: that number.
    pub number: Option<i32>,
}

impl Report {
    /// All is well.
    pub fn ok(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Ok,
            reason: reason.into(),
            number: None,
        }
    }

    /// The wrong answer.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Bad,
            reason: reason.into(),
            number: None,
        }
    }

    /// A number was found; 0 means that all is well.
    #[must_use]
    pub fn number(number: i32) -> Self {
        let reason = format!("it says {number}");
        let report = if number == 0 {
            Self::ok(reason)
        } else {
            Self::bad(reason)
        };
        report.with_number(number)
    }

    /// Whether it is the want of an answer within the time.
    fn is_silence(&self) -> bool {
        self.reason.starts_with("no answer within")
    }

    fn with_number(self, number: i32) -> Self {
        Self {
            number: Some(number),
            ..self
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
            Self::Grpc(probe) => probe.run(limit).await,
            Self::Dns(probe) => probe.run(limit).await,
            Self::Udp(probe) => probe.run(limit).await,
            Self::Icmp(address) => datagram::ping(*address, limit).await,
            Self::Command(command) => command::run(command, limit).await,
            Self::Process(probe) => probe.run(limit).await,
            Self::File(file) => file::run(file, limit).await,
            Self::Interface(probe) => probe.run(limit).await,
            Self::Proxy(probe) => probe.run(limit).await,
        }
    }

    /// Waits until there is reason to look before the interval is over; for ever where nothing tells.
    pub async fn stirred(&self) {
        match self {
            Self::Process(probe) => probe.stirred().await,
            Self::Interface(probe) => probe.stirred().await,
            Self::Tcp(_)
            | Self::Http(_)
            | Self::Grpc(_)
            | Self::Dns(_)
            | Self::Udp(_)
            | Self::Icmp(_)
            | Self::Command(_)
            | Self::File(_)
            | Self::Proxy(_) => pending().await,
        }
    }
}
