//! What a good configuration comes to, in lines.

use std::{fmt::Display, path::Path};

use hafw_config::Warning;

use super::{Effect, effect, verdicts};
use crate::config::{Config, Router, Service};

/// Everything `hafw check` has to say of a file without mistakes.
pub(super) fn summary(
    file: &Path,
    config: &Config,
    warnings: &[Warning],
    peer: Option<(&Path, &Config)>,
) -> String {
    let Config {
        node,
        routers,
        checks,
        services,
        proxy,
        listeners,
        ..
    } = config;
    let mut lines = vec![
        format!("{}: ok", file.display()),
        format!(
            "node {}: {}, {}, {}, {}",
            node.id,
            count(routers.len(), "virtual router"),
            count(checks.len(), "check"),
            count(services.len(), "L4 service"),
            count(listeners.len(), "listener"),
        ),
    ];
    for router in routers {
        lines.push(router_line(router));
        lines.extend(effect_lines(&effect(router, checks)));
    }
    lines.extend(services.iter().map(service_line));
    if let Some(proxy) = proxy {
        for server in &proxy.servers {
            let hosts = if server.hosts.is_empty() {
                "every host".to_owned()
            } else {
                list(&server.hosts)
            };
            lines.push(format!(
                "proxy: {hosts} on {}, {}",
                list(&server.listen),
                count(server.routes.len(), "route")
            ));
        }
    }
    lines.extend(notes(config));
    lines.extend(warnings.iter().map(ToString::to_string));
    if let Some((path, peer)) = peer {
        lines.push(format!("with {}:", path.display()));
        lines.extend(
            verdicts(config, peer)
                .iter()
                .map(|line| format!("  {line}")),
        );
    }
    lines.join("\n")
}

fn router_line(router: &Router) -> String {
    let vips: Vec<_> = router.vips.iter().map(|vip| vip.address).collect();
    format!(
        "router {}: VRID {} on {}, VRRP version {}, priority {}, an advert every {:?}, VIPs {}",
        router.name.value,
        router.vrid.value,
        router.interface.value,
        router.version.number(),
        router.priority,
        router.interval.as_duration(),
        list(&vips)
    )
}

/// A Backup takes over from a lower priority only, so a priority holds against those not above it.
fn effect_lines(effect: &Effect) -> Vec<String> {
    if effect.checks.is_empty() {
        return Vec::new();
    }
    let with = |priority: Option<u8>| match priority {
        Some(priority) => format!(
            "priority {priority}, beats peers up to {}",
            priority.saturating_sub(1)
        ),
        None => "fault, gives the VIPs up".to_owned(),
    };
    let mut lines = vec![format!("  all checks up: {}", with(Some(effect.up)))];
    for check in &effect.checks {
        let (name, weight, failed) = (&check.check, check.weight, check.failed());
        lines.push(format!(
            "  {name} (weight {weight}) {failed}: {}",
            with(check.down)
        ));
    }
    if effect.checks.len() > 1 {
        lines.push(format!("  all checks down: {}", with(effect.all_down)));
    }
    lines
}

fn service_line(service: &Service) -> String {
    format!(
        "service {}: {} {}:{}, {}, {} slots",
        service.name.value,
        service.protocol.name(),
        service.vip.value,
        service.port,
        count(service.backends.len(), "backend"),
        service.slots
    )
}

/// What surprises people.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if !config.services.is_empty() {
        let what = "steered packets do not pass netfilter: rules on this node do not see them";
        notes.push(format!("note: {what}"));
    }
    let what = "on this node a VIP leads to the node itself: `ping VIP` here proves nothing";
    notes.push(format!("note: {what}"));
    notes
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
