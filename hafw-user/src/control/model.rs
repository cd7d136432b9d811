//! What goes over the control socket. The JSON is an interface: fields are added, not renamed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// A question to a running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Everything `hafw status` shows.
    Status,
    /// Where a flow goes.
    Trace(TraceRequest),
    /// Lets a backend have no new flows, or its share again.
    Drain {
        /// Name of the service.
        service: String,
        /// Address of the backend, or address and port.
        backend: String,
        /// No longer.
        end: bool,
    },
    /// Lets a source in again that the proxy's limits keep out.
    Unblock {
        /// Its address.
        source: IpAddr,
    },
    /// Puts the changed file into force.
    Reload,
    /// Becomes the binary that is on disk now.
    Restart,
    /// Gives a router to a peer, or lets it claim its VIPs by its priority again.
    Handover {
        /// Its name.
        router: String,
        /// No longer.
        end: bool,
    },
}

/// The flow of a [`Request::Trace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// The client.
    pub from: SocketAddr,
    /// The VIP and port.
    pub to: SocketAddr,
    /// The transport.
    pub protocol: Protocol,
}

/// A transport that services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => hafw_common::proto::IP_TCP,
            Self::Udp => hafw_common::proto::IP_UDP,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Trace`].
    Trace(TraceAnswer),
    /// To [`Request::Drain`].
    Drain(DrainAnswer),
    /// To [`Request::Handover`].
    Handover(HandoverAnswer),
    /// What was asked for is done, or under way: in words.
    Done(String),
    /// The request was not understood, or could not be answered.
    Error(String),
}

/// How the VRRP thread is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealtimeStatus {
    /// Its SCHED_RR priority; None: ordinary scheduling.
    pub priority: Option<u8>,
    /// The process's memory stays in RAM.
    pub memory_locked: bool,
    /// Why either is not as configured; empty if it is.
    pub reason: String,
}

/// The state of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `[node] id`.
    pub node: String,
    /// Of the controller.
    pub version: String,
    /// Of the controller.
    pub pid: u32,
    /// Since the controller started, s.
    pub uptime_seconds: u64,
    /// Whether the controller took maps over that an earlier one left.
    pub adopted: bool,
    /// Whether load on the machine can delay adverts.
    #[serde(default)]
    pub realtime: RealtimeStatus,
    /// Interfaces with the programs on them.
    pub interfaces: Vec<InterfaceStatus>,
    /// Virtual routers, in the order of the configuration.
    pub routers: Vec<RouterStatus>,
    /// `[[check]]`s.
    pub checks: Vec<CheckStatus>,
    /// The other nodes of `[cluster]`.
    pub cluster: Vec<ClusterPeerStatus>,
    /// L4 services.
    pub services: Vec<ServiceStatus>,
    /// Established connections that are not where their slots lead, by the last look.
    #[serde(default)]
    pub moved_flows: u64,
    /// The L7 proxy, where the configuration has one.
    pub proxy: Option<ProxyStatus>,
    /// How many sources the proxy's limits keep out.
    #[serde(default)]
    pub blocked_sources: u64,
    /// Those, at most 1000, the longest first.
    #[serde(default)]
    pub blocked: Vec<BlockedStatus>,
    /// Counters of the packet path that are not 0, by name; of the frames that it handed to the
    /// controller: `handed_sent`, `handed_lost`; and of sources that found no room to be kept out:
    /// `blocks_full`.
    pub counters: BTreeMap<String, u64>,
    /// Receivers of alerts.
    #[serde(default)]
    pub alerts: Vec<AlertStatus>,
}

/// A source that is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedStatus {
    /// Its address.
    pub source: IpAddr,
    /// For how long still.
    pub seconds: u64,
}

/// One receiver of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// `email`, `webhook` or `exec`.
    pub receiver: String,
    /// Messages delivered, or hooks run.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Changes that found no room.
    pub lost: u64,
    /// Changes that wait to be told.
    pub waiting: u64,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// Up, with its carrier.
    pub up: bool,
    /// Its MAC; empty while there is no such interface.
    pub mac: String,
    /// Why it cannot be used; empty while it can.
    pub trouble: String,
    /// VRRP packets that came through netfilter: fewer than XDP's adverts means that a rule drops
    /// them.
    pub adverts_through_netfilter: u64,
}

/// One virtual router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Name.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// VRID.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// `active`, `backup`, `fault` or `initialize`.
    pub state: String,
    /// In this state, ms.
    pub since_ms: u64,
    /// From the configuration.
    pub priority: u8,
    /// After tracking: what is advertised.
    pub effective_priority: u8,
    /// Answers ARP for the VIPs now, by the lease.
    pub attracting: bool,
    /// Steers services now: also during a grace.
    pub serving: bool,
    /// How long the attract lease still runs, ms; 0 without one.
    pub lease_ms: u64,
    /// Its VIPs.
    pub vips: Vec<IpAddr>,
    /// The Active that was last heard, when it is another node.
    pub active: Option<PeerStatus>,
    /// Routers of the same VRID that XDP has seen.
    pub peers: Vec<PeerStatus>,
    /// Changes of state.
    pub transitions: u64,
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Adverts that could not be sent.
    pub adverts_failed: u64,
    /// Adverts that XDP let pass and the controller refused: none, unless the two disagree.
    pub adverts_refused: u64,
    /// Rounds of gratuitous ARP.
    pub announcements: u64,
    /// ARP packets of other stations with a VIP of this router as sender.
    pub foreign_claims: u64,
    /// Whether a witness answers; None without one, or before the first result.
    pub witness: Option<bool>,
    /// Evidence of a split brain, and of what looks like one.
    pub evidence: Vec<EvidenceStatus>,
    /// Failed checks and other reasons why it is in fault or at a lower priority.
    pub reasons: Vec<String>,
}

/// Something that was found, and still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    /// `both_active`, `peer_adverts`, `claims`, `firewall`, `peer_down`, `isolated`, `deaf` or
    /// `witness_down`.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// A router of the same VRID elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Source of its adverts.
    pub address: String,
    /// Ethernet source of its last advert; empty where it is not known.
    pub mac: String,
    /// Priority of its last advert.
    pub priority: u8,
    /// Valid adverts seen.
    pub adverts: u64,
    /// Since the last, ms.
    pub last_ms: u64,
}

/// One check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Name.
    pub name: String,
    /// None before the first result.
    pub up: Option<bool>,
    /// What the last result was.
    pub reason: String,
}

/// Another node, over the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPeerStatus {
    /// Its id.
    pub id: String,
    /// Of its program; empty before its first word.
    pub version: String,
    /// Its heartbeats arrive.
    pub heard: bool,
    /// Since the last, ms; None before the first.
    pub last_ms: Option<u64>,
    /// This node's heartbeats reach it.
    pub sending: bool,
    /// What stands in the way; empty if nothing does.
    pub problem: String,
    /// It has been told everything of the services whose VIPs this node owns.
    #[serde(default)]
    pub told: bool,
    /// It has told everything of those that it owns.
    #[serde(default)]
    pub known: bool,
    /// Services that are steered here as it says.
    #[serde(default)]
    pub followed_services: usize,
    /// Times that it told of an established connection in a slot that has moved, since all was last
    /// told anew.
    #[serde(default)]
    pub flows: u64,
    /// Those that found no room.
    #[serde(default)]
    pub flows_lost: u64,
    /// In what its configuration, or what it can tell, differs.
    #[serde(default)]
    pub differences: Vec<String>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// VIP and port.
    pub address: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `dsr`, `nat`, `ipip` or `gue`.
    pub mode: String,
    /// Table size.
    pub slots: u32,
    /// The node by whose plan it is steered, where that is another one.
    #[serde(default)]
    pub follows: Option<String>,
    /// Backends, in the order of the configuration; then those that are leaving.
    pub backends: Vec<BackendStatus>,
}

/// One backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Address and port.
    pub address: String,
    /// Its share of new flows.
    pub weight: u32,
    /// On request.
    #[serde(default)]
    pub drained: bool,
    /// Gets new flows.
    pub up: bool,
    /// Why, where a probe says.
    pub reason: String,
    /// The next hop's MAC; empty while it is not resolved.
    pub next_hop: String,
    /// Slots that send new flows to it.
    pub slots: u32,
    /// Slots that have moved away from it, and may have flows on it still.
    #[serde(default)]
    pub moved_slots: u32,
    /// Frames steered to it.
    pub packets: u64,
    /// Bytes steered to it.
    pub bytes: u64,
}

/// The proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its process; 0 while it does not run.
    pub pid: u32,
    /// It answers, with all its workers.
    pub up: bool,
    /// What it says of itself.
    pub detail: serde_json::Value,
}

/// A backend's share of new flows was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// The backend.
    pub backend: SocketAddr,
    /// Its weight from now on.
    pub weight: u32,
    /// Slots that may have flows on it still.
    pub moved_slots: u32,
    /// Whether anybody else takes new flows.
    pub others: bool,
}

/// A handover has begun, or has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverAnswer {
    /// The longest until a peer that preempts has taken the router, or this node has it back, ms.
    pub takes_ms: u64,
}

/// Where a flow goes, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceAnswer {
    /// The steps, in order, for reading.
    pub steps: Vec<String>,
    /// `steered`, `local`, `dropped` or `passed`.
    pub verdict: String,
    /// The service that takes it.
    pub service: Option<String>,
    /// The flow's hash and slot.
    pub slot: Option<u32>,
    /// The backend.
    pub backend: Option<String>,
}
