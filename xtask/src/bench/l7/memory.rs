//! What a connection holds in the proxy while it waits for its next request. The kernel's part, which
//! no proxy can help, is not counted.

use anyhow::{Context as _, Result, bail};
use hafw_lab::{Host, interrupted};

use super::{
    Args, schedule,
    site::{NAME, Running, Site},
};
use crate::bench::stats::{Series, print_table};

const CONNECTIONS: usize = 10_000;
/// Asked before the first look: what a proxy sets up once is no connection's.
const WARM_UP: usize = 200;

#[derive(Default)]
struct Figures {
    /// Of the process with no connection, in MB.
    empty: Series,
    /// Of the process with all of them, in MB. What a proxy sets aside beforehand is in both.
    full: Series,
    /// Of a connection, in bytes.
    each: Series,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let site = Site::new("l7-memory")?;
    let wanted: Vec<_> = super::proxies::PROXIES
        .iter()
        .filter(|proxy| args.wants(proxy.name))
        .collect();
    let mut rows: Vec<_> = wanted.iter().map(|_| Figures::default()).collect();
    for round in 1..=args.repeat {
        for (proxy, figures) in wanted.iter().zip(&mut rows) {
            eprintln!("{}: run {round} of {}", proxy.name, args.repeat);
            // A fresh process: memory that was given back is not measured as free.
            let mut running = site.start(proxy, args.logs)?;
            measure(site.host(), &mut running, figures).context(proxy.name)?;
        }
    }
    println!(
        "Memory with {CONNECTIONS} idle connections, each of which had one request answered; median \
         (min-max) of {} runs.",
        args.repeat
    );
    let rows: Vec<Vec<_>> = wanted
        .iter()
        .zip(&rows)
        .map(|(proxy, figures)| {
            let Figures { empty, full, each } = figures;
            let figures = [empty, full, each].map(ToString::to_string);
            [proxy.name.to_owned()].into_iter().chain(figures).collect()
        })
        .collect();
    let headings = ["proxy", "MB without", "MB with", "bytes more a connection"];
    print_table(&headings, &rows);
    Ok(())
}

fn measure(host: &Host, running: &mut Running, figures: &mut Figures) -> Result<()> {
    let port = running.proxy.port;
    drop(connections(host, port, WARM_UP)?);
    let before = running.daemon.resident();
    let open = connections(host, port, CONNECTIONS)?;
    let after = running.daemon.resident();
    running.daemon.expect_running()?;
    drop(open);
    figures.empty.push(before as f64 / 1e6);
    figures.full.push(after as f64 / 1e6);
    let more = after.saturating_sub(before);
    figures.each.push(more as f64 / CONNECTIONS as f64);
    Ok(())
}

/// So many connections that have had a request answered.
fn connections(host: &Host, port: u16, count: usize) -> Result<Vec<impl Sized + use<>>> {
    let request = format!("GET /upload/small HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    let opened = host.namespace().run(|| {
        let mut open = Vec::with_capacity(count);
        for number in 0..count {
            if interrupted() {
                bail!("interrupted");
            }
            let mut connection = None;
            schedule::ask(port, &mut connection, request.as_bytes())
                .with_context(|| format!("connection {number}"))?;
            open.push(connection.context("the proxy closes its connections")?);
        }
        Ok(open)
    });
    opened?
}
