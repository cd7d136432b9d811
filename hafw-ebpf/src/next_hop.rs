//! Sending a frame on: to a next hop that is known, or to user space, which finds it out.

use hafw_common::{
    backend::BACKEND_RESOLVED,
    counters::Counter,
    iface::Iface,
    mac_from_word,
    route::{
        NeighbourKey, ROUTE_ASK, ROUTE_GATEWAY, ROUTE_LOCAL, ROUTE_ON_LINK, ROUTE_RESOLVED, Route,
    },
};
use network_types::eth::EthHdr;

use crate::{
    packet::PacketMut,
    path::Outcome,
    tables::{BackendWords, Hop, Query, Tables},
};

/// What is known of the way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All of it.
    Known(Hop),
    /// Not the neighbour's MAC, or not by the tables.
    Unresolved,
    /// That there is none.
    Nowhere,
    /// It is an address of this node.
    Local,
}

/// The way to a backend.
#[inline(always)]
pub fn to_backend(backend: BackendWords<'_>) -> Way {
    let next_hop = backend.next_hop();
    if next_hop & BACKEND_RESOLVED == 0 {
        return Way::Unresolved;
    }
    Way::Known(Hop {
        next_hop,
        source: backend.source(),
        ifindex: backend.ifindex() as u32,
    })
}

/// The way that a datagram takes by the node's routes.
#[inline(always)]
pub fn by_routes<T: Tables>(tables: &T, query: &Query) -> Way {
    let Some(route) = tables.route(query.destination) else {
        return Way::Nowhere;
    };
    let Route {
        next_hop,
        source,
        ifindex,
        kind,
    } = route;
    let known = |next_hop| {
        Way::Known(Hop {
            next_hop,
            source,
            ifindex,
        })
    };
    match kind {
        ROUTE_LOCAL => Way::Local,
        ROUTE_ON_LINK => {
            let address = query.destination;
            tables
                .neighbour(&NeighbourKey { address, ifindex })
                .map_or(Way::Unresolved, known)
        }
        ROUTE_GATEWAY if next_hop & ROUTE_RESOLVED != 0 => known(next_hop),
        ROUTE_GATEWAY => Way::Unresolved,
        ROUTE_ASK => tables.ask_kernel(query).map_or(Way::Unresolved, Way::Known),
        _ => Way::Nowhere,
    }
}

/// Sends a frame to a hop: by the interface it came from, counted as `tx`, or by another one.
#[inline(always)]
pub fn send<P: PacketMut + ?Sized>(
    packet: &mut P,
    iface: &Iface,
    hop: Hop,
    (tx, redirect): (Counter, Counter),
) -> Outcome {
    let Some(ethernet) = packet.header_mut::<EthHdr>(0) else {
        return Counter::DropTable.into();
    };
    ethernet.dst_addr = mac_from_word(hop.next_hop);
    ethernet.src_addr = mac_from_word(hop.source);
    if hop.ifindex == iface.ifindex {
        return tx.into();
    }
    Outcome {
        counter: redirect,
        ifindex: hop.ifindex,
    }
}

/// Hands a frame with a datagram of so many bytes to user space, to be sent the way that leads to
/// `destination`.
#[inline(always)]
pub fn hand_up<T: Tables>(tables: &T, destination: [u8; 16], datagram: usize) -> Outcome {
    if tables.hand_up(destination, datagram) {
        Counter::DropHanded.into()
    } else {
        Counter::DropUnresolved.into()
    }
}
