//! The node's routes and neighbours as the packet path needs them for replies of `nat` backends.
//! Pure: fed with what netlink says, it gives what has to be written.

use std::collections::BTreeMap;

use hafw_common::{
    mac_to_word, mapped,
    route::{
        NeighbourKey, ROUTE_ASK, ROUTE_GATEWAY, ROUTE_LOCAL, ROUTE_NOWHERE, ROUTE_ON_LINK,
        ROUTE_RESOLVED, Route,
    },
};

use crate::net::{NetEvent, NextHop, Prefix, Way};

/// A step towards what should be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A route's entry, or none.
    Route(Prefix, Option<Route>),
    /// A neighbour's MAC, or none.
    Neighbour(NeighbourKey, Option<u64>),
}

/// What is known, and what is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    ways: BTreeMap<Prefix, Way>,
    links: BTreeMap<u32, [u8; 6]>,
    neighbours: BTreeMap<NextHop, [u8; 6]>,
    written_routes: BTreeMap<Prefix, Route>,
    written_neighbours: BTreeMap<NeighbourKey, u64>,
}

impl Mirror {
    /// Over tables that hold this.
    pub(super) fn over(
        written_routes: BTreeMap<Prefix, Route>,
        written_neighbours: BTreeMap<NeighbourKey, u64>,
    ) -> Self {
        Self {
            written_routes,
            written_neighbours,
            ..Self::default()
        }
    }

    /// Takes changes in.
    pub(super) fn note(&mut self, events: &[NetEvent]) {
        for event in events {
            match *event {
                NetEvent::Link {
                    ifindex,
                    mac: Some(mac),
                    ..
                } => {
                    self.links.insert(ifindex, mac);
                }
                NetEvent::LinkGone { ifindex } => {
                    self.links.remove(&ifindex);
                    self.neighbours.retain(|hop, _| hop.ifindex != ifindex);
                }
                NetEvent::Neighbour {
                    ifindex,
                    address: neighbour,
                    mac,
                } => {
                    let hop = NextHop { ifindex, neighbour };
                    self.neighbours.insert(hop, mac);
                }
                NetEvent::NeighbourGone {
                    ifindex,
                    address: neighbour,
                } => {
                    self.neighbours.remove(&NextHop { ifindex, neighbour });
                }
                NetEvent::Link { mac: None, .. } | NetEvent::Routes | NetEvent::Lost => {}
            }
        }
    }

    /// The routes are these.
    pub(super) fn set_ways(&mut self, ways: BTreeMap<Prefix, Way>) {
        self.ways = ways;
    }

    /// Gateways, each once: to be kept fresh.
    pub(super) fn gateways(&self) -> Vec<NextHop> {
        let gateway = |way: &Way| match way {
            Way::Gateway(hop) => Some(*hop),
            Way::Local | Way::OnLink(_) | Way::Ask | Way::Nowhere => None,
        };
        let mut gateways: Vec<_> = self.ways.values().filter_map(gateway).collect();
        gateways.sort_unstable();
        gateways.dedup();
        gateways
    }

    /// Neighbours whose MACs are known.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = NextHop> {
        self.neighbours.keys().copied()
    }

    /// The MACs of a neighbour and of the interface that leads to it, if both are known.
    pub(super) fn macs(&self, hop: NextHop) -> Option<([u8; 6], [u8; 6])> {
        Some((*self.neighbours.get(&hop)?, *self.links.get(&hop.ifindex)?))
    }

    /// What has to be written; it is taken to be that then. Neighbours come before the routes that
    /// need them.
    pub(super) fn steps(&mut self) -> Vec<Step> {
        let neighbours: BTreeMap<_, _> = self.neighbours.iter().map(neighbour).collect();
        let routes: BTreeMap<_, _> = self
            .ways
            .iter()
            .filter_map(|(prefix, way)| Some((*prefix, self.route(way)?)))
            .collect();
        let mut steps = Vec::new();
        let (gone, changed) = differences(&self.written_neighbours, &neighbours);
        steps.extend(changed.map(|(key, mac)| Step::Neighbour(key, Some(mac))));
        let (old, new) = differences(&self.written_routes, &routes);
        steps.extend(new.map(|(prefix, route)| Step::Route(prefix, Some(route))));
        steps.extend(old.map(|prefix| Step::Route(prefix, None)));
        steps.extend(gone.map(|key| Step::Neighbour(key, None)));
        self.written_neighbours = neighbours;
        self.written_routes = routes;
        steps
    }

    /// A route over an interface without a MAC is none: the kernel has to be asked.
    fn route(&self, way: &Way) -> Option<Route> {
        let plain = |kind| Route {
            next_hop: 0,
            source: 0,
            ifindex: 0,
            kind,
        };
        let over = |ifindex: u32, kind, next_hop| match self.links.get(&ifindex) {
            Some(mac) => Route {
                next_hop,
                source: mac_to_word(*mac),
                ifindex,
                kind,
            },
            None => plain(ROUTE_ASK),
        };
        Some(match way {
            Way::Local => plain(ROUTE_LOCAL),
            Way::Nowhere => plain(ROUTE_NOWHERE),
            Way::Ask => plain(ROUTE_ASK),
            Way::OnLink(ifindex) => over(*ifindex, ROUTE_ON_LINK, 0),
            Way::Gateway(hop) => {
                let mac = self.neighbours.get(hop);
                let next_hop = mac.map_or(0, |mac| mac_to_word(*mac) | ROUTE_RESOLVED);
                over(hop.ifindex, ROUTE_GATEWAY, next_hop)
            }
        })
    }
}

fn neighbour((hop, mac): (&NextHop, &[u8; 6])) -> (NeighbourKey, u64) {
    let key = NeighbourKey {
        address: mapped(hop.neighbour),
        ifindex: hop.ifindex,
    };
    (key, mac_to_word(*mac))
}

/// Keys that `new` has not any more, and entries that it has anew or differently.
fn differences<'a, K: Ord + Copy, V: PartialEq + Copy>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> (
    impl Iterator<Item = K> + use<'a, K, V>,
    impl Iterator<Item = (K, V)> + use<'a, K, V>,
) {
    let gone = old.keys().filter(|key| !new.contains_key(key)).copied();
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(key) != Some(value))
        .map(|(key, value)| (*key, *value));
    (gone, changed)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use hafw_common::v4_mapped;

    use super::*;

    const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 254];
    const GATEWAY: NextHop = NextHop {
        ifindex: 2,
        neighbour: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254)),
    };
    const DEFAULT: Prefix = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    const KEY: NeighbourKey = NeighbourKey {
        address: v4_mapped([10, 0, 0, 254]),
        ifindex: 2,
    };

    fn link() -> NetEvent {
        NetEvent::Link {
            ifindex: 2,
            up: true,
            mac: Some(OUR_MAC),
        }
    }

    fn neighbour(mac: [u8; 6]) -> NetEvent {
        NetEvent::Neighbour {
            ifindex: 2,
            address: GATEWAY.neighbour,
            mac,
        }
    }

    fn route(next_hop: u64) -> Route {
        Route {
            next_hop,
            source: mac_to_word(OUR_MAC),
            ifindex: 2,
            kind: ROUTE_GATEWAY,
        }
    }

    fn settled() -> Mirror {
        let mut mirror = Mirror::default();
        mirror.set_ways(BTreeMap::from([(DEFAULT, Way::Gateway(GATEWAY))]));
        mirror.note(&[link(), neighbour(MAC)]);
        let resolved = mac_to_word(MAC) | ROUTE_RESOLVED;
        assert_eq!(
            mirror.steps(),
            [
                Step::Neighbour(KEY, Some(mac_to_word(MAC))),
                Step::Route(DEFAULT, Some(route(resolved))),
            ]
        );
        mirror
    }

    #[test]
    fn a_gateways_new_mac_changes_its_routes_and_old_news_changes_nothing() {
        let mut mirror = settled();
        mirror.note(&[link(), neighbour(MAC)]);
        assert_eq!(mirror.steps(), []);
        let other = [2, 0, 0, 0, 0, 253];
        mirror.note(&[neighbour(other)]);
        let resolved = mac_to_word(other) | ROUTE_RESOLVED;
        assert_eq!(
            mirror.steps()[1],
            Step::Route(DEFAULT, Some(route(resolved)))
        );
    }

    #[test]
    fn a_gateway_that_is_gone_is_to_be_resolved_anew() {
        let mut mirror = settled();
        mirror.note(&[NetEvent::NeighbourGone {
            ifindex: 2,
            address: GATEWAY.neighbour,
        }]);
        assert_eq!(
            mirror.steps(),
            [
                Step::Route(DEFAULT, Some(route(0))),
                Step::Neighbour(KEY, None),
            ]
        );
        assert_eq!(mirror.gateways(), [GATEWAY]);
    }

    #[test]
    fn what_a_former_controller_wrote_and_is_no_more_goes() {
        let stale = ([192, 0, 2, 0].into(), 24);
        let mut mirror = Mirror::over(
            BTreeMap::from([(stale, route(0))]),
            BTreeMap::from([(KEY, 7)]),
        );
        assert_eq!(
            mirror.steps(),
            [Step::Route(stale, None), Step::Neighbour(KEY, None)]
        );
    }
}
