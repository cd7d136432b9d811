//! `hafw drain` and `undrain`: a backend that gets no new flows, and keeps those that it has.

use std::net::{IpAddr, SocketAddr};

use tracing::info;

use super::run::Node;
use crate::{
    config::{Backend, Service},
    control::{Answer, DrainAnswer},
};

impl Node {
    /// Takes a backend out of a service, or lets it in again with its configured weight. `backend`:
    /// its address, with its port where the service has several there.
    pub(super) fn drain_backend(&mut self, service: &str, backend: &str, drain: bool) -> Answer {
        let found = find(&self.config.services, service, backend)
            .map(|(service, backend)| (service.clone(), backend.clone()));
        let (service, backend) = match found {
            Ok(found) => found,
            Err(message) => return Answer::Error(message),
        };
        let address = backend.address.value;
        if let Some(node) = self.followed(&service) {
            return Answer::Error(format!(
                "node {node:?} has the VIP of service {:?}, and this one follows it: say it there",
                service.name.value
            ));
        }
        let weight = if drain { 0 } else { backend.weight };
        let changed = self
            .services
            .drain(&service, &backend, drain, &mut self.tables);
        if let Err(error) = changed {
            return Answer::Error(error.to_string());
        }
        info!(service = service.name.value, backend = %address, weight, "weight set");
        let status = self.services.status(&service);
        let backends = status.map(|status| status.backends).unwrap_or_default();
        let moved_slots = backends
            .iter()
            .find(|status| status.address == address)
            .map_or(0, |status| status.moved_slots);
        Answer::Drain(DrainAnswer {
            backend: address,
            weight,
            moved_slots,
            others: backends.iter().any(|b| b.address != address && b.slots > 0),
        })
    }
}

fn find<'a>(
    services: &'a [Service],
    name: &str,
    backend: &str,
) -> Result<(&'a Service, &'a Backend), String> {
    let Some(service) = services.iter().find(|s| s.name.value == name) else {
        let names: Vec<_> = services.iter().map(|s| s.name.value.as_str()).collect();
        return Err(format!(
            "there is no service {name:?}; there are: {}",
            names.join(", ")
        ));
    };
    let is_meant = |candidate: &&Backend| {
        let address = candidate.address.value;
        backend.parse::<SocketAddr>() == Ok(address)
            || backend.parse::<IpAddr>() == Ok(address.ip())
    };
    let mut meant = service.backends.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(backend), None) => Ok((service, backend)),
        (Some(_), Some(_)) => Err(format!(
            "service {name:?} has several backends at {backend}: name its port too"
        )),
        (None, _) => {
            let all: Vec<_> = service
                .backends
                .iter()
                .map(|backend| backend.address.value.to_string())
                .collect();
            Err(format!(
                "service {name:?} has no backend {backend:?}; it has: {}",
                all.join(", ")
            ))
        }
    }
}
