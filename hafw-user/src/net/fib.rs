//! The kernel's routes, as far as a mirror of them can tell where a datagram goes.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many attributes and types; these few are of interest"
)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use hafw_common::maps::MAX_ROUTES;
use rtnetlink::{
    Handle, IpVersion, RouteMessageBuilder,
    packet_route::{
        route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use tracing::debug;

use super::{next_hop::NextHop, watch::WatchError};

const TABLE_DEFAULT: u32 = 253;
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;

/// A prefix: address and length.
pub type Prefix = (IpAddr, u8);

/// Where datagrams to a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this host.
    Local,
    /// To a neighbour on the link of this interface.
    OnLink(u32),
    /// To a gateway.
    Gateway(NextHop),
    /// It depends on more than the destination: the kernel has to be asked.
    Ask,
    /// Nowhere.
    Nowhere,
}

/// Those that a mirror has of one family, at most.
const MOST: usize = MAX_ROUTES as usize / 2;

/// The routes by prefix; the longest that matches counts. Where rules or more routes than half of
/// [`MAX_ROUTES`] decide over a family, everything but this host's addresses is [`Way::Ask`].
///
/// # Errors
/// The kernel would not list them.
pub async fn routes(handle: &Handle) -> Result<BTreeMap<Prefix, Way>, WatchError> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut routes = routes_of(handle, (IpVersion::V4, v4)).await?;
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    match routes_of(handle, (IpVersion::V6, v6)).await {
        Ok(v6) => routes.extend(v6),
        // A kernel without IPv6, or without its policy rules, has none that matter.
        Err(error) => debug!(%error, "no IPv6 routes"),
    }
    Ok(routes)
}

async fn routes_of(
    handle: &Handle,
    (version, all): (IpVersion, RouteMessage),
) -> Result<BTreeMap<Prefix, Way>, WatchError> {
    let failed = |what| move |source| WatchError::List { what, source };
    let any = match version {
        IpVersion::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpVersion::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let rules: Vec<_> = handle
        .rule()
        .get(version)
        .execute()
        .try_collect()
        .await
        .map_err(failed("rules"))?;
    let routes: Vec<_> = handle
        .route()
        .get(all)
        .execute()
        .try_collect()
        .await
        .map_err(failed("routes"))?;
    Ok(condense(&rules, &routes, any))
}

/// `any`: the family's unspecified address.
fn condense(rules: &[RuleMessage], routes: &[RouteMessage], any: IpAddr) -> BTreeMap<Prefix, Way> {
    let local = in_table(routes, TABLE_LOCAL, any);
    let mut main = in_table(routes, TABLE_MAIN, any);
    let room = MOST.saturating_sub(local.len());
    // IPv6 has no table "default".
    let standard = if any.is_ipv4() { 3 } else { 2 };
    let by_destination = rules.iter().all(is_standard) && rules.len() == standard;
    // The default table is empty on every usual host.
    let other = !in_table(routes, TABLE_DEFAULT, any).is_empty();
    if !by_destination || other || main.len() > room {
        main = BTreeMap::from([((any, 0), (0, Way::Ask))]);
    }
    // The local table is asked first.
    main.extend(local);
    main.into_iter()
        .map(|(prefix, (_, way))| (prefix, way))
        .collect()
}

/// One of the rules that a host has from the start: local, main, default, for everything.
fn is_standard(rule: &RuleMessage) -> bool {
    let mut table = u32::from(rule.header.table);
    let mut priority = 0;
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Priority(number) => priority = *number,
            // "Suppress" with -1 suppresses nothing; the kernel always sends it.
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::Protocol(_) => {}
            _ => return false,
        }
    }
    let known = [
        (0, TABLE_LOCAL),
        (32_766, TABLE_MAIN),
        (32_767, TABLE_DEFAULT),
    ];
    rule.header.action == RuleAction::ToTable
        && rule.header.tos == 0
        && known.contains(&(priority, table))
}

/// The best route of a table for each prefix, with its metric.
fn in_table(routes: &[RouteMessage], table: u32, any: IpAddr) -> BTreeMap<Prefix, (u32, Way)> {
    let mut best: BTreeMap<Prefix, (u32, Way)> = BTreeMap::new();
    for route in routes {
        let dead = RouteFlags::Dead | RouteFlags::Linkdown;
        if table_of(route) != table || route.header.flags.intersects(dead) {
            continue;
        }
        let (prefix, metric, way) = read(route, any);
        best.entry(prefix)
            .and_modify(|known| {
                if metric < known.0 {
                    *known = (metric, way);
                } else if metric == known.0 && way != known.1 {
                    // Of IPv6's, the kernel takes the one whose neighbour it can reach.
                    known.1 = Way::Ask;
                }
            })
            .or_insert((metric, way));
    }
    best
}

fn table_of(route: &RouteMessage) -> u32 {
    let mut attributes = route.attributes.iter();
    let named = attributes.find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    named.unwrap_or_else(|| route.header.table.into())
}

fn read(route: &RouteMessage, any: IpAddr) -> (Prefix, u32, Way) {
    let mut address = any;
    let (mut metric, mut ifindex, mut gateway) = (0, None, None);
    // A type of service is part of the choice, and so is what several next hops share.
    let mut odd = route.header.tos != 0;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(a)) => address = IpAddr::V4(*a),
            RouteAttribute::Destination(RouteAddress::Inet6(a)) => address = IpAddr::V6(*a),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(a)) => gateway = Some(IpAddr::V4(*a)),
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) => gateway = Some(IpAddr::V6(*a)),
            RouteAttribute::MultiPath(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::Encap(_)
            | RouteAttribute::EncapType(_) => odd = true,
            _ => {}
        }
    }
    let way = match (route.header.kind, ifindex, gateway) {
        (RouteType::Local | RouteType::Anycast, ..) => Way::Local,
        (RouteType::Unicast, Some(ifindex), Some(gateway)) if !odd => Way::Gateway(NextHop {
            ifindex,
            neighbour: gateway,
        }),
        (RouteType::Unicast, Some(ifindex), None) if !odd => Way::OnLink(ifindex),
        (RouteType::Unicast | RouteType::Throw, ..) => Way::Ask,
        _ => Way::Nowhere,
    };
    (
        (address, route.header.destination_prefix_length),
        metric,
        way,
    )
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::rule::RuleHeader;

    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn v4(address: [u8; 4]) -> IpAddr {
        address.into()
    }

    fn rule(priority: u32, table: u8) -> RuleMessage {
        let mut rule = RuleMessage::default();
        rule.header = RuleHeader {
            table,
            action: RuleAction::ToTable,
            ..RuleHeader::default()
        };
        rule.attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::SuppressPrefixLen(u32::MAX),
        ];
        rule
    }

    fn standard() -> Vec<RuleMessage> {
        vec![rule(0, 255), rule(32_766, 254), rule(32_767, 253)]
    }

    fn route(prefix: [u8; 4], length: u8, gateway: Option<[u8; 4]>, metric: u32) -> RouteMessage {
        let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.into(), length)
            .output_interface(2)
            .priority(metric);
        if let Some(gateway) = gateway {
            builder = builder.gateway(gateway.into());
        }
        builder.build()
    }

    fn via(last: u8) -> Way {
        Way::Gateway(NextHop {
            ifindex: 2,
            neighbour: [10, 0, 0, last].into(),
        })
    }

    #[test]
    fn the_lowest_metric_counts_and_dead_routes_do_not() {
        let mut dead = route([0; 4], 0, Some([10, 0, 0, 1]), 0);
        dead.header.flags = RouteFlags::Dead;
        let routes = [
            route([10, 0, 0, 0], 24, None, 0),
            route([0; 4], 0, Some([10, 0, 0, 2]), 20),
            route([0; 4], 0, Some([10, 0, 0, 3]), 10),
            dead,
        ];
        let expected = BTreeMap::from([
            ((v4([10, 0, 0, 0]), 24), Way::OnLink(2)),
            ((v4([0; 4]), 0), via(3)),
        ]);
        assert_eq!(condense(&standard(), &routes, ANY), expected);
    }

    #[test]
    fn with_a_rule_more_only_local_addresses_are_known() {
        let mut local = route([10, 0, 0, 5], 32, None, 0);
        local.header.kind = RouteType::Local;
        local.header.table = 255;
        let routes = [route([10, 0, 0, 0], 24, None, 0), local];
        let mut rules = standard();
        rules.push(rule(100, 100));
        let expected = BTreeMap::from([
            ((v4([0; 4]), 0), Way::Ask),
            ((v4([10, 0, 0, 5]), 32), Way::Local),
        ]);
        assert_eq!(condense(&rules, &routes, ANY), expected);
    }

    #[test]
    fn several_next_hops_are_the_kernels_to_choose_from() {
        let mut several = route([192, 0, 2, 0], 24, None, 0);
        several.attributes.push(RouteAttribute::MultiPath(vec![]));
        let mut blackhole = route([198, 51, 100, 0], 24, None, 0);
        blackhole.header.kind = RouteType::BlackHole;
        let found = condense(&standard(), &[several, blackhole], ANY);
        assert_eq!(found[&(v4([192, 0, 2, 0]), 24)], Way::Ask);
        assert_eq!(found[&(v4([198, 51, 100, 0]), 24)], Way::Nowhere);
    }

    #[test]
    fn routes_of_ipv6_are_read_and_equal_ones_are_the_kernels_to_choose_from() {
        let route = |prefix: &str, length, gateway: &str, ifindex| {
            let builder = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(prefix.parse().unwrap(), length)
                .output_interface(ifindex)
                .priority(1024);
            if gateway.is_empty() {
                builder.build()
            } else {
                builder.gateway(gateway.parse().unwrap()).build()
            }
        };
        let routes = [
            route("2001:db8::", 64, "", 2),
            route("::", 0, "fe80::1", 2),
            route("fe80::", 64, "", 2),
            route("fe80::", 64, "", 3),
        ];
        let prefix = |address: &str, length| (address.parse().unwrap(), length);
        let gateway = NextHop {
            ifindex: 2,
            neighbour: "fe80::1".parse().unwrap(),
        };
        let expected = BTreeMap::from([
            (prefix("2001:db8::", 64), Way::OnLink(2)),
            (prefix("::", 0), Way::Gateway(gateway)),
            (prefix("fe80::", 64), Way::Ask),
        ]);
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(condense(&standard()[..2], &routes, any), expected);
    }
}
