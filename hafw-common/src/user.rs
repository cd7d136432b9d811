//! aya's marker for types that may cross into a map. Each type derives [`bytemuck::Pod`], which
//! refuses padding and invalid bit patterns at compile time.

use crate::{
    Node,
    backend::{Backend, Traffic},
    blocked::Source,
    guard::{Guard, SourceKey},
    iface::Iface,
    lease::{Lease, Seen},
    moved::{FlowEntry, FlowKey},
    nat::{NatKey, NatSource},
    route::{NeighbourKey, Route},
    router::{PeerKey, PeerSeen, RouterConfig},
    service::{Service, ServiceKey},
    vip::{Vip, VipKey},
};

macro_rules! pod {
    ($($t:ty),+ $(,)?) => {$(
        // SAFETY: the type derives bytemuck::Pod: no padding, every bit pattern is valid.
        unsafe impl aya::Pod for $t {}
    )+};
}

pod!(
    Backend,
    FlowEntry,
    FlowKey,
    Guard,
    Iface,
    Lease,
    NatKey,
    NatSource,
    NeighbourKey,
    Node,
    PeerKey,
    PeerSeen,
    Route,
    RouterConfig,
    Seen,
    Service,
    ServiceKey,
    Source,
    SourceKey,
    Traffic,
    Vip,
    VipKey,
);
