//! Whether the parts fit together. Pure: what the machine must offer is `system`'s.
//!
//! Sections that could not be read are missing here, so nothing is said to be missing that may
//! stand in one of those.

mod groups;
mod services;
mod unicast;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hafw_common::{
    maps::{MAX_BACKENDS, MAX_IFACES, MAX_ROUTERS, MAX_SERVICES, MAX_VIPS},
    proto::VRRP_MAX_V6,
};
use hafw_config::{Document, Located, Place};
use hafw_vrrp::Version;

use super::{
    model::{CheckKind, Router, Vip},
    read::Draft,
};

/// Slots of all services together: 256 MiB of words.
const MAX_ALL_SLOTS: u64 = 1 << 25;
/// Addresses that an advert can carry: its count is a byte (RFC 9568 §5.2.5).
const MAX_VIPS_OF_A_ROUTER: usize = 255;

/// Notes every contradiction.
pub(super) fn validate(draft: &Draft, document: &Document) {
    let judge = Judge { draft, document };
    judge.names();
    judge.capacities();
    judge.routers();
    judge.vips();
    judge.sync_groups();
    judge.unicast_peers();
    judge.tracks();
    judge.checks();
    judge.services();
    judge.listeners();
    judge.upstreams();
}

struct Judge<'a> {
    draft: &'a Draft,
    document: &'a Document,
}

impl Judge<'_> {
    fn names(&self) {
        let Draft {
            interfaces,
            routers,
            checks,
            services,
            ..
        } = self.draft;
        self.unique(
            "interface",
            interfaces.iter().map(|interface| &interface.name),
        );
        self.unique("virtual_router", routers.iter().map(|router| &router.name));
        self.unique("check", checks.iter().map(|check| &check.name));
        self.unique("service", services.iter().map(|service| &service.name));
    }

    fn unique<'a>(&self, kind: &str, names: impl Iterator<Item = &'a Located<String>>) {
        let mut taken = BTreeMap::new();
        for name in names {
            let first = *taken.entry(&name.value).or_insert(&name.place);
            if first != &name.place {
                let message = format!(
                    "{kind} {:?}: the name is taken, first at {first}",
                    name.value
                );
                self.document.problem(&name.place, message);
            }
        }
    }

    /// What the maps hold.
    fn capacities(&self) {
        let Draft {
            interfaces,
            routers,
            services,
            ..
        } = self.draft;
        let mut named: BTreeSet<_> = interfaces.iter().map(|i| &i.name.value).collect();
        named.extend(routers.iter().map(|router| &router.interface.value));
        let vips = routers.iter().map(|router| router.vips.len()).sum();
        let backends = services.iter().map(|service| service.backends.len()).sum();
        let slots: u64 = services
            .iter()
            .map(|service| u64::from(service.slots))
            .sum();
        for (count, limit, what) in [
            (named.len(), MAX_IFACES, "interfaces"),
            (routers.len(), MAX_ROUTERS, "virtual routers"),
            (vips, MAX_VIPS, "VIPs"),
            (services.len(), MAX_SERVICES, "services"),
            (backends, MAX_BACKENDS, "backends"),
        ] {
            if u32::try_from(count).is_ok_and(|count| count <= limit) {
                continue;
            }
            self.general(format!("{count} {what}: a node has {limit} at most"));
        }
        if slots > MAX_ALL_SLOTS {
            self.general(format!(
                "the services have {slots} slots in all: a node has {MAX_ALL_SLOTS} at most; \
                 give the small ones fewer, such as slots = 4099"
            ));
        }
    }

    fn routers(&self) {
        let Draft {
            routers,
            routers_complete,
            ..
        } = self.draft;
        let mut ids: BTreeMap<_, &Router> = BTreeMap::new();
        for router in routers {
            // Each family has its own (RFC 9568 §5.2.3).
            let id = (&router.interface.value, router.vrid.value, router.is_ipv6());
            if let Some(first) = ids.get(&id) {
                self.of_router(
                    router,
                    &router.vrid.place,
                    format!(
                        "vrid = {}: virtual_router {:?} has it on {} already, at {}",
                        router.vrid.value,
                        first.name.value,
                        router.interface.value,
                        first.vrid.place
                    ),
                );
            } else {
                ids.insert(id, router);
            }
            let most = if router.is_ipv6() {
                VRRP_MAX_V6
            } else {
                MAX_VIPS_OF_A_ROUTER
            };
            if router.vips.len() > most {
                let count = router.vips.len();
                let message =
                    format!("{count} VIPs: an advert carries {most} at most: use more routers");
                self.of_router(router, &router.name.place, message);
            }
            if router.priority.get() == u8::MAX && !router.track.is_empty() {
                let message = format!(
                    "virtual_router {:?}: priority 255 is that of the addresses' owner: no weight \
                     changes it, only weight = 0 has an effect",
                    router.name.value
                );
                self.document.warning(&router.name.place, message);
            }
            self.owner(router);
            self.family(router);
        }
        if routers.is_empty() && *routers_complete {
            self.general("there is no [[virtual_router]]: nothing to run".to_owned());
        }
    }

    /// One family, and what RFC 9568 asks of IPv6.
    fn family(&self, router: &Router) {
        let Some(first) = router.vips.first() else {
            return;
        };
        let other = |vip: &&Located<Vip>| vip.address.is_ipv4() != first.address.is_ipv4();
        if let Some(vip) = router.vips.iter().find(other) {
            let message = format!(
                "VIP {}: a router has VIPs of one family, and the first one is {}: use a router \
                 for each family; they may have the same VRID",
                vip.address, first.address
            );
            self.of_router(router, &vip.place, message);
            return;
        }
        let IpAddr::V6(address) = first.address else {
            return;
        };
        if router.version == Version::V2 {
            let message = format!("VIP {address}: version 2 has no IPv6 (RFC 3768): version = 3");
            self.of_router(router, &first.place, message);
        }
        if !address.is_unicast_link_local() {
            let message = format!(
                "VIP {address}: the first VIP must be link-local (RFC 9568 §5.2.9), such as \
                 \"fe80::{:x}/64\"",
                router.vrid.value.get()
            );
            self.of_router(router, &first.place, message);
        }
    }

    fn vips(&self) {
        let mut taken: BTreeMap<_, (&Router, &Place)> = BTreeMap::new();
        for router in &self.draft.routers {
            for vip in &router.vips {
                if let Some((first, place)) = taken.get(&vip.value.address) {
                    let message = format!(
                        "VIP {}: virtual_router {:?} has it already, at {place}",
                        vip.address, first.name.value
                    );
                    self.of_router(router, &vip.place, message);
                } else {
                    taken.insert(vip.value.address, (router, &vip.place));
                }
            }
        }
    }

    fn tracks(&self) {
        let Draft {
            routers,
            checks,
            checks_complete,
            ..
        } = self.draft;
        for router in routers {
            let mut seen = BTreeMap::new();
            for track in &router.track {
                let Located { value: name, place } = &track.check;
                let exists = checks.iter().any(|check| check.name.value == *name);
                if !exists && *checks_complete {
                    let message = format!("track: there is no check {name:?}");
                    self.of_router(router, place, message);
                }
                if let Some(first) = seen.insert(name, place) {
                    let message = format!("track: check {name:?} is tracked already, at {first}");
                    self.of_router(router, place, message);
                }
            }
        }
    }

    fn checks(&self) {
        let Draft {
            routers,
            checks,
            routers_complete,
            proxy,
            ..
        } = self.draft;
        for check in checks {
            let name = &check.name;
            if check.kind == CheckKind::L7 && proxy.servers.is_empty() {
                let message = format!("check {:?}: l7: there is no [[server]]", name.value);
                self.document.problem(&name.place, message);
            }
            let tracked = routers
                .iter()
                .flat_map(|router| &router.track)
                .any(|track| track.check.value == name.value);
            if !tracked && *routers_complete {
                let message = format!(
                    "check {:?}: no virtual_router tracks it: it moves nothing",
                    name.value
                );
                self.document.warning(&name.place, message);
            }
        }
    }

    fn listeners(&self) {
        for listener in &self.draft.listeners {
            let address = listener.value;
            if address.ip().is_unspecified() {
                let message = format!(
                    "server: listen: \"{address}\" is every address, this node's own too: name the \
                     VIPs one by one"
                );
                self.document.problem(&listener.place, message);
            }
            if matches!(address.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                let message = format!(
                    "server: listen: \"{address}\": a link-local address does not say on which \
                     link: name another VIP"
                );
                self.document.problem(&listener.place, message);
            }
        }
    }

    fn upstreams(&self) {
        let proxy = &self.draft.proxy;
        if proxy.servers.is_empty()
            && let Some(upstream) = proxy.upstreams.first()
        {
            let message = format!(
                "upstream {:?}: there is no [[server]]: no proxy is started",
                upstream.name
            );
            self.document
                .warning(&self.document.root().place_of("upstream"), message);
        }
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        let vips = self.draft.routers.iter().flat_map(|router| &router.vips);
        vips.map(|vip| vip.address).any(|vip| vip == address)
    }

    fn of_router(&self, router: &Router, place: &Place, message: String) {
        let message = format!("virtual_router {:?}: {message}", router.name.value);
        self.document.problem(place, message);
    }

    fn general(&self, message: String) {
        self.document.problem(self.document.root().place(), message);
    }
}
