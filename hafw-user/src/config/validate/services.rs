//! L4 services against routers, listeners and each other.

use std::{collections::BTreeMap, net::IpAddr};

use hafw_config::Place;

use super::Judge;
use crate::{
    config::{
        model::{Mode, Protocol, Service, Vip},
        system::in_network,
    },
    datapath::{GuardSpec, Prefix},
};

impl Judge<'_> {
    pub(super) fn services(&self) {
        let mut taken: BTreeMap<_, &Service> = BTreeMap::new();
        for service in &self.draft.services {
            let vip = &service.vip;
            if !self.is_vip(vip.value) && self.draft.routers_complete {
                let message = format!("vip = \"{}\": no virtual_router has it", vip.value);
                self.of_service(service, &vip.place, message);
            }
            let key = (vip.value, service.port, service.protocol == Protocol::Udp);
            if let Some(first) = taken.get(&key) {
                let message = format!(
                    "service {:?} has {} {}:{} already, at {}",
                    first.name.value,
                    service.protocol.name(),
                    vip.value,
                    service.port,
                    first.place
                );
                self.of_service(service, &vip.place, message);
            } else {
                taken.insert(key, service);
            }
            self.health(service);
            self.guard(service);
            self.backends(service);
            self.listener_of(service);
        }
        self.nat_backends();
    }

    /// A reply's source must lead back to one service, and it must come back through this node.
    fn nat_backends(&self) {
        let mut taken: BTreeMap<_, (&Service, &Place)> = BTreeMap::new();
        let nat = |service: &&Service| service.mode == Mode::Nat;
        for service in self.draft.services.iter().filter(nat) {
            for backend in &service.backends {
                let (address, place) = (backend.address.value, &backend.address.place);
                let key = (address, service.protocol == Protocol::Udp);
                // Twice in one service was noted.
                if let Some((first, at)) = taken.get(&key)
                    && first.name.value != service.name.value
                {
                    let message = format!(
                        "backend {address}: service {:?} has it too, at {at}, and both are \"nat\": \
                         an answer from there could not be told to be the one's or the other's",
                        first.name.value
                    );
                    self.of_service(service, place, message);
                }
                taken.entry(key).or_insert((service, place));
                if let Some(vip) = self.vip_beside(service, address.ip()) {
                    let message = format!(
                        "service {:?}: backend {address}: in the VIP's own network, {vip}: clients \
                         of that network get its answers directly and un-rewritten, unless it has \
                         routes to them by way of this node (docs/l4.md)",
                        service.name.value
                    );
                    self.document.warning(place, message);
                }
            }
        }
    }

    /// The service's VIP with its network, if an address lies in that.
    fn vip_beside(&self, service: &Service, address: IpAddr) -> Option<String> {
        let mut vips = self.draft.routers.iter().flat_map(|router| &router.vips);
        let vip = vips.find(|vip| vip.value.address == service.vip.value)?;
        let Vip {
            address: vip,
            prefix,
        } = vip.value;
        in_network(address, vip, prefix).then(|| format!("{vip}/{prefix}"))
    }

    /// A port of the one transport says nothing of the other's.
    fn health(&self, service: &Service) {
        let Some(health) = &service.health else {
            return;
        };
        if let Some(protocol) = health.kind.protocol()
            && protocol != service.protocol
            && health.port.is_none()
        {
            let message = format!(
                "health: it looks at a {} port, of a {} service: expected `port`, which one to try",
                protocol.name().to_uppercase(),
                service.protocol.name().to_uppercase()
            );
            self.of_service(service, &service.place, message);
        }
    }

    fn guard(&self, service: &Service) {
        let GuardSpec { allow, deny, limit } = &service.guard;
        for (key, prefixes) in [("allow", allow), ("deny", deny)] {
            let other = |(address, _): &&Prefix| address.is_ipv4() != service.vip.value.is_ipv4();
            if let Some((address, length)) = prefixes.iter().find(other) {
                let message =
                    format!("{key}: {address}/{length}: not of the VIP's family: no client has it");
                self.of_service(service, &service.place, message);
            }
        }
        if limit.is_some() && service.protocol == Protocol::Udp {
            let message = "new_connection_limit: datagrams do not say which is the first of a flow: \
                           expected a TCP service";
            self.of_service(service, &service.place, message.to_owned());
        }
    }

    fn backends(&self, service: &Service) {
        let mut addresses = BTreeMap::new();
        for backend in &service.backends {
            let (address, place) = (backend.address.value, &backend.address.place);
            if service.mode != Mode::Nat && address.port() != service.port {
                let message = format!(
                    "backend {address}: mode \"{}\" does not change the port: expected {}",
                    service.mode.name(),
                    service.port
                );
                self.of_service(service, place, message);
            }
            if self.is_vip(address.ip()) {
                self.of_service(service, place, format!("backend {address}: it is a VIP"));
            }
            let same_family = address.is_ipv4() == service.vip.value.is_ipv4();
            if !service.mode.is_tunnel() && !same_family {
                let message = format!(
                    "backend {address}: mode {:?} does not change the family: expected one as {}",
                    service.mode.name(),
                    service.vip.value
                );
                self.of_service(service, place, message);
            }
            // But of `nat` the port is the service's, or already wrong.
            if let Some(first) = addresses.insert(address, place) {
                let message = format!("backend {address}: it is one already, at {first}");
                self.of_service(service, place, message);
            }
        }
        if !service.backends.is_empty() && service.backends.iter().all(|b| b.weight == 0) {
            let message = format!(
                "service {:?}: every backend has weight 0: it leads nowhere",
                service.name.value
            );
            self.document.warning(&service.place, message);
        }
    }

    fn listener_of(&self, service: &Service) {
        for listener in &self.draft.listeners {
            let same = service.protocol == Protocol::Tcp
                && service.vip.value == listener.value.ip()
                && service.port == listener.value.port();
            if same {
                let message = format!(
                    "server: listen: \"{}\": service {:?} takes what is sent there, at {}",
                    listener.value, service.name.value, service.place
                );
                self.document.problem(&listener.place, message);
            }
        }
    }

    fn of_service(&self, service: &Service, place: &Place, message: String) {
        let message = format!("service {:?}: {message}", service.name.value);
        self.document.problem(place, message);
    }
}
