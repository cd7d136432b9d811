//! What the configuration means. Every value that a cross-check may object to knows its place.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hafw_common::proto::{VRRP_HEADER_LEN, VRRP_V2_AUTH_LEN};
use hafw_config::{Located, Place, Warning};
use hafw_l7::model::ProxyConfig;
use hafw_vrrp::{ChecksumForm, Interval, Priority, Version, Vrid};

pub use hafw_vrrp::Auth;

use crate::{
    alert::{Kind, Mail, Webhook},
    cluster::ClusterSpec,
    datapath::{GuardSpec, XdpMode},
    split_brain::Policy,
    vrrp::Wanted,
};

/// The whole file.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[node]`.
    pub node: Node,
    /// `[[interface]]`, and those that routers name without one.
    pub interfaces: Vec<Interface>,
    /// `[[virtual_router]]`.
    pub routers: Vec<Router>,
    /// `[[check]]`.
    pub checks: Vec<Check>,
    /// `[[service]]`.
    pub services: Vec<Service>,
    /// `[[upstream]]`, `[[server]]`, `[proxy]`; None without any `[[server]]`.
    pub proxy: Option<ProxyConfig>,
    /// Listeners of `[[server]]`s, with their places.
    pub listeners: Vec<Located<SocketAddr>>,
    /// `[alerts]`.
    pub alerts: Option<Alerting>,
    /// `[cluster]`.
    pub cluster: Option<ClusterSpec>,
    /// `[metrics] listen`.
    pub metrics: Option<SocketAddr>,
    /// What is allowed, and hardly what was meant.
    pub warnings: Vec<Warning>,
}

/// `[node]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// keepalived's router_id.
    pub id: String,
    /// Control sockets and saved sysctls.
    pub state_dir: PathBuf,
    /// Pinned maps and links.
    pub pin_dir: PathBuf,
    /// The longest a stop serves what still arrives.
    pub stop_timeout: Duration,
    /// How the VRRP thread is scheduled.
    pub realtime: Wanted,
}

/// Where a node leaves something in the kernel and in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Control socket, the proxy's socket, saved sysctls.
    pub state_dir: PathBuf,
    /// Pinned maps and links.
    pub pin_dir: PathBuf,
    /// Interfaces that programs may be on, each once.
    pub interfaces: Vec<String>,
}

/// `[[interface]]`.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Name, and where it is first named.
    pub name: Located<String>,
    /// Where XDP runs.
    pub xdp_mode: XdpMode,
}

/// `[[virtual_router]]`.
#[derive(Clone, Debug)]
pub struct Router {
    /// Name.
    pub name: Located<String>,
    /// Interface.
    pub interface: Located<String>,
    /// VRID.
    pub vrid: Located<Vrid>,
    /// VRRP version.
    pub version: Version,
    /// Priority before tracking.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Version 2's.
    pub auth: Auth,
    /// VIPs.
    pub vips: Vec<Located<Vip>>,
    /// For sending.
    pub checksum: ChecksumForm,
    /// The peers' factor in Active_Down_Interval.
    pub down_timer_adverts: u8,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long an Active of lower priority is left alone.
    pub preempt_delay: Duration,
    /// From the start until the router takes part.
    pub start_delay: Duration,
    /// Answer with the virtual MAC of the VRID.
    pub virtual_mac: bool,
    /// To whom adverts go by unicast, and from whom they are taken; none: multicast.
    pub unicast_peers: Vec<Located<IpAddr>>,
    /// Name of the routers that move together.
    pub sync_group: Option<Located<String>>,
    /// Accept_Mode.
    pub accept: bool,
    /// How long a node that stepped down serves what still arrives.
    pub grace: Duration,
    /// Tracked checks.
    pub track: Vec<Track>,
    /// What an isolated node does.
    pub split_brain: Policy,
    /// Hosts that are asked whether this node is isolated.
    pub witness: Vec<Located<Ipv4Addr>>,
    /// How long nothing may arrive.
    pub deaf_after: Duration,
}

impl Router {
    /// Whether it speaks over IPv6: by its VIPs' family.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.vips.iter().any(|vip| vip.address.is_ipv6())
    }

    /// Why its adverts do not fit an MTU, in bytes, if they do not. They are never fragmented: every
    /// address is in each (RFC 9568 §5.2), and fragments are dropped on the way.
    #[must_use]
    pub fn exceeds(&self, mtu: u32) -> Option<String> {
        let (header, address) = if self.is_ipv6() { (40, 16) } else { (20, 4) };
        let auth = if self.version == Version::V2 {
            VRRP_V2_AUTH_LEN
        } else {
            0
        };
        let length = header + VRRP_HEADER_LEN + self.vips.len() * address + auth;
        let fits = u32::try_from(length).is_ok_and(|length| length <= mtu);
        (!fits).then(|| {
            format!(
                "its adverts have {length} bytes for {} VIPs, and the MTU of {} is {mtu}: use more \
                 routers, in a `sync_group`",
                self.vips.len(),
                self.interface.value
            )
        })
    }

    /// Over IPv6: whether its adverts go from and to link-local addresses. Those to unicast peers
    /// elsewhere do not.
    #[must_use]
    pub fn speaks_on_link(&self) -> bool {
        let near = |peer: &Located<IpAddr>| match peer.value {
            IpAddr::V6(peer) => peer.is_unicast_link_local(),
            IpAddr::V4(_) => true,
        };
        self.unicast_peers.iter().all(near)
    }

    /// The kind of address that its adverts leave from, for messages.
    #[must_use]
    pub fn source_kind(&self) -> &'static str {
        match (self.is_ipv6(), self.speaks_on_link()) {
            (false, _) => "IPv4",
            (true, true) => "link-local IPv6",
            (true, false) => "global IPv6",
        }
    }
}

/// A virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Of the network it stands in; 32, or 128 over IPv6, where none was written.
    pub prefix: u8,
}

/// An entry of `track`.
#[derive(Clone, Debug)]
pub struct Track {
    /// Name of the check.
    pub check: Located<String>,
    /// keepalived's weight: -253 to 253, 0 means fault.
    pub weight: i16,
}

/// `[[check]]`.
#[derive(Clone, Debug)]
pub struct Check {
    /// Name.
    pub name: Located<String>,
    /// What is looked at.
    pub kind: CheckKind,
    /// From one look to the next.
    pub interval: Duration,
    /// For one look.
    pub timeout: Duration,
    /// Good looks in a row that make it up.
    pub rise: u32,
    /// Bad looks in a row that make it down.
    pub fall: u32,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A program and its arguments, and the user it runs as.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// User name.
        user: String,
    },
    /// GET of a URL.
    Http {
        /// The server.
        address: SocketAddr,
        /// The Host header.
        host: String,
        /// Path and query.
        path: String,
    },
    /// A TCP connection.
    Tcp(SocketAddr),
    /// A process in this network namespace: a name, or a program's absolute path.
    Process(String),
    /// The number in a file.
    File(PathBuf),
    /// The state of an interface.
    Interface(String),
    /// This node's own proxy.
    L7,
}

/// `[[service]]`.
#[derive(Clone, Debug)]
pub struct Service {
    /// Name.
    pub name: Located<String>,
    /// VIP.
    pub vip: Located<IpAddr>,
    /// Port.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// How packets reach the backends.
    pub mode: Mode,
    /// Table size.
    pub slots: u32,
    /// Health checks of the backends; None: always up.
    pub health: Option<Health>,
    /// Whom it serves.
    pub guard: GuardSpec,
    /// `on_failure`: a backend whose probes only time out loses its flows as well.
    pub reset_on_failure: bool,
    /// Backends.
    pub backends: Vec<Backend>,
    /// Where the service stands.
    pub place: Place,
}

pub use crate::control::Protocol;

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are, but for the MACs; the backend has the VIP, and answers the client itself.
    Dsr,
    /// With the backend's address and port as destination; it answers through the node.
    Nat,
    /// Inside another datagram; the backend has the VIP, and answers the client itself.
    Ipip,
    /// As `ipip`, inside a UDP datagram.
    Gue,
}

impl Mode {
    /// Whether the datagram travels inside another one, which may be of the other family.
    #[must_use]
    pub const fn is_tunnel(self) -> bool {
        match self {
            Self::Ipip | Self::Gue => true,
            Self::Dsr | Self::Nat => false,
        }
    }

    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dsr => "dsr",
            Self::Nat => "nat",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
        }
    }
}

/// `[[service.backend]]`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Address and port.
    pub address: Located<SocketAddr>,
    /// Share; 0: drained.
    pub weight: u32,
}

/// `health`.
#[derive(Clone, Debug)]
pub struct Health {
    /// What is looked at.
    pub kind: HealthKind,
    /// The port, where it is not the backend's.
    pub port: Option<u16>,
    /// See [`Check::interval`].
    pub interval: Duration,
    /// See [`Check::timeout`].
    pub timeout: Duration,
    /// See [`Check::rise`].
    pub rise: u32,
    /// See [`Check::fall`].
    pub fall: u32,
}

/// What a health check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthKind {
    /// A TCP connection.
    Tcp,
    /// A request over HTTP/1.1.
    Http(HttpHealth),
    /// A call of grpc.health.v1.
    Grpc {
        /// Whose health is asked for; empty: the server's.
        service: String,
        /// `:authority`, where it is not the backend's address.
        host: Option<String>,
        /// None: in clear.
        tls: Option<TlsHealth>,
    },
    /// A DNS query over UDP.
    Dns {
        /// The name whose addresses are asked for.
        name: String,
    },
    /// A datagram.
    Udp {
        /// What is sent.
        send: Vec<u8>,
        /// What an answer must hold; None: there need be none.
        expect: Option<Vec<u8>>,
    },
    /// An echo request.
    Icmp,
    /// A program, which gets the backend's address and port as further arguments.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// User name.
        user: String,
    },
}

impl HealthKind {
    /// The transport that it uses; None where it has no port.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Tcp | Self::Http(_) | Self::Grpc { .. } => Some(Protocol::Tcp),
            Self::Dns { .. } | Self::Udp { .. } => Some(Protocol::Udp),
            Self::Icmp | Self::Command { .. } => None,
        }
    }
}

/// `http` and `https` of `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHealth {
    /// The path, with the query.
    pub path: String,
    /// The method.
    pub method: String,
    /// The Host header, where it is not the backend's address.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Good statuses; none: 200 to 299.
    pub expect_status: Vec<u16>,
    /// What the body must hold.
    pub expect_body: Option<String>,
    /// None: in clear.
    pub tls: Option<TlsHealth>,
}

/// TLS with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsHealth {
    /// Whether its certificate is verified.
    pub verify: bool,
}

/// `[alerts]`.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// A mail server and whom to write to.
    pub email: Option<Mail>,
    /// Where to post to.
    pub webhook: Option<Webhook>,
    /// A hook command, and the user it runs as.
    pub exec: Option<Located<(Vec<String>, String)>>,
    /// What is told.
    pub events: Vec<Kind>,
    /// The least time between two mails, or two posts.
    pub interval: Duration,
}

impl Alerting {
    /// Whether another says the same, wherever in its file.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            email,
            webhook,
            exec: _,
            events,
            interval,
        } = self;
        let command = |alerts: &Self| alerts.exec.as_ref().map(|exec| exec.value.clone());
        *email == other.email
            && *webhook == other.webhook
            && command(self) == command(other)
            && *events == other.events
            && *interval == other.interval
    }
}
