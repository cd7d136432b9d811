//! `hafw trace`: where a flow goes, and why, by the tables that XDP uses.

use hafw_common::proto::IP_TCP;
use hafw_lb::Flow;

use super::run::Node;
use crate::{
    config::Router,
    control::{Protocol, TraceAnswer, TraceRequest},
    sys::clock,
};

impl Node {
    pub(super) fn trace(&self, request: &TraceRequest) -> TraceAnswer {
        let TraceRequest { from, to, protocol } = request;
        let mut answer = TraceAnswer::default();
        answer
            .steps
            .push(format!("{} {from} -> {to}", protocol.name()));
        let owner = |router: &Router| router.vips.iter().any(|vip| vip.address == to.ip());
        let Some(index) = self.config.routers.iter().position(owner) else {
            answer
                .steps
                .push(format!("{} is no VIP of this node", to.ip()));
            answer.verdict = "passed".into();
            return answer;
        };
        let now = clock::now();
        let name = &self.config.routers[index].name.value;
        let (attracting, serving) = (
            self.leases.is_attracting(index, now),
            self.leases.is_serving(index, now),
        );
        answer.steps.push(format!(
            "{} belongs to router {name}, which {} here",
            to.ip(),
            match (attracting, serving) {
                (true, _) => "is Active",
                (false, true) => "is not Active, but still serves",
                (false, false) => "is not Active",
            }
        ));
        let flow = Flow {
            source: *from,
            destination: *to,
            protocol: protocol.number(),
        };
        match self.services.choose(flow) {
            Some(found) => self.trace_service(&mut answer, &found, serving),
            None => self.trace_local(&mut answer, request, attracting),
        }
        answer
    }

    fn trace_service(&self, answer: &mut TraceAnswer, found: &hafw_lb::Explanation, serving: bool) {
        let named =
            |service: &&crate::config::Service| super::services::key(service) == found.service;
        let name = self
            .config
            .services
            .iter()
            .find(named)
            .map(|s| s.name.value.clone());
        answer.steps.push(format!(
            "service {}: hash {:#010x}, slot {} (entry {} of SLOTS)",
            name.as_deref().unwrap_or("?"),
            found.hash,
            found.slot,
            found.index
        ));
        answer.service = name;
        answer.slot = Some(found.slot);
        if let Some(base) = &found.base {
            self.trace_moved(answer, found, base.as_ref(), serving);
            return;
        }
        let Some(backend) = &found.backend else {
            answer.steps.push(format!("no backend: {}", found.why));
            answer.verdict = "dropped (drop_no_backend)".into();
            return;
        };
        answer
            .steps
            .push(format!("backend {}: {}", backend.address, found.why));
        answer.backend = Some(backend.address.to_string());
        answer.verdict = way_of(backend, serving).into();
    }

    /// A slot that has moved: the flow's entry says where it is, if it has one.
    fn trace_moved(
        &self,
        answer: &mut TraceAnswer,
        found: &hafw_lb::Explanation,
        base: Option<&hafw_lb::BackendStatus>,
        serving: bool,
    ) {
        let entry = self.flows.table.get(&found.flow, clock::now());
        let entry = entry.and_then(|state| self.services.backend(found.service, state.backend));
        let named = |backend: Option<&hafw_lb::BackendStatus>| {
            backend.map_or_else(|| "nobody".into(), |b| b.address.to_string())
        };
        answer.steps.push(format!(
            "the slot has moved: flows that were there before are on {}, new ones go to {} ({})",
            named(base),
            named(found.backend.as_ref()),
            found.why
        ));
        let (backend, why) = if let Some(entry) = &entry {
            (Some(entry), "the flow is established, and has an entry")
        } else if let Some(base) = base.filter(|_| found.flow.protocol != IP_TCP) {
            let why = "datagrams stay where they were until the slot falls silent";
            (Some(base), why)
        } else {
            let why = "as of a new flow; there is no entry of an established one";
            (found.backend.as_ref(), why)
        };
        let Some(backend) = backend else {
            answer.steps.push(format!("no backend: {}", found.why));
            answer.verdict = "dropped (drop_no_backend)".into();
            return;
        };
        answer
            .steps
            .push(format!("backend {}: {why}", backend.address));
        answer.backend = Some(backend.address.to_string());
        answer.verdict = way_of(backend, serving).into();
    }

    fn trace_local(&self, answer: &mut TraceAnswer, request: &TraceRequest, attracting: bool) {
        let TraceRequest { to, protocol, .. } = request;
        let listens = self.config.listeners.iter().any(|listener| {
            *protocol == Protocol::Tcp
                && listener.value.port() == to.port()
                && (listener.value.ip() == to.ip() || listener.value.ip().is_unspecified())
        });
        answer.steps.push(if listens {
            format!("no service takes it; the proxy listens on {to}")
        } else {
            format!("no service takes it, and the proxy does not listen on {to}")
        });
        answer.verdict = if attracting {
            "local".into()
        } else {
            "dropped (drop_standby): another node has the VIP".into()
        };
    }
}

/// What becomes of a flow of this backend.
const fn way_of(backend: &hafw_lb::BackendStatus, serving: bool) -> &'static str {
    if !serving {
        "dropped (drop_not_serving): another node has the VIP"
    } else if backend.hop.next_hop.is_none() {
        "handed up (drop_handed): the backend's MAC is not known yet"
    } else {
        "steered"
    }
}
