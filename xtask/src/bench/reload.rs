//! How long `hafw reload` takes when one backend changes among very many.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hafw_lab::{
    Host, Lab, Station, VIP_WWW,
    peers::{Hafw, Router, Timing, hafw_config},
};

use super::stats::{Series, print_table};
use crate::workspace;

/// For a start with all that.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services
    #[arg(long, default_value_t = 1_000)]
    services: u16,
    /// Backends of each, every one with an address of its own
    #[arg(long, default_value_t = 10)]
    backends: u16,
    /// Slots of each, a prime
    #[arg(long, default_value_t = 1_009)]
    slots: u32,
    /// How often the file is changed
    #[arg(long, default_value_t = 10)]
    repeat: u32,
}

pub(super) fn run(args: &Args, release: bool) -> Result<()> {
    let lab = Lab::new("reload")?;
    let host = &lab[Station::Lb01];
    let gateway = Station::Client.address().to_string();
    host.output("ip", &["route", "add", "10.16.0.0/12", "via", &gateway])?;
    let binary = workspace::binary("hafw", release)?;
    let mut node = Hafw::new(host, &binary, &config(host, args, 1))?;
    let start = Instant::now();
    node.daemon.start()?;
    node.wait_for_router("oldboy", "active", PATIENCE)?;
    let start = start.elapsed();

    let mut took = Series::default();
    let mut command = Series::default();
    for round in 0..args.repeat {
        fs::write(node.config(), config(host, args, round % 2 + 2))?;
        let asked = Instant::now();
        let answer = node.ask(&["reload"])?;
        took.push_ms(asked.elapsed());
        anyhow::ensure!(answer.contains("in force"), "not in process: {answer}");
        // What the command itself takes, and an answer.
        let asked = Instant::now();
        node.ask(&["drain", "s0", &backend(0, 0)])?;
        command.push_ms(asked.elapsed());
        node.ask(&["undrain", "s0", &backend(0, 0)])?;
    }
    let memory = node.daemon.resident() as f64 / 1e6;
    println!(
        "{} services with {} backends and {} slots each; the weight of one backend changes. Median \
         (min-max) of {}.",
        args.services, args.backends, args.slots, args.repeat
    );
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    print_table(
        &["what", "value"],
        &[
            row("hafw reload, ms", took.to_string()),
            row("hafw drain, ms", command.to_string()),
            row("start until Active, ms", start.as_millis().to_string()),
            row("memory, MB", format!("{memory:.0}")),
        ],
    );
    node.daemon.expect_running().context("the node ended")
}

fn config(host: &Host, args: &Args, weight: u32) -> String {
    let mut text = String::new();
    for service in 0..args.services {
        let port = 1_000 + service;
        let _ = write!(
            text,
            "\n[[service]]\nname = \"s{service}\"\nvip = \"{VIP_WWW}\"\nport = {port}\n\
             protocol = \"tcp\"\nmode = \"nat\"\nslots = {}\n",
            args.slots
        );
        for number in 0..args.backends {
            let address = backend(service * args.backends, number);
            let _ = write!(text, "[[service.backend]]\naddress = \"{address}\"\n");
            if (service, number) == (0, 1) {
                let _ = writeln!(text, "weight = {weight}");
            }
        }
    }
    let routers = [Router::oldboy(Station::Lb01, Timing::V3Tenth)];
    hafw_config(host, &routers, &text)
}

/// Behind the gateway.
fn backend(first: u16, number: u16) -> String {
    let base = u32::from(Ipv4Addr::new(10, 16, 0, 0));
    let address = Ipv4Addr::from(base + u32::from(first) + u32::from(number));
    format!("{address}:80")
}
