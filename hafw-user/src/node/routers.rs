//! From the configuration's routers to what XDP, the VRRP thread and tracking know of them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hafw_common::{
    mac_to_word, mapped,
    proto::{VRRP_AUTH_NONE, VRRP_AUTH_PASS, virtual_mac_v4, virtual_mac_v6},
    router::{MAX_UNICAST_PEERS, RouterConfig as XdpRouter},
    vip::{VIP_ACCEPT, VIP_HAS_SERVICE, VIP_SHIELDED},
};
use hafw_vrrp::{Priority, RouterConfig as VrrpRouter};

use super::tracking::{Track, Tracking};
use crate::{
    config::{Auth, CheckKind, Config, Router, SystemFacts, source_of},
    datapath::RouterEntry,
    vrrp::RouterSpec,
};

/// One router, for all who must know it. Its place in the list is its index everywhere.
pub(super) struct Built {
    pub(super) entry: RouterEntry,
    pub(super) spec: RouterSpec,
}

impl Built {
    /// Whether another is the same to the VRRP thread and to XDP, but for the priority.
    pub(super) fn same_protocol(&self, other: &Self) -> bool {
        let owner = |built: &Self| built.spec.router.priority == Priority::OWNER;
        let theirs = RouterSpec {
            router: VrrpRouter {
                priority: self.spec.router.priority,
                ..other.spec.router.clone()
            },
            ..other.spec.clone()
        };
        self.entry.config == other.entry.config
            && self.spec == theirs
            && owner(self) == owner(other)
    }
}

/// `sources`: by router, where adverts leave from; None where the interface has no such address, or
/// is not there.
pub(super) fn build(config: &Config, sources: &[Option<IpAddr>]) -> Vec<Built> {
    let built = |(router, source): (&Router, &Option<IpAddr>)| {
        let start_delay = start_delay(config, router);
        let mut names = config.interfaces.iter().map(|i| &i.name.value);
        // The configuration has every interface that a router names.
        let interface = names.position(|name| *name == router.interface.value);
        let interface = interface.unwrap_or(usize::MAX);
        let nowhere: IpAddr = if router.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let source = source.unwrap_or(nowhere);
        Built {
            entry: entry(config, router, interface, source),
            spec: spec(router, interface, source, start_delay),
        }
    };
    config.routers.iter().zip(sources).map(built).collect()
}

/// Where each router's adverts leave from. One keeps the address that it has, `known` by its name,
/// as long as that is the interface's: to its peers, who speaks from another is another router.
pub(super) fn sources(
    config: &Config,
    facts: &SystemFacts,
    known: impl Fn(&str) -> Option<IpAddr>,
) -> Vec<Option<IpAddr>> {
    let source = |router: &Router| {
        let interface = facts.interfaces.get(&router.interface.value)?;
        let kept = known(&router.name.value).filter(|address| {
            let mut addresses = interface.addresses.iter().map(|(address, _)| address);
            address.is_ipv6() == router.is_ipv6()
                && addresses.any(|own| own == address)
                && router.vips.iter().all(|vip| vip.address != *address)
        });
        kept.or_else(|| source_of(router, interface))
    };
    config.routers.iter().map(source).collect()
}

/// Who tracks what.
pub(super) fn tracking(config: &Config) -> Tracking {
    let checks = &config.checks;
    let named = |name: &str| checks.iter().position(|check| check.name.value == name);
    let routers = config.routers.iter().map(|router| {
        let tracks = router.track.iter().filter_map(|track| {
            Some(Track {
                check: named(&track.check.value)?,
                weight: track.weight,
            })
        });
        (router.priority.get(), tracks.collect())
    });
    let checks = checks
        .iter()
        .map(|check| (check.name.value.clone(), check.kind == CheckKind::L7))
        .collect();
    Tracking::new(checks, routers.collect())
}

fn entry(config: &Config, router: &Router, interface: usize, source: IpAddr) -> RouterEntry {
    let served: BTreeSet<_> = config
        .services
        .iter()
        .map(|service| service.vip.value)
        .collect();
    let (auth_type, auth_data) = match router.auth {
        Auth::None => (VRRP_AUTH_NONE, [0; 8]),
        Auth::Pass(data) => (VRRP_AUTH_PASS, data),
    };
    // An owner accepts, whatever its Accept_Mode (RFC 9568 §6.1).
    let accepts = router.accept || router.priority == Priority::OWNER;
    let accept = if accepts { VIP_ACCEPT } else { 0 };
    let shields = config.proxy.as_ref().is_some_and(|p| p.block.is_some());
    let shield = if shields { VIP_SHIELDED } else { 0 };
    let vips = router.vips.iter().map(|vip| {
        let service = if served.contains(&vip.address) {
            VIP_HAS_SERVICE
        } else {
            0
        };
        (vip.address, accept | shield | service)
    });
    RouterEntry {
        config: XdpRouter {
            source: mapped(source),
            auth_data,
            suspend_after: suspend_after(router.interval.as_duration()),
            vrid: router.vrid.value.get(),
            version: router.version.number(),
            auth_type,
            interval_seconds: router.interval.seconds().unwrap_or(0),
            // At most MAX_IFACES.
            iface: u32::try_from(interface).unwrap_or(u32::MAX),
            virtual_mac: virtual_mac(router).map_or(0, mac_to_word),
            reserved: 0,
            unicast_peers: unicast_peers(router),
        },
        vips: vips.collect(),
    }
}

/// The MAC that a router goes by, if it is not the interface's own.
pub(super) fn virtual_mac(router: &Router) -> Option<[u8; 6]> {
    let vrid = router.vrid.value.get();
    router.virtual_mac.then(|| {
        if router.is_ipv6() {
            virtual_mac_v6(vrid)
        } else {
            virtual_mac_v4(vrid)
        }
    })
}

fn unicast_peers(router: &Router) -> [[u8; 16]; MAX_UNICAST_PEERS] {
    let mut peers = [[0; 16]; MAX_UNICAST_PEERS];
    for (place, peer) in peers.iter_mut().zip(&router.unicast_peers) {
        *place = mapped(peer.value);
    }
    peers
}

/// A sync group takes part together: after the longest of its routers' delays.
fn start_delay(config: &Config, router: &Router) -> Duration {
    let group = config.routers.iter().filter(|other| {
        router.sync_group.is_some()
            && other.sync_group.as_ref().map(|group| &group.value)
                == router.sync_group.as_ref().map(|group| &group.value)
    });
    group
        .map(|other| other.start_delay)
        .fold(router.start_delay, Duration::max)
}

/// A quarter more than the interval: a renewal that is only a little late is not yet suspect.
fn suspend_after(interval: Duration) -> u64 {
    u64::try_from((interval + interval / 4).as_nanos()).unwrap_or(u64::MAX)
}

fn spec(router: &Router, interface: usize, source: IpAddr, start_delay: Duration) -> RouterSpec {
    RouterSpec {
        name: router.name.value.clone(),
        router: VrrpRouter {
            vrid: router.vrid.value,
            version: router.version,
            priority: router.priority,
            interval: router.interval,
            down_timer_adverts: router.down_timer_adverts,
            preempt: router.preempt,
            preempt_delay: router.preempt_delay,
            start_delay,
            source,
            addresses: router.vips.iter().map(|vip| vip.address).collect(),
            auth: router.auth,
            checksum: router.checksum,
            grace: router.grace,
        },
        interface,
        virtual_mac: virtual_mac(router),
        unicast_peers: router.unicast_peers.iter().map(|peer| peer.value).collect(),
        sync_group: router.sync_group.as_ref().map(|group| group.value.clone()),
    }
}
