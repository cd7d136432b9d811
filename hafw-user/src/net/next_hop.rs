//! Where frames for a backend go: the interface and the neighbour that lead to its address.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::{
        neighbour::{NeighbourFlags, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteType},
    },
};
use thiserror::Error;

use super::routes::route_to;

/// No way to an address.
#[derive(Debug, Error)]
pub enum NextHopError {
    /// The kernel has no route, or would not say.
    #[error("no route to {address}: {source}")]
    NoRoute {
        /// The address.
        address: IpAddr,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The address is this node's own.
    #[error("{0} is an address of this node: a backend on the node itself cannot be steered to")]
    Local(IpAddr),
    /// The answer names no interface.
    #[error("the route to {0} leads nowhere (blackhole, prohibit or unreachable)")]
    Nowhere(IpAddr),
}

/// A neighbour on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The interface's kernel index.
    pub ifindex: u32,
    /// The address itself where it is on-link, else its gateway.
    pub neighbour: IpAddr,
}

/// Asks the kernel's routes for the next hop to an address.
///
/// # Errors
/// See [`NextHopError`].
pub async fn resolve(handle: &Handle, address: IpAddr) -> Result<NextHop, NextHopError> {
    let answer = handle
        .route()
        .get(route_to(address))
        .execute()
        .try_next()
        .await;
    let route = answer
        .map_err(|source| NextHopError::NoRoute { address, source })?
        .ok_or(NextHopError::Nowhere(address))?;
    if route.header.kind == RouteType::Local {
        return Err(NextHopError::Local(address));
    }
    if route.header.kind != RouteType::Unicast {
        return Err(NextHopError::Nowhere(address));
    }
    let mut next_hop = NextHop {
        ifindex: 0,
        neighbour: address,
    };
    for attribute in &route.attributes {
        if let RouteAttribute::Oif(index) = attribute {
            next_hop.ifindex = *index;
        } else if let RouteAttribute::Gateway(RouteAddress::Inet(gateway)) = attribute {
            next_hop.neighbour = IpAddr::V4(*gateway);
        } else if let RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) = attribute {
            next_hop.neighbour = IpAddr::V6(*gateway);
        }
    }
    if next_hop.ifindex == 0 {
        Err(NextHopError::Nowhere(address))
    } else {
        Ok(next_hop)
    }
}

/// Forgets the neighbours of an interface that were asked for and have not answered, so that the next
/// packet asks again at once. Questions that were asked without a carrier were never sent, and the
/// kernel would repeat them only a second after (`retrans_time_ms`).
///
/// # Errors
/// The kernel would not list them.
pub async fn forget_unanswered(handle: &Handle, ifindex: u32) -> Result<(), rtnetlink::Error> {
    let mut listed = handle.neighbours().get().execute();
    let mut unanswered = Vec::new();
    while let Some(neighbour) = listed.try_next().await? {
        let header = &neighbour.header;
        if header.ifindex == ifindex && header.state == NeighbourState::Incomplete {
            unanswered.push(neighbour);
        }
    }
    for neighbour in unanswered {
        // It fails for one that has answered meanwhile, and is another entry now.
        let _ = handle.neighbours().del(neighbour).execute().await;
    }
    Ok(())
}

/// Asks the kernel to resolve a neighbour, or to confirm one that it has not heard of for long:
/// what sending it a packet would do.
///
/// # Errors
/// The kernel refuses, for instance because the interface is down.
pub async fn solicit(handle: &Handle, hop: NextHop) -> Result<(), rtnetlink::Error> {
    handle
        .neighbours()
        .add(hop.ifindex, hop.neighbour)
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace()
        .execute()
        .await
}
