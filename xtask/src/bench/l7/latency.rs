//! How long requests take at a rate that no proxy is busy with.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hafw_lab::interrupted;

use super::{Args, schedule::Timetable, site::Site};
use crate::bench::stats::{Series, print_table};

/// Requests per second.
const RATE: u32 = 6000;
const CONNECTIONS: u32 = 64;

/// µs within which 50 %, 99 % and 99.9 % of requests are answered, and of processor time for each.
#[derive(Default)]
struct Figures {
    within: [Series; 3],
    cost: Series,
}

const SHARES: [usize; 3] = [500, 990, 999];

pub(super) fn run(args: &Args) -> Result<()> {
    let site = Site::new("l7-latency")?;
    let mut rows: Vec<_> = site
        .start_all(args, args.logs)?
        .into_iter()
        .map(|running| (running, Figures::default()))
        .collect();
    for round in 1..=args.repeat {
        eprintln!("{RATE} requests/s: run {round} of {}", args.repeat);
        for (running, figures) in &mut rows {
            let load = |seconds| {
                let timetable = Timetable {
                    port: running.proxy.port,
                    rate: RATE,
                    connections: CONNECTIONS,
                    span: Duration::from_secs(seconds),
                };
                timetable.run(site.host())
            };
            load(1).context(running.proxy.name)?;
            let before = running.daemon.cpu_time();
            let outcome = load(args.seconds).context(running.proxy.name)?;
            let used = running.daemon.cpu_time() - before;
            if interrupted() {
                bail!("interrupted");
            }
            if outcome.failed() > 0 {
                bail!("{}: {:?}", running.proxy.name, outcome.failures);
            }
            for (series, share) in figures.within.iter_mut().zip(SHARES) {
                series.push(micros(outcome.per_mille(share)));
            }
            figures.cost.push(micros(used) / outcome.good() as f64);
        }
    }
    println!(
        "{RATE} requests/s by a timetable, {CONNECTIONS} connections, median (min-max) of {} runs.",
        args.repeat
    );
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|(running, Figures { within, cost })| {
            let figures = within.iter().chain([cost]).map(ToString::to_string);
            let name = [running.proxy.name.to_owned()];
            name.into_iter().chain(figures).collect()
        })
        .collect();
    print_table(
        &["proxy", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs/request"],
        &rows,
    );
    Ok(())
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
