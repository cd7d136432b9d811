//! VIPs are local by a route, never by an address (invariant 5): invisible in `ip addr`, and never
//! picked as a source. They stay while the node runs, whoever owns them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
    },
};
use thiserror::Error;

/// The origin that marks our routes, as 18 marks keepalived's (include/uapi/linux/rtnetlink.h
/// leaves the free numbers to daemons). VRRP's protocol number, for want of a better.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(112);
/// `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u32 = 255;

/// A route could not be changed.
#[derive(Debug, Error)]
pub enum RouteError {
    /// The kernel has no `lo` here, or it is down.
    #[error(
        "the loopback interface of this network namespace is missing or down: `ip link set lo up`"
    )]
    NoLoopback,
    /// Any other answer.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
}

/// The local routes of the VIPs.
#[derive(Clone, Debug)]
pub struct Routes {
    handle: Handle,
}

impl Routes {
    /// Over this netlink connection.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Makes our routes exactly these. Those that are right already are not touched.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn set(&self, vips: &BTreeSet<IpAddr>) -> Result<(), RouteError> {
        let present = self.ours().await?;
        let lo = self.loopback().await?;
        for vip in vips {
            if present.iter().any(|(address, _)| address == vip) {
                continue;
            }
            match self.handle.route().add(local(*vip, lo)).execute().await {
                Err(e) if is(&e, libc::ENETDOWN) => return Err(RouteError::NoLoopback),
                // The same route from another hand: as good.
                Err(e) if is(&e, libc::EEXIST) => {}
                result => {
                    result.map_err(|source| RouteError::Kernel {
                        what: format!("add the local route of {vip}"),
                        source,
                    })?;
                }
            }
        }
        for (address, route) in present {
            if !vips.contains(&address) {
                self.remove(address, route).await?;
            }
        }
        Ok(())
    }

    /// Takes all our routes away.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn clear(&self) -> Result<(), RouteError> {
        for (address, route) in self.ours().await? {
            self.remove(address, route).await?;
        }
        Ok(())
    }

    async fn remove(&self, address: IpAddr, route: RouteMessage) -> Result<(), RouteError> {
        self.handle
            .route()
            .del(route)
            .execute()
            .await
            .map_err(|source| RouteError::Kernel {
                what: format!("remove the local route of {address}"),
                source,
            })
    }

    async fn ours(&self) -> Result<Vec<(IpAddr, RouteMessage)>, RouteError> {
        let filters = [
            RouteMessageBuilder::<Ipv4Addr>::new()
                .table_id(TABLE_LOCAL)
                .build(),
            RouteMessageBuilder::<Ipv6Addr>::new()
                .table_id(TABLE_LOCAL)
                .build(),
        ];
        let mut all: Vec<RouteMessage> = Vec::new();
        for filter in filters {
            let listed: Result<Vec<_>, _> = self
                .handle
                .route()
                .get(filter)
                .execute()
                .try_collect()
                .await;
            all.extend(listed.map_err(|source| RouteError::Kernel {
                what: "list the local routes".into(),
                source,
            })?);
        }
        let ours = all.into_iter().filter(|route| {
            route.header.protocol == PROTOCOL && u32::from(route.header.table) == TABLE_LOCAL
        });
        Ok(ours
            .filter_map(|route| Some((destination(&route)?, route)))
            .collect())
    }

    async fn loopback(&self) -> Result<u32, RouteError> {
        let mut links = self.handle.link().get().match_name("lo").execute();
        match links.try_next().await {
            Ok(Some(link)) => Ok(link.header.index),
            Ok(None) | Err(_) => Err(RouteError::NoLoopback),
        }
    }
}

/// Over IPv6 too, a route without an address: nothing detects a duplicate, and nothing is picked as
/// a source.
fn local(vip: IpAddr, lo: u32) -> RouteMessage {
    match vip {
        IpAddr::V4(vip) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(vip, 32)
            .output_interface(lo)
            .table_id(TABLE_LOCAL)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .protocol(PROTOCOL)
            .build(),
        IpAddr::V6(vip) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(vip, 128)
            .output_interface(lo)
            .table_id(TABLE_LOCAL)
            .kind(RouteType::Local)
            .protocol(PROTOCOL)
            .build(),
    }
}

fn destination(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute {
            Some(IpAddr::V4(*address))
        } else if let RouteAttribute::Destination(RouteAddress::Inet6(address)) = attribute {
            Some(IpAddr::V6(*address))
        } else {
            None
        }
    })
}

pub(super) fn is(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -errno)
}

/// The address family's wildcard in a look-up.
pub(super) fn route_to(address: IpAddr) -> RouteMessage {
    match address {
        IpAddr::V4(a) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(a, 32)
            .build(),
        IpAddr::V6(a) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(a, 128)
            .build(),
    }
}
