//! L4 services against routers, listeners and each other.

use std::{collections::BTreeMap, net::IpAddr};

use hafw_config::Place;

use super::Judge;
use crate::config::model::{HealthKind, Protocol, Service};

impl Judge<'_> {
    pub(super) fn services(&self) {
        let mut taken: BTreeMap<_, &Service> = BTreeMap::new();
        for service in &self.draft.services {
            let vip = &service.vip;
            if !self.is_vip(vip.value.into()) && self.draft.routers_complete {
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
            self.backends(service);
            self.listener_of(service);
        }
    }

    /// Both kinds of health check open a TCP connection.
    fn health(&self, service: &Service) {
        let Some(health) = &service.health else {
            return;
        };
        if service.protocol == Protocol::Udp && health.port.is_none() {
            let kind = match health.kind {
                HealthKind::Tcp => "tcp = true",
                HealthKind::Http { .. } => "http",
            };
            let message =
                format!("health: {kind} for a UDP service: expected `port`, the TCP port to try");
            self.of_service(service, &service.place, message);
        }
    }

    fn backends(&self, service: &Service) {
        let mut addresses = BTreeMap::new();
        for backend in &service.backends {
            let (address, place) = (backend.address.value, &backend.address.place);
            if address.port() != service.port {
                let message = format!(
                    "backend {address}: mode \"dsr\" does not change the port: expected {}",
                    service.port
                );
                self.of_service(service, place, message);
            }
            if self.is_vip((*address.ip()).into()) {
                self.of_service(service, place, format!("backend {address}: it is a VIP"));
            }
            // The port is the service's, or already wrong.
            if let Some(first) = addresses.insert(*address.ip(), place) {
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
                && IpAddr::from(service.vip.value) == listener.value.ip()
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
