//! Which MAC and interface lead to each backend, as far as is known. Pure: fed with what netlink
//! says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::net::{NetEvent, NextHop};

/// What a backend's map entry needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// MAC of the next hop; None while the neighbour is not known.
    pub(super) next_hop: Option<[u8; 6]>,
    /// MAC of the interface that leads there.
    pub(super) source: [u8; 6],
    /// Its kernel index; 0 while there is no route.
    pub(super) ifindex: u32,
}

/// Links, neighbours and routes that matter to backends.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops {
    routes: BTreeMap<IpAddr, NextHop>,
    neighbours: BTreeMap<NextHop, [u8; 6]>,
    links: BTreeMap<u32, [u8; 6]>,
}

impl Hops {
    /// The route to a backend. Whether that is news.
    pub(super) fn set_route(&mut self, backend: IpAddr, hop: NextHop) -> bool {
        self.routes.insert(backend, hop) != Some(hop)
    }

    /// Whether a backend's route is known.
    pub(super) fn has_route(&self, backend: IpAddr) -> bool {
        self.routes.contains_key(&backend)
    }

    /// Forgets the routes of all but these backends.
    pub(super) fn retain(&mut self, backends: &BTreeSet<IpAddr>) {
        self.routes.retain(|backend, _| backends.contains(backend));
    }

    /// Next hops to keep fresh, each once.
    pub(super) fn wanted(&self) -> Vec<NextHop> {
        let mut hops: Vec<_> = self.routes.values().copied().collect();
        hops.sort_unstable();
        hops.dedup();
        hops
    }

    /// Whether a next hop's MAC is known.
    pub(super) fn knows(&self, hop: NextHop) -> bool {
        self.neighbours.contains_key(&hop)
    }

    /// Takes a change in; returns the backends that it changed. A neighbour that is lost keeps its
    /// MAC: until it has another, that is the best guess, and the health checks decide.
    pub(super) fn note(&mut self, event: &NetEvent) -> Vec<IpAddr> {
        match *event {
            NetEvent::Link {
                ifindex,
                mac: Some(mac),
                ..
            } => {
                if self.links.insert(ifindex, mac) == Some(mac) {
                    return Vec::new();
                }
                self.backends(|hop| hop.ifindex == ifindex)
            }
            NetEvent::Neighbour {
                ifindex,
                address,
                mac,
            } => {
                let changed = NextHop {
                    ifindex,
                    neighbour: address,
                };
                if self.neighbours.insert(changed, mac) == Some(mac) {
                    return Vec::new();
                }
                self.backends(|hop| *hop == changed)
            }
            NetEvent::LinkGone { ifindex } => {
                self.links.remove(&ifindex);
                self.neighbours.retain(|hop, _| hop.ifindex != ifindex);
                self.backends(|hop| hop.ifindex == ifindex)
            }
            NetEvent::Link { mac: None, .. }
            | NetEvent::NeighbourGone { .. }
            | NetEvent::Routes
            | NetEvent::Lost => Vec::new(),
        }
    }

    /// What is known of the way to a backend.
    pub(super) fn resolved(&self, backend: IpAddr) -> Resolved {
        let unknown = Resolved {
            next_hop: None,
            source: [0; 6],
            ifindex: 0,
        };
        let Some(hop) = self.routes.get(&backend) else {
            return unknown;
        };
        let Some(source) = self.links.get(&hop.ifindex) else {
            return unknown;
        };
        Resolved {
            next_hop: self.neighbours.get(hop).copied(),
            source: *source,
            ifindex: hop.ifindex,
        }
    }

    fn backends(&self, via: impl Fn(&NextHop) -> bool) -> Vec<IpAddr> {
        self.routes
            .iter()
            .filter(|(_, hop)| via(hop))
            .map(|(backend, _)| *backend)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
    const WEB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

    /// The next hop of a backend on the interface's own subnet.
    fn on_link(ifindex: u32, address: IpAddr) -> NextHop {
        NextHop {
            ifindex,
            neighbour: address,
        }
    }

    fn link(mac: [u8; 6]) -> NetEvent {
        NetEvent::Link {
            ifindex: 2,
            up: true,
            mac: Some(mac),
        }
    }

    fn neighbour(mac: [u8; 6]) -> NetEvent {
        NetEvent::Neighbour {
            ifindex: 2,
            address: WEB,
            mac,
        }
    }

    #[test]
    fn a_backend_is_resolved_once_link_and_neighbour_are_known() {
        let mut hops = Hops::default();
        hops.set_route(WEB, on_link(2, WEB));
        assert_eq!(hops.note(&link(OUR_MAC)), [WEB]);
        assert_eq!(hops.resolved(WEB).next_hop, None);
        assert_eq!(hops.note(&neighbour(WEB_MAC)), [WEB]);
        let whole = Resolved {
            next_hop: Some(WEB_MAC),
            source: OUR_MAC,
            ifindex: 2,
        };
        assert_eq!(hops.resolved(WEB), whole);
    }

    #[test]
    fn old_news_changes_nothing_and_a_new_mac_does() {
        let mut hops = Hops::default();
        hops.set_route(WEB, on_link(2, WEB));
        hops.note(&link(OUR_MAC));
        hops.note(&neighbour(WEB_MAC));
        assert!(hops.note(&neighbour(WEB_MAC)).is_empty());
        assert_eq!(hops.note(&neighbour([2, 0, 0, 0, 0, 77])), [WEB]);
    }

    #[test]
    fn another_route_is_news_once_and_its_neighbour_counts() {
        let mut hops = Hops::default();
        assert!(hops.set_route(WEB, on_link(2, WEB)));
        hops.note(&link(OUR_MAC));
        hops.note(&neighbour(WEB_MAC));
        let gateway = IpAddr::from([10, 0, 0, 254]);
        assert!(hops.set_route(WEB, on_link(2, gateway)));
        assert!(!hops.set_route(WEB, on_link(2, gateway)));
        assert_eq!(hops.resolved(WEB).next_hop, None);
    }

    #[test]
    fn a_gateway_stands_for_the_backends_behind_it() {
        let far = IpAddr::from([192, 0, 2, 1]);
        let mut hops = Hops::default();
        hops.set_route(far, on_link(2, WEB));
        hops.note(&link(OUR_MAC));
        assert_eq!(hops.note(&neighbour(WEB_MAC)), [far]);
    }
}
