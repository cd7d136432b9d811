//! A long run at 80 % of what the proxy can serve: no error, and memory that does not grow.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{
    Args,
    proxies::{HAFW, PROXIES},
    shapes::H2loadCounts,
    site::{LOAD_CORE, NAME, Running, Site},
};
use crate::bench::stats::print_table;

const CONNECTIONS: u32 = 64;
const SHARE: f64 = 0.8;
/// How long the load without a limit lasts, in seconds.
const TRIAL: u64 = 3;

pub(super) fn run(args: &Args, seconds: u64) -> Result<()> {
    let site = Site::new("l7-soak")?;
    let mut rows = Vec::new();
    let is_wanted = |name: &str| match args.proxy.as_slice() {
        [] => name == HAFW,
        _ => args.wants(name),
    };
    for proxy in PROXIES.iter().filter(|proxy| is_wanted(proxy.name)) {
        let mut running = site.start(proxy, args.logs)?;
        let row = soak(&site, &mut running, seconds).context(proxy.name)?;
        rows.push(row);
    }
    println!("{seconds} s at 80 % of the most that h2load gets over {CONNECTIONS} connections.");
    let headings = [
        "proxy",
        "requests/s",
        "answered",
        "failed",
        "MB before",
        "MB after",
    ];
    print_table(&headings, &rows);
    Ok(())
}

fn soak(site: &Site, running: &mut Running, seconds: u64) -> Result<Vec<String>> {
    let most = load(site, running, TRIAL, None)?.good as f64 / TRIAL as f64;
    let rate = most * SHARE;
    eprintln!(
        "{}: {rate:.0} requests/s for {seconds} s",
        running.proxy.name
    );
    let before = running.daemon.resident();
    let counted = load(site, running, seconds, Some(rate))?;
    running.daemon.expect_running()?;
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    Ok(vec![
        running.proxy.name.to_owned(),
        format!("{:.0}", counted.good as f64 / seconds as f64),
        counted.good.to_string(),
        counted.bad.to_string(),
        megabytes(before),
        megabytes(running.daemon.resident()),
    ])
}

/// HTTP/1.1 requests, at most so many a second.
fn load(site: &Site, running: &Running, seconds: u64, rate: Option<f64>) -> Result<H2loadCounts> {
    let address = format!("127.0.0.1:{}", running.proxy.port);
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "h2load", "--h1", "--connect-to", &address]);
    command.args(["-c", &CONNECTIONS.to_string(), "-D", &seconds.to_string()]);
    if let Some(rate) = rate {
        let each = format!("{:.2}", rate / f64::from(CONNECTIONS));
        command.args(["--rps", &each]);
    }
    for prefix in ["upload", "static", "other"] {
        command.arg(format!("http://{NAME}/{prefix}/small"));
    }
    H2loadCounts::read(&site.host().namespace().output(&mut command)?)
}
