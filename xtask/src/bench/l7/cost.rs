//! What a request costs: the proxy's own processor time. Not requests per second: with a fast proxy
//! the second core is the limit.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{
    Args,
    shapes::Shape,
    site::{Running, Site},
};
use crate::bench::stats::{Series, print_table};

pub(super) fn run(args: &Args, shapes: &[Shape], logs: bool) -> Result<()> {
    let site = Site::new("l7")?;
    let mut rows: Vec<_> = site
        .start_all(args, logs)?
        .into_iter()
        .map(|running| (running, vec![Series::default(); shapes.len()]))
        .collect();
    for round in 1..=args.repeat {
        for (column, shape) in shapes.iter().enumerate() {
            eprintln!("{}: run {round} of {}", shape.name, args.repeat);
            for (running, figures) in &mut rows {
                let figure = load(&site, running, shape, args.seconds)
                    .with_context(|| format!("{}, {}", running.proxy.name, shape.name))?;
                figures[column].push(figure);
            }
        }
    }
    println!(
        "Processor time of the proxy{}, µs a request, median (min-max) of {} runs.",
        if logs { " with access logs" } else { "" },
        args.repeat
    );
    let headings = shapes.iter().map(|shape| shape.name);
    let headings: Vec<_> = ["proxy"].into_iter().chain(headings).collect();
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|(running, figures)| {
            let figures = figures.iter().map(ToString::to_string);
            let name = [running.proxy.name.to_owned()];
            name.into_iter().chain(figures).collect()
        })
        .collect();
    print_table(&headings, &rows);
    Ok(())
}

/// µs of processor time for a request.
fn load(site: &Site, running: &mut Running, shape: &Shape, seconds: u64) -> Result<f64> {
    let Running { proxy, daemon } = running;
    // Connections to the upstream, and caches.
    shape.load(site.host(), proxy, 1)?;
    let (before, start) = (daemon.cpu_time(), Instant::now());
    let requests = shape.load(site.host(), proxy, seconds)?;
    let (used, took) = (daemon.cpu_time() - before, start.elapsed());
    daemon.expect_running()?;
    if used > took {
        bail!("the proxy used more than one core");
    }
    Ok(used.as_secs_f64() * 1e6 / requests)
}
