//! A node's answers as text for a person.

use std::fmt::Write as _;

use super::{
    AlertStatus, BackendStatus, BlockedStatus, ClusterPeerStatus, DrainAnswer, PeerStatus,
    RealtimeStatus, RouterStatus, ServiceStatus, Status, TraceAnswer,
};

/// Sources that are shown; `--json` has more.
const SHOWN_BLOCKED: usize = 10;

/// The status, most important first.
#[must_use]
pub fn render_status(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_status(&mut out, status);
    out
}

/// A trace, one step a line, and the verdict.
#[must_use]
pub fn render_trace(answer: &TraceAnswer) -> String {
    let mut out = String::new();
    for step in &answer.steps {
        let _ = writeln!(out, "{step}");
    }
    let _ = writeln!(out, "=> {}", answer.verdict);
    out
}

/// What a drain came to.
#[must_use]
pub fn render_drain(answer: &DrainAnswer) -> String {
    let DrainAnswer {
        backend,
        weight,
        moved_slots,
        others,
    } = answer;
    if *weight > 0 {
        return format!("{backend}: gets new flows again, weight {weight}");
    }
    let elsewhere = if *others {
        "go elsewhere"
    } else {
        "are dropped: nobody else takes them"
    };
    format!(
        "{backend}: drained; new flows {elsewhere}. Flows of {moved_slots} slots may still be on it: \
         `hafw status` shows when none is"
    )
}

fn write_status(out: &mut String, status: &Status) -> std::fmt::Result {
    let adopted = if status.adopted {
        ", took over a live datapath"
    } else {
        ""
    };
    writeln!(
        out,
        "node {} (hafw {}, pid {}, up {}{adopted})",
        status.node,
        status.version,
        status.pid,
        duration(status.uptime_seconds * 1000)
    )?;
    write_realtime(out, &status.realtime)?;
    for interface in &status.interfaces {
        writeln!(
            out,
            "interface {}: {}, XDP {}, MAC {}",
            interface.name,
            if interface.trouble.is_empty() {
                "up"
            } else {
                "DOWN"
            },
            interface.xdp_mode,
            if interface.mac.is_empty() {
                "none"
            } else {
                &interface.mac
            }
        )?;
        if !interface.trouble.is_empty() {
            writeln!(out, "  because: {}", interface.trouble)?;
        }
    }
    for router in &status.routers {
        write_router(out, router)?;
    }
    for check in &status.checks {
        let state = match check.up {
            Some(true) => "up",
            Some(false) => "DOWN",
            None => "not known yet",
        };
        writeln!(
            out,
            "check {}: {state}{}",
            check.name,
            because(&check.reason)
        )?;
    }
    for peer in &status.cluster {
        write_cluster_peer(out, peer)?;
    }
    for service in &status.services {
        write_service(out, service)?;
    }
    if let Some(proxy) = &status.proxy {
        let state = if proxy.up { "up" } else { "DOWN" };
        writeln!(out, "proxy: {state}, pid {}", proxy.pid)?;
    }
    if status.blocked_sources > 0 {
        writeln!(out, "kept out by XDP: {} sources", status.blocked_sources)?;
        for BlockedStatus { source, seconds } in status.blocked.iter().take(SHOWN_BLOCKED) {
            writeln!(out, "  {source:<40} {seconds} s more")?;
        }
    }
    for AlertStatus {
        receiver,
        delivered,
        failed,
        lost,
        waiting,
    } in &status.alerts
    {
        writeln!(
            out,
            "alerts by {receiver}: {delivered} delivered, {failed} failed, {waiting} changes wait, \
             {lost} lost"
        )?;
    }
    writeln!(out, "packets since the maps were made:")?;
    for (name, count) in &status.counters {
        writeln!(out, "  {name:<24} {count}")?;
    }
    writeln!(
        out,
        "note: on this node itself a VIP leads to its own proxy, owner or not; `ping VIP` here \
         proves nothing"
    )
}

fn write_realtime(out: &mut String, realtime: &RealtimeStatus) -> std::fmt::Result {
    let RealtimeStatus {
        priority,
        memory_locked,
        reason,
    } = realtime;
    match priority {
        Some(priority) => write!(out, "VRRP thread: SCHED_RR {priority}")?,
        None => write!(out, "VRRP thread: ordinary scheduling")?,
    }
    let memory = if *memory_locked { "" } else { " not" };
    writeln!(out, ", memory{memory} locked{}", because(reason))
}

fn write_router(out: &mut String, router: &RouterStatus) -> std::fmt::Result {
    let RouterStatus {
        name,
        vrid,
        interface,
        version,
        ..
    } = router;
    let vips: Vec<_> = router.vips.iter().map(ToString::to_string).collect();
    writeln!(
        out,
        "router {name}: {} for {} (VRID {vrid} on {interface}, v{version}), VIPs {}",
        router.state.to_uppercase(),
        duration(router.since_ms),
        vips.join(" ")
    )?;
    write!(out, "  priority {}", router.effective_priority)?;
    if router.effective_priority != router.priority {
        write!(out, " (configured {})", router.priority)?;
    }
    match (router.attracting, router.serving) {
        (true, _) => writeln!(out, ", answers for its VIPs, lease {} ms", router.lease_ms)?,
        (false, true) => writeln!(out, ", serves what still arrives")?,
        (false, false) => writeln!(out, ", answers nothing")?,
    }
    for evidence in &router.evidence {
        writeln!(out, "  evidence ({}): {}", evidence.kind, evidence.text)?;
    }
    if let Some(answers) = router.witness {
        let state = if answers {
            "answers"
        } else {
            "DOES NOT ANSWER"
        };
        writeln!(out, "  witness {state}")?;
    }
    for reason in &router.reasons {
        writeln!(out, "  because: {reason}")?;
    }
    for PeerStatus {
        address,
        mac,
        priority,
        adverts,
        last_ms,
    } in &router.peers
    {
        writeln!(
            out,
            "  peer {address} ({mac}): priority {priority}, {adverts} adverts, last {} ago",
            duration(*last_ms)
        )?;
    }
    if router.adverts_refused > 0 {
        writeln!(
            out,
            "  adverts that XDP let pass and the controller refused: {}",
            router.adverts_refused
        )?;
    }
    if router.foreign_claims > 0 {
        writeln!(
            out,
            "  foreign ARP claims of its VIPs: {}",
            router.foreign_claims
        )?;
    }
    Ok(())
}

fn write_cluster_peer(out: &mut String, peer: &ClusterPeerStatus) -> std::fmt::Result {
    let ClusterPeerStatus {
        id,
        version,
        heard,
        last_ms,
        sending,
        problem,
        told,
        known,
        followed_services,
        flows,
        flows_lost,
        differences,
    } = peer;
    let heard = match (heard, last_ms) {
        (true, _) => "heard".to_owned(),
        (false, Some(ms)) => format!("SILENT for {}", duration(*ms)),
        (false, None) => "NOT HEARD yet".to_owned(),
    };
    let reached = if *sending { "reached" } else { "NOT REACHED" };
    let version = if version.is_empty() {
        String::new()
    } else {
        format!(", hafw {version}")
    };
    writeln!(
        out,
        "cluster {id}: {heard}, {reached}{}{version}",
        because(problem)
    )?;
    let told = if *told { "told" } else { "NOT TOLD yet" };
    let known = if *known { "known" } else { "NOT KNOWN yet" };
    write!(
        out,
        "  this node's services are {told}, the peer's are {known}: {followed_services} followed, \
         {flows} flows"
    )?;
    match flows_lost {
        0 => writeln!(out)?,
        lost => writeln!(out, ", {lost} WITHOUT ROOM")?,
    }
    for difference in differences {
        writeln!(out, "  difference: {difference}")?;
    }
    Ok(())
}

fn write_service(out: &mut String, service: &ServiceStatus) -> std::fmt::Result {
    let ServiceStatus {
        name,
        address,
        protocol,
        mode,
        slots,
        follows,
        backends,
    } = service;
    write!(
        out,
        "service {name}: {protocol} {address}, {mode}, {slots} slots"
    )?;
    match follows {
        Some(node) => writeln!(out, ", as {node} says")?,
        None => writeln!(out)?,
    }
    for backend in backends {
        let state = match (backend.up, backend.weight) {
            (_, 0) => "drained",
            (true, _) => "up",
            (false, _) => "DOWN",
        };
        let next_hop = if backend.next_hop.is_empty() {
            "NOT RESOLVED"
        } else {
            backend.next_hop.as_str()
        };
        writeln!(
            out,
            "  backend {}: {state}{}, weight {}, next hop {next_hop}, {} slots{}, {} packets, {} \
             bytes",
            backend.address,
            because(&backend.reason),
            backend.weight,
            backend.slots,
            older_flows(backend),
            backend.packets,
            backend.bytes
        )?;
    }
    Ok(())
}

/// Slots that have moved away, with flows that were there.
fn older_flows(backend: &BackendStatus) -> String {
    match backend.moved_slots {
        0 => String::new(),
        n => format!(" and older flows of {n}"),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1000),
        600_000..36_000_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
