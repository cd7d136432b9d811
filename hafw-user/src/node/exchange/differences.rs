//! In what two nodes' configurations of a service differ, for a person.

use hafw_common::service::ServiceKey;
use hafw_lb::service_name;

use crate::{cluster::ToldPlan, config::Service};

/// At most so many are named of one service.
const MOST: usize = 4;

/// What another node has differently. While this node follows that one's plan it counts; when this
/// node takes over, its own file does, and flows stay where they are all the same.
pub(super) fn differences(service: &Service, told: &ToldPlan) -> Vec<String> {
    let name = &service.name.value;
    let here = |address| service.backends.iter().find(|b| b.address.value == address);
    let planned = || told.plan.backends.iter().zip(&told.drained);
    let there = planned().filter(|(backend, _)| !backend.leaving);
    let there = there.filter_map(|(backend, drained)| {
        let address = backend.address;
        match here(address) {
            None => Some(format!("service {name}: only there is backend {address}")),
            Some(here) if !drained && here.weight != backend.weight => Some(format!(
                "service {name}: backend {address} has weight {} there and {} here",
                backend.weight, here.weight
            )),
            Some(_) => None,
        }
    });
    let missing = service.backends.iter().filter_map(|backend| {
        let address = backend.address.value;
        let known = planned().any(|(there, _)| there.address == address && !there.leaving);
        (!known).then(|| format!("service {name}: only here is backend {address}"))
    });
    let mut all: Vec<_> = there.chain(missing).collect();
    if all.len() > MOST {
        let more = all.len() - MOST;
        all.truncate(MOST);
        all.push(format!("service {name}: {more} more differences"));
    }
    all
}

/// A service whose plan cannot be followed.
pub(super) fn refused(service: ServiceKey, reason: &str) -> String {
    format!("service {}: {reason}", service_name(&service))
}
