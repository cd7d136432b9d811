//! The control socket: one JSON request per connection and one JSON answer, each a line.

mod client;
mod model;
mod render;
mod server;

pub use client::{ClientError, ask};
pub use model::{
    AlertStatus, Answer, BackendStatus, BlockedStatus, CheckStatus, ClusterPeerStatus, DrainAnswer,
    EvidenceStatus, HandoverAnswer, InterfaceStatus, PeerStatus, Protocol, ProxyStatus,
    RealtimeStatus, Request, RouterStatus, ServiceStatus, Status, TraceAnswer, TraceRequest,
};
pub use render::{render_drain, render_status, render_trace};
pub use server::{Call, ServerError, serve};
