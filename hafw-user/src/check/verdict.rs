//! Two nodes side by side: who has which VIPs, and whether a check that fails moves them.

use std::cmp::Ordering;

use hafw_vrrp::Version;

use super::effect::{CheckEffect, Effect, effect};
use crate::config::{Config, Router};

/// Compares the routers that two nodes share. One line each, those about one router indented.
#[must_use]
pub fn verdicts(config: &Config, peer: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let (us, them) = (&config.node.id, &peer.node.id);
    if us == them {
        lines.push(format!(
            "warning: both nodes have the id {us:?}: they cannot be told apart"
        ));
    }
    for router in &config.routers {
        match twin(router, peer) {
            Some(other) => {
                let ours = Side::new(config, router);
                let theirs = Side::new(peer, other);
                lines.push(pair(&ours, &theirs));
                lines.extend(mismatches(router, other));
                lines.extend(moves(&ours, &theirs));
                lines.extend(moves(&theirs, &ours));
            }
            None => lines.push(alone(router, us)),
        }
    }
    let of_the_peer = peer
        .routers
        .iter()
        .filter(|router| twin(router, config).is_none());
    lines.extend(of_the_peer.map(|router| alone(router, them)));
    lines
}

/// One node's part in a virtual router.
struct Side<'a> {
    node: &'a str,
    router: &'a Router,
    effect: Effect,
}

impl<'a> Side<'a> {
    fn new(config: &'a Config, router: &'a Router) -> Self {
        Self {
            node: &config.node.id,
            router,
            effect: effect(router, &config.checks),
        }
    }
}

/// The router of the same VRID. The interface's name decides where several have it: nodes of a
/// pair mostly name them alike, but need not.
fn twin<'a>(router: &Router, peer: &'a Config) -> Option<&'a Router> {
    let same = || {
        peer.routers
            .iter()
            .filter(|other| other.vrid.value == router.vrid.value)
    };
    same()
        .find(|other| other.interface.value == router.interface.value)
        .or_else(|| same().next())
}

fn alone(router: &Router, node: &str) -> String {
    format!(
        "warning: VRID {}: only {node} has it (virtual_router {:?}): nobody takes over",
        router.vrid.value, router.name.value
    )
}

fn pair(ours: &Side<'_>, theirs: &Side<'_>) -> String {
    let (a, b) = (ours.effect.up, theirs.effect.up);
    let verdict = match a.cmp(&b) {
        Ordering::Greater => format!("{} ({a}) wins over {} ({b})", ours.node, theirs.node),
        Ordering::Less => format!("{} ({b}) wins over {} ({a})", theirs.node, ours.node),
        Ordering::Equal => format!("both nodes have {a}: the higher address wins"),
    };
    let (vrid, name) = (ours.router.vrid.value, &ours.router.name.value);
    format!("VRID {vrid} ({name}), all checks up: {verdict}")
}

/// What keeps two routers from understanding each other.
fn mismatches(router: &Router, other: &Router) -> Vec<String> {
    let mut lines = Vec::new();
    let mut warn = |what: &str| lines.push(format!("  warning: {what}"));
    if router.version != other.version {
        warn("the versions differ: neither hears the other, and both become Active");
    } else if router.version == Version::V2 && router.interval != other.interval {
        warn(
            "the advertisement_intervals differ: version 2 discards such adverts (RFC 3768 §7.1), \
             and both become Active",
        );
    } else if router.auth != other.auth {
        warn("the authentications differ: neither hears the other, and both become Active");
    }
    let vips = |router: &Router| {
        let mut vips: Vec<_> = router.vips.iter().map(|vip| vip.address).collect();
        vips.sort_unstable();
        vips
    };
    if vips(router) != vips(other) {
        warn("the VIPs differ: those that only one node has do not move");
    }
    lines
}

/// For the side that wins while all is well: what each of its checks does by failing.
fn moves(owner: &Side<'_>, backup: &Side<'_>) -> Vec<String> {
    let (effect, other) = (&owner.effect, backup.effect.up);
    if effect.up <= other {
        return Vec::new();
    }
    let move_ = |check: &CheckEffect| match check.number {
        true if check.weight != 0 => number_moves(check, owner, backup),
        true | false => failure_moves(check, owner, backup),
    };
    let mut lines: Vec<_> = effect.checks.iter().map(move_).collect();
    if !owner.router.preempt && !effect.checks.is_empty() {
        lines.push(format!(
            "  {} has preempt = false: VIPs that moved stay on {}",
            owner.node, backup.node
        ));
    }
    lines
}

fn failure_moves(check: &CheckEffect, owner: &Side<'_>, backup: &Side<'_>) -> String {
    let CheckEffect {
        check: name,
        weight,
        down,
        ..
    } = check;
    let (to, other) = (backup.node, backup.effect.up);
    let failed = format!(
        "check {name:?} (weight {weight}) {} on {}",
        check.failed(),
        owner.node
    );
    match down {
        None => format!("  {failed}: fault: the VIPs move to {to}"),
        Some(down) if *down >= other => {
            let remedy = match check.weight_to_lose(other) {
                Some(least) => format!("set weight = 0 (fault) or {least} or less"),
                None => "set weight = 0 (fault)".to_owned(),
            };
            format!(
                "  warning: {failed}: {down} is not less than {to}'s {other}: this weight can never \
                 move the VIPs; {remedy}"
            )
        }
        Some(down) if !backup.router.preempt => format!(
            "  warning: {failed}: {down} is less than {to}'s {other}, but that has preempt = false: \
             no weight moves the VIPs; set weight = 0 (fault)"
        ),
        Some(down) => format!("  {failed}: {down} < {other}: the VIPs move to {to}"),
    }
}

/// A file may hold any number.
fn number_moves(check: &CheckEffect, owner: &Side<'_>, backup: &Side<'_>) -> String {
    let (name, weight, to) = (&check.check, check.weight, backup.node);
    let file = format!("  check {name:?} (weight {weight}) on {}", owner.node);
    let number = check.number_to_lose(owner.effect.up, backup.effect.up);
    match number {
        Some(number) if backup.router.preempt => {
            let or = if weight < 0 { "more" } else { "less" };
            format!("{file}: a number of {number} or {or} moves the VIPs to {to}")
        }
        Some(_) | None => format!(
            "{file}: {to} has preempt = false: only fault (less than -253 in all) moves the VIPs"
        ),
    }
}
