//! The table of `hafw top`.

use std::{fmt::Write as _, time::Duration};

use crate::control::{BackendStatus, Status};

/// Two looks as one text; `took` lies between them.
pub(super) fn table(before: &Status, after: &Status, took: Duration) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_table(&mut out, before, after, took.as_secs_f64().max(1e-3));
    out
}

fn write_table(
    out: &mut String,
    before: &Status,
    after: &Status,
    seconds: f64,
) -> std::fmt::Result {
    writeln!(out, "node {}, pid {}", after.node, after.pid)?;
    for router in &after.routers {
        let state = router.state.to_uppercase();
        let vips: Vec<_> = router.vips.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "router {:<16} {state:<10} priority {:<3} {}",
            router.name,
            router.effective_priority,
            vips.join(" ")
        )?;
    }
    writeln!(
        out,
        "\n{:<34} {:<8} {:>6} {:>7} {:>9} {:>11} {:>12}",
        "service / backend", "state", "weight", "slots", "moved", "packets/s", "Mbit/s"
    )?;
    for service in &after.services {
        let was = before.services.iter().find(|was| was.name == service.name);
        let rate_of = |backend: &BackendStatus| {
            let mut earlier = was.into_iter().flat_map(|was| &was.backends);
            let was = earlier.find(|was| was.address == backend.address);
            let since = |now: u64, then: Option<u64>| {
                // One that is new, or whose place in the maps is.
                now.saturating_sub(then.unwrap_or(now)) as f64 / seconds
            };
            [
                since(backend.packets, was.map(|was| was.packets)),
                since(backend.bytes, was.map(|was| was.bytes)),
            ]
        };
        let rates: Vec<_> = service.backends.iter().map(rate_of).collect();
        let sum = |which: usize| rates.iter().map(|rate| rate[which]).sum::<f64>();
        let name = format!("{} {} {}", service.name, service.address, service.mode);
        let up = service.backends.iter().filter(|b| b.up && b.weight > 0);
        let state = format!("{}/{} up", up.count(), service.backends.len());
        row(out, &name, &state, ["", "", ""], [sum(0), sum(1)])?;
        for (backend, rates) in service.backends.iter().zip(&rates) {
            let state = match (backend.up, backend.weight) {
                (_, 0) => "drained",
                (true, _) => "up",
                (false, _) => "DOWN",
            };
            let numbers =
                [backend.weight, backend.slots, backend.moved_slots].map(|n| n.to_string());
            let name = format!("  {}", backend.address);
            row(
                out,
                &name,
                state,
                numbers.each_ref().map(String::as_str),
                *rates,
            )?;
        }
    }
    writeln!(out, "\n{:<34} {:>11} {:>16}", "drops", "frames/s", "in all")?;
    for (name, count) in after
        .counters
        .iter()
        .filter(|(name, _)| name.starts_with("drop_"))
    {
        let more = count.saturating_sub(before.counters.get(name).copied().unwrap_or(0));
        writeln!(
            out,
            "  {name:<32} {:>11.0} {count:>16}",
            more as f64 / seconds
        )?;
    }
    Ok(())
}

fn row(
    out: &mut String,
    name: &str,
    state: &str,
    [weight, slots, moved]: [&str; 3],
    [packets, bytes]: [f64; 2],
) -> std::fmt::Result {
    writeln!(
        out,
        "{name:<34} {state:<8} {weight:>6} {slots:>7} {moved:>9} {packets:>11.0} {:>12.2}",
        bytes * 8.0 / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ServiceStatus;

    #[test]
    fn rates_are_of_the_time_between_the_looks() {
        let node = |packets, bytes| Status {
            services: vec![ServiceStatus {
                name: "web".into(),
                address: "10.0.0.3:80".into(),
                mode: "dsr".into(),
                backends: vec![BackendStatus {
                    address: "10.0.0.7:80".into(),
                    weight: 1,
                    up: true,
                    packets,
                    bytes,
                    ..BackendStatus::default()
                }],
                ..ServiceStatus::default()
            }],
            counters: [("drop_ttl".to_owned(), packets)].into(),
            ..Status::default()
        };

        let text = table(&node(100, 0), &node(300, 500_000), Duration::from_secs(2));

        let line = |start: &str| {
            let found = text.lines().find(|line| line.starts_with(start));
            let words = found
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>();
            words.join(" ")
        };
        assert_eq!(line("web"), "web 10.0.0.3:80 dsr 1/1 up 100 2.00");
        assert_eq!(line("  10.0.0.7"), "10.0.0.7:80 up 1 0 0 100 2.00");
        assert_eq!(line("  drop_ttl"), "drop_ttl 100 300");
    }
}
