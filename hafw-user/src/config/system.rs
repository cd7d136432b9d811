//! What a configuration asks of the machine it runs on. Gathering the facts is apart from judging
//! by them, so that the judgement can be tested with made-up machines.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
};

use hafw_config::{Place, Problem, Problems, Warning};
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use crate::sys::netdev;

use super::model::{Backend, Config, Mode, Router};

/// An interface as the machine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Kernel index.
    pub index: u32,
    /// MAC; None where it has none of six bytes.
    pub mac: Option<[u8; 6]>,
    /// The largest datagram that it takes, in bytes; None if the kernel does not say.
    pub mtu: Option<u32>,
    /// Addresses of both families with their prefixes, in the kernel's order: of each family the
    /// primary one first.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl InterfaceFacts {
    /// Whether an address is in one of the interface's networks.
    fn reaches(&self, other: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|(address, prefix)| in_network(other, *address, *prefix))
    }

    fn has(&self, other: IpAddr) -> bool {
        self.addresses.iter().any(|(address, _)| *address == other)
    }
}

/// The machine's interfaces in this network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemFacts {
    /// By name.
    pub interfaces: BTreeMap<String, InterfaceFacts>,
}

impl SystemFacts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// It would not say.
    pub fn gather() -> io::Result<Self> {
        let mut interfaces: BTreeMap<String, InterfaceFacts> = BTreeMap::new();
        for entry in getifaddrs()? {
            let facts = interfaces.entry(entry.interface_name.clone()).or_default();
            let Some(address) = entry.address else {
                continue;
            };
            if let Some(link) = address.as_link_addr() {
                facts.mac = link.addr();
            }
            if let Some(v4) = address.as_sockaddr_in() {
                let mask = entry
                    .netmask
                    .and_then(|mask| Some(mask.as_sockaddr_in()?.ip()));
                let prefix = mask.map_or(32, |mask| mask.to_bits().count_ones());
                // At most 32 bits.
                facts
                    .addresses
                    .push((v4.ip().into(), u8::try_from(prefix).unwrap_or(32)));
            }
            if let Some(v6) = address.as_sockaddr_in6() {
                let mask = entry
                    .netmask
                    .and_then(|mask| Some(mask.as_sockaddr_in6()?.ip()));
                let prefix = mask.map_or(128, |mask| mask.to_bits().count_ones());
                // At most 128 bits.
                facts
                    .addresses
                    .push((v6.ip().into(), u8::try_from(prefix).unwrap_or(128)));
            }
        }
        // One that went away meanwhile is none any more.
        interfaces.retain(|name, facts| {
            facts.index = if_nametoindex(name.as_str()).unwrap_or(0);
            facts.mtu = netdev::mtu(name).ok();
            facts.index != 0
        });
        Ok(Self { interfaces })
    }

    /// The interface that has an address as its own.
    fn owner(&self, address: IpAddr) -> Option<&str> {
        let mut interfaces = self.interfaces.iter();
        interfaces
            .find(|(_, facts)| facts.has(address))
            .map(|(name, _)| name.as_str())
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.owner(address).is_some()
    }
}

/// Whether an address is in the network of another one with this prefix.
pub(super) fn in_network(address: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let (bits, differing) = match (address, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (32, u128::from(a.to_bits() ^ b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, a.to_bits() ^ b.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host_bits = u32::from(prefix).abs_diff(bits);
    differing.checked_shr(host_bits).unwrap_or(0) == 0
}

/// Where a router's adverts leave from: the first address of its interface that is no VIP; over
/// IPv6 the first link-local one (RFC 9568 §5.1.2.1), unless it has unicast peers that such a one
/// does not reach.
#[must_use]
pub fn source_of(router: &Router, interface: &InterfaceFacts) -> Option<IpAddr> {
    let is_vip = |address| router.vips.iter().any(|vip| vip.address == address);
    let near = router.speaks_on_link();
    let fits = |address: &IpAddr| match address {
        IpAddr::V4(_) => !router.is_ipv6(),
        IpAddr::V6(v6) => router.is_ipv6() && v6.is_unicast_link_local() == near,
    };
    interface
        .addresses
        .iter()
        .map(|(address, _)| *address)
        .find(|address| fits(address) && !is_vip(*address))
}

/// The address that a router's witnesses are asked from: of the interface, no VIP, if possible of
/// the first witness's network.
#[must_use]
pub fn witness_source(router: &Router, interface: &InterfaceFacts) -> Option<Ipv4Addr> {
    let is_vip = |address| router.vips.iter().any(|vip| vip.address == address);
    let own = interface.addresses.iter().filter(|(a, _)| !is_vip(*a));
    let own: Vec<_> = own
        .filter_map(|(address, prefix)| match address {
            IpAddr::V4(v4) => Some((*v4, *prefix)),
            IpAddr::V6(_) => None,
        })
        .collect();
    let near = own.iter().find(|(address, prefix)| {
        let mut witnesses = router.witness.iter();
        witnesses.any(|witness| in_network(witness.value.into(), (*address).into(), *prefix))
    });
    near.or(own.first()).map(|(address, _)| *address)
}

/// Compares a configuration with the machine: a router's interface has a MAC; every VIP lies in a
/// network of its interface, and is nobody's own; no backend is this node; every listener is on a VIP, on loopback or on an address of the
/// machine.
///
/// # Errors
/// What does not fit.
pub fn against_system(config: &Config, facts: &SystemFacts) -> Result<(), Problems> {
    let mut judge = Judge {
        config,
        facts,
        problems: Vec::new(),
    };
    for router in &config.routers {
        judge.router(router);
    }
    judge.backends();
    judge.listeners();
    let problems = Problems::sorted(judge.problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// What fits the machine, and does not work or hardly: interfaces that are missing or have no
/// address, which a node waits for; `dsr` backends that a router stands before, and `nat`
/// backends whose answers no program sees.
#[must_use]
pub fn remarks(config: &Config, facts: &SystemFacts) -> Vec<Warning> {
    let mut warnings = waited_for(config, facts);
    for service in &config.services {
        for backend in &service.backends {
            let remark = match service.mode {
                Mode::Dsr => beyond_a_router(facts, backend),
                Mode::Nat => unseen(config, facts, backend),
                Mode::Ipip | Mode::Gue => None,
            };
            warnings.extend(remark.map(|what| Warning {
                place: backend.address.place.clone(),
                message: format!(
                    "service {:?}: backend {}: {what}",
                    service.name.value, backend.address.value
                ),
            }));
        }
    }
    warnings
}

fn waited_for(config: &Config, facts: &SystemFacts) -> Vec<Warning> {
    let known: Vec<_> = facts.interfaces.keys().map(String::as_str).collect();
    let missing = config.interfaces.iter().filter_map(|interface| {
        let name = &interface.name;
        (!facts.interfaces.contains_key(&name.value)).then(|| Warning {
            place: name.place.clone(),
            message: format!(
                "interface {:?}: there is none of this name here, it will be waited for; there are {}",
                name.value,
                known.join(", ")
            ),
        })
    });
    let without_source = config.routers.iter().filter_map(|router| {
        let name = &router.interface;
        let interface = facts.interfaces.get(&name.value)?;
        let what = router.source_kind();
        source_of(router, interface).is_none().then(|| Warning {
            place: name.place.clone(),
            message: format!(
                "virtual_router {:?}: interface = {:?}: it has no {what} address of its own, for \
                 adverts to leave from: one will be waited for",
                router.name.value, name.value
            ),
        })
    });
    missing.chain(without_source).collect()
}

fn beyond_a_router(facts: &SystemFacts, backend: &Backend) -> Option<String> {
    let address = backend.address.value.ip();
    let mut interfaces = facts.interfaces.values();
    let near = interfaces.any(|interface| interface.reaches(address));
    (!near).then(|| {
        "no interface has its network: mode \"dsr\" keeps the VIP as destination, and a router in \
         between would send it back"
            .into()
    })
}

fn unseen(config: &Config, facts: &SystemFacts, backend: &Backend) -> Option<String> {
    let address = backend.address.value.ip();
    let mut reaching = facts
        .interfaces
        .iter()
        .filter(|(_, interface)| interface.reaches(address));
    let known = |name: &String| config.interfaces.iter().any(|i| i.name.value == *name);
    let (name, _) = reaching.next()?;
    (!known(name) && !reaching.any(|(name, _)| known(name))).then(|| {
        format!(
            "it is behind {name}, where no program runs: its answers would not be rewritten; add \
             [[interface]] name = \"{name}\""
        )
    })
}

struct Judge<'a> {
    config: &'a Config,
    facts: &'a SystemFacts,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn router(&mut self, router: &Router) {
        let name = &router.interface;
        // One that is missing is waited for.
        let Some(interface) = self.facts.interfaces.get(&name.value) else {
            return;
        };
        let shown = format!("interface = {:?}", name.value);
        if interface.mac.is_none_or(|mac| mac == [0; 6]) {
            self.note(
                router,
                &name.place,
                format!("{shown}: it has no MAC address"),
            );
        }
        if let Some(mtu) = interface.mtu
            && let Some(why) = router.exceeds(mtu)
        {
            self.note(router, &router.name.place, why);
        }
        for peer in &router.unicast_peers {
            if let Some(owner) = self.facts.owner(peer.value) {
                let message = format!(
                    "unicast_peers: {}: {owner} of this node has this address: name the peers' alone",
                    peer.value
                );
                self.note(router, &peer.place, message);
            }
        }
        for witness in &router.witness {
            let address = IpAddr::V4(witness.value);
            let what = if let Some(owner) = self.facts.owner(address) {
                format!("{owner} has this address: it would always answer")
            } else if !interface.reaches(address) && !interface.addresses.is_empty() {
                format!(
                    "outside the networks of {}: ARP does not reach it",
                    name.value
                )
            } else {
                continue;
            };
            self.note(router, &witness.place, format!("witness {address}: {what}"));
        }
        for vip in &router.vips {
            if let Some(owner) = self.facts.owner(vip.address) {
                let message = format!(
                    "VIP {}: {owner} has this address; a VIP must be no node's own: take it off",
                    vip.address
                );
                self.note(router, &vip.place, message);
            } else if !interface.reaches(vip.address) {
                let networks: Vec<_> = interface
                    .addresses
                    .iter()
                    .filter(|(address, _)| address.is_ipv4() == vip.address.is_ipv4())
                    .map(|(a, prefix)| format!("{a}/{prefix}"))
                    .collect();
                if networks.is_empty() {
                    // An interface may get its addresses later.
                    continue;
                }
                let message = format!(
                    "VIP {}: outside the networks of {} ({})",
                    vip.address,
                    name.value,
                    networks.join(", ")
                );
                self.note(router, &vip.place, message);
            }
        }
    }

    fn backends(&mut self) {
        for service in &self.config.services {
            for backend in &service.backends {
                let address = &backend.address;
                if let Some(owner) = self.facts.owner(address.value.ip()) {
                    let message = format!(
                        "service {:?}: backend {}: {owner} of this node has this address: it \
                         cannot be steered to",
                        service.name.value, address.value
                    );
                    self.problems.push(Problem::at(&address.place, message));
                }
            }
        }
    }

    fn listeners(&mut self) {
        let vips = self.config.routers.iter().flat_map(|router| &router.vips);
        let vips: Vec<IpAddr> = vips.map(|vip| vip.address).collect();
        for listener in &self.config.listeners {
            let address = listener.value.ip();
            if vips.contains(&address) || address.is_loopback() || self.facts.is_own(address) {
                continue;
            }
            let message = format!(
                "server: listen: \"{}\": neither a virtual_router's VIP, nor loopback, nor an \
                 address of this node",
                listener.value
            );
            self.problems.push(Problem::at(&listener.place, message));
        }
    }

    fn note(&mut self, router: &Router, place: &Place, message: String) {
        let message = format!("virtual_router {:?}: {message}", router.name.value);
        self.problems.push(Problem::at(place, message));
    }
}
