//! What a controller costs while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;
use hafw_lab::{
    Daemon, Host, Lab, LabError, Station, pause,
    peers::{Hafw, Keepalived, Router, Timing, hafw_config},
};

use super::{
    pair::Kind,
    stats::{Series, print_table},
};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Virtual routers on each node
    #[arg(long, default_value_t = 10)]
    routers: u8,
    /// How often each is repeated
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// How long each is looked at, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Default)]
struct Row {
    cpu: Series,
    memory: Series,
}

pub(super) fn run(args: &Args, release: bool) -> Result<()> {
    let mut rows =
        [Kind::Keepalived, Kind::Hafw].map(|kind| (kind, [Row::default(), Row::default()]));
    for round in 1..=args.repeat {
        for (kind, [active, backup]) in &mut rows {
            eprintln!("{}: run {round} of {}", kind.name(), args.repeat);
            measure(*kind, args, release, [active, backup])?;
        }
    }
    println!(
        "{} routers at 1 s, median (min-max) of {} runs.",
        args.routers, args.repeat
    );
    let cells = |kind: Kind, role: &str, row: &Row| {
        vec![
            kind.name().to_owned(),
            role.to_owned(),
            row.cpu.to_string(),
            row.memory.to_string(),
        ]
    };
    let table: Vec<_> = rows
        .iter()
        .flat_map(|(kind, [active, backup])| {
            [
                cells(*kind, "active", active),
                cells(*kind, "backup", backup),
            ]
        })
        .collect();
    print_table(&["controller", "role", "CPU ms/s", "RSS MB"], &table);
    Ok(())
}

fn measure(kind: Kind, args: &Args, release: bool, rows: [&mut Row; 2]) -> Result<()> {
    let lab = Lab::new("controller")?;
    let mut daemons = Vec::new();
    for station in Station::NODES {
        let mut daemon = daemon(
            kind,
            &lab[station],
            &routers(station, args.routers),
            release,
        )?;
        daemon.start()?;
        daemons.push(daemon);
    }
    // Past the election and the announcements that follow it.
    pause(Timing::V2Second.active_down_interval(100) + Duration::from_secs(12))?;
    let before: Vec<_> = daemons.iter().map(Daemon::cpu_time).collect();
    let start = Instant::now();
    pause(Duration::from_secs(args.seconds))?;
    let seconds = start.elapsed().as_secs_f64();
    for ((daemon, before), row) in daemons.iter_mut().zip(before).zip(rows) {
        daemon.expect_running()?;
        row.cpu
            .push((daemon.cpu_time() - before).as_secs_f64() * 1e3 / seconds);
        row.memory.push(daemon.resident() as f64 / 1e6);
    }
    Ok(())
}

fn daemon(kind: Kind, host: &Host, routers: &[Router], release: bool) -> Result<Daemon, LabError> {
    Ok(match kind {
        Kind::Keepalived => Keepalived::new(host, routers)?.daemon,
        Kind::Hafw => {
            let binary = workspace::binary("hafw", release)
                .map_err(|error| LabError::Unexpected(error.to_string()))?;
            Hafw::new(host, &binary, &hafw_config(host, routers, ""))?.daemon
        }
    })
}

fn routers(node: Station, count: u8) -> Vec<Router> {
    let router = |number: u8| {
        let vip = std::net::Ipv4Addr::new(10, 0, 0, 100 + number);
        let name = format!("vr{number}");
        Router {
            name,
            vrid: number,
            vip,
            ..Router::oldboy(node, Timing::V2Second)
        }
    };
    (1..=count).map(router).collect()
}
