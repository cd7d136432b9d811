//! What is different between two looks at a node, in words.

use std::collections::BTreeMap;

use crate::control::{BackendStatus, Status};

/// The state of everything that has one, by what it is called.
type States = BTreeMap<String, String>;

/// A line for each change of state.
pub(super) fn changes(before: &Status, after: &Status) -> Vec<String> {
    let (was, is) = (states(before), states(after));
    let mut lines = Vec::new();
    if before.pid != after.pid {
        lines.push(format!("node: another controller, pid {}", after.pid));
    }
    let names: BTreeMap<_, ()> = was.keys().chain(is.keys()).map(|name| (name, ())).collect();
    for name in names.into_keys() {
        match (was.get(name), is.get(name)) {
            (Some(was), Some(is)) if was != is => lines.push(format!("{name}: {was} -> {is}")),
            (None, Some(is)) => lines.push(format!("{name}: new, {is}")),
            (Some(was), None) => lines.push(format!("{name}: gone, was {was}")),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    lines.extend(missed(before, after));
    lines
}

/// A line for each reason for which frames were dropped.
pub(super) fn drops(before: &Status, after: &Status) -> Vec<String> {
    let more = |(name, count): (&String, &u64)| {
        let more = count.saturating_sub(before.counters.get(name).copied().unwrap_or(0));
        let is_drop = name.starts_with("drop_");
        (is_drop && more > 0).then(|| format!("{name}: {more} more"))
    };
    after.counters.iter().filter_map(more).collect()
}

fn states(status: &Status) -> States {
    let mut states = States::new();
    let state = |up| if up { "up" } else { "DOWN" }.to_owned();
    for interface in &status.interfaces {
        states.insert(format!("interface {}", interface.name), state(interface.up));
    }
    for router in &status.routers {
        let what = format!("router {}", router.name);
        for evidence in &router.evidence {
            let kind = format!("{what}, evidence of {}", evidence.kind);
            states.insert(kind, evidence.text.clone());
        }
        let mut text = router.state.to_uppercase();
        text += &format!(", priority {}", router.effective_priority);
        if !router.reasons.is_empty() {
            text += &format!(" ({})", router.reasons.join("; "));
        }
        states.insert(what, text);
    }
    for check in &status.checks {
        let text = match check.up {
            Some(true) => "up".to_owned(),
            // What it says may be different each time.
            Some(false) => "DOWN".to_owned(),
            None => "not known yet".to_owned(),
        };
        states.insert(format!("check {}", check.name), text);
    }
    for peer in &status.cluster {
        let heard = if peer.heard { "heard" } else { "SILENT" };
        states.insert(format!("cluster {}", peer.id), heard.to_owned());
    }
    for service in &status.services {
        for backend in &service.backends {
            let what = format!("backend {} of {}", backend.address, service.name);
            states.insert(what, backend_state(backend));
        }
    }
    if let Some(proxy) = &status.proxy {
        states.insert("proxy".to_owned(), state(proxy.up));
    }
    states
}

fn backend_state(backend: &BackendStatus) -> String {
    let state = match (backend.up, backend.weight) {
        (_, 0) => "drained".to_owned(),
        (true, _) => "up".to_owned(),
        (false, _) => format!("DOWN ({})", backend.reason),
    };
    let hop = if backend.next_hop.is_empty() {
        ", its next hop NOT RESOLVED"
    } else {
        ""
    };
    state + hop
}

/// Routers that changed more than once between the looks, or there and back.
fn missed(before: &Status, after: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for router in &after.routers {
        let was = before.routers.iter().find(|was| was.name == router.name);
        let Some(was) = was.filter(|_| before.pid == after.pid) else {
            continue;
        };
        let seen = u64::from(was.state != router.state);
        let more = router.transitions.saturating_sub(was.transitions);
        if more > seen {
            let name = &router.name;
            lines.push(format!(
                "router {name}: {more} changes of state since the last look"
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{RouterStatus, ServiceStatus};

    fn node() -> Status {
        let backend = BackendStatus {
            address: "10.0.0.7:80".into(),
            weight: 1,
            up: true,
            next_hop: "02:00:00:00:00:07".into(),
            ..BackendStatus::default()
        };
        Status {
            routers: vec![RouterStatus {
                name: "oldboy".into(),
                state: "backup".into(),
                effective_priority: 100,
                ..RouterStatus::default()
            }],
            services: vec![ServiceStatus {
                name: "web".into(),
                backends: vec![backend],
                ..ServiceStatus::default()
            }],
            counters: [("drop_ttl".to_owned(), 3), ("tx_steer".to_owned(), 9)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn what_stays_is_not_told() {
        assert_eq!(changes(&node(), &node()), Vec::<String>::new());
        assert_eq!(drops(&node(), &node()), Vec::<String>::new());
    }

    #[test]
    fn a_change_is_told_with_what_was_before() {
        let mut after = node();
        after.routers[0].state = "active".into();
        after.routers[0].transitions = 1;
        let backend = &mut after.services[0].backends[0];
        (backend.up, backend.reason) = (false, "HTTP 500".into());
        assert_eq!(
            changes(&node(), &after),
            [
                "backend 10.0.0.7:80 of web: up -> DOWN (HTTP 500)",
                "router oldboy: BACKUP, priority 100 -> ACTIVE, priority 100",
            ]
        );
        after.services.clear();
        let gone = "backend 10.0.0.7:80 of web: gone, was up";
        assert_eq!(changes(&node(), &after)[0], gone);
    }

    #[test]
    fn a_router_that_went_there_and_back_is_told() {
        let mut after = node();
        after.routers[0].transitions = 2;
        let told = "router oldboy: 2 changes of state since the last look";
        assert_eq!(changes(&node(), &after), [told]);
    }

    #[test]
    fn only_drops_are_counted_each_by_its_reason() {
        let mut after = node();
        after.counters = [("drop_ttl".to_owned(), 5), ("drop_new".to_owned(), 1)].into();
        after.counters.insert("tx_steer".into(), 99);
        assert_eq!(
            drops(&node(), &after),
            ["drop_new: 1 more", "drop_ttl: 2 more"]
        );
    }
}
