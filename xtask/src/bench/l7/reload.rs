//! Reloads every second while requests come: none may fail.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hafw_lab::{Host, Scope, interrupted, pause};

use super::{
    Args,
    proxies::PROXIES,
    schedule::{Outcome, Timetable},
    site::{Running, Site},
};
use crate::bench::stats::print_table;

/// Requests per second.
const RATE: u32 = 2000;
const CONNECTIONS: u32 = 64;
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args, seconds: u64) -> Result<()> {
    let site = Site::new("l7-reload")?;
    let mut rows = Vec::new();
    for proxy in PROXIES.iter().filter(|proxy| args.wants(proxy.name)) {
        if proxy.reload.is_none() {
            eprintln!(
                "{}: only a new process takes a new configuration",
                proxy.name
            );
            continue;
        }
        eprintln!("{}: {seconds} s", proxy.name);
        let mut running = site.start(proxy, args.logs)?;
        let (outcome, reloads) = measure(site.host(), &mut running, seconds)?;
        let failures = outcome.failures.iter();
        let failures = failures.map(|(reason, count)| format!("{count} {reason}"));
        rows.push(vec![
            proxy.name.to_owned(),
            reloads.to_string(),
            outcome.good().to_string(),
            outcome.failed().to_string(),
            failures.collect::<Vec<_>>().join(", "),
        ]);
    }
    println!("A reload each second, {RATE} requests/s over {CONNECTIONS} kept connections.");
    print_table(&["proxy", "reloads", "answered", "failed", "how"], &rows);
    Ok(())
}

fn measure(host: &Host, running: &mut Running, seconds: u64) -> Result<(Outcome, u32)> {
    let timetable = Timetable {
        port: running.proxy.port,
        rate: RATE,
        connections: CONNECTIONS,
        span: Duration::from_secs(seconds),
    };
    let signal = running.proxy.reload.context("no way to reload")?;
    let is_over = AtomicBool::new(false);
    let mut reloads = 0;
    let outcome = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let outcome = timetable.run(host);
            is_over.store(true, Ordering::Release);
            outcome
        });
        while !is_over.load(Ordering::Acquire) {
            running.daemon.signal(Scope::Process, signal)?;
            reloads += 1;
            pause(INTERVAL)?;
        }
        let outcome = load.join();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    if interrupted() {
        bail!("interrupted");
    }
    running.daemon.expect_running()?;
    Ok((outcome, reloads))
}
