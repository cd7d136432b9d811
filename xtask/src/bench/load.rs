//! Whether a busy machine makes a node take over from one that lives: many processes that only
//! compute, on all cores, beside a pair of nodes to which nothing happens.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use hafw_lab::{Station, VIP_WWW, pause, peers::Timing, probe::Seen};

use super::{
    chosen,
    pair::{Kind, Pair, Setup},
    stats::print_table,
};

/// How long the busy processes run before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What runs on the nodes; both in turns if not given
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// Advertisement intervals; both if not given
    #[arg(long, value_enum)]
    timing: Vec<Interval>,
    /// With or without real-time priority; both if not given
    #[arg(long, value_enum)]
    realtime: Vec<Realtime>,
    /// Busy processes, of ordinary priority
    #[arg(long, default_value_t = 40)]
    busy: u32,
    /// How long each lasts, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interval {
    /// Version 3
    #[value(name = "100ms")]
    Tenth,
    /// Version 3
    #[value(name = "10ms")]
    Hundredth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Realtime {
    /// Ordinary scheduling
    Off,
    /// hafw's default; keepalived's vrrp_rt_priority 50
    On,
}

impl Args {
    pub(super) fn needs_hafw(&self) -> bool {
        self.kind.is_empty() || self.kind.contains(&Kind::Hafw)
    }
}

pub(super) fn run(args: &Args, release: bool) -> Result<()> {
    let mut rows = Vec::new();
    for interval in chosen(&args.timing) {
        for realtime in chosen(&args.realtime) {
            for kind in chosen(&args.kind) {
                let timing = match interval {
                    Interval::Tenth => Timing::V3Tenth,
                    Interval::Hundredth => Timing::V3Hundredth,
                };
                let setup = Setup {
                    kind,
                    timing,
                    realtime: Some(realtime == Realtime::On),
                    cluster: false,
                    release,
                };
                rows.push(measure(setup, args)?);
            }
        }
    }
    println!(
        "{} s beside {} busy processes; nothing happens to either node. Spans in milliseconds.",
        args.seconds, args.busy
    );
    print_table(
        &[
            "adverts",
            "real time",
            "nodes",
            "false takeovers",
            "flips",
            "two owners",
            "no ARP answer",
            "longest gap of adverts",
        ],
        &rows,
    );
    Ok(())
}

fn measure(setup: Setup, args: &Args) -> Result<Vec<String>> {
    let realtime = if setup.realtime == Some(true) {
        "on"
    } else {
        "off"
    };
    let label = [setup.timing.label(), realtime, setup.kind.name()];
    eprintln!("{}: {} s", label.join(", "), args.seconds);
    let mut pair = Pair::start(setup)?;
    let observer = pair.observe()?;
    let busy = Busy::start(args.busy, args.seconds)?;
    pause(WARM_UP)?;
    let (before, begin) = (pair.takeovers()?, Instant::now());
    pause(Duration::from_secs(args.seconds))?;
    let (after, end) = (pair.takeovers()?, Instant::now());
    drop(busy);
    let seen = observer.stop()?.within(begin, end);
    pair.expect_running()?;

    // Each takeover by lb02 is one from a node that lives; lb01's are the ways back.
    let false_takeovers = after[1] - before[1];
    let adverts: Vec<_> = seen
        .events
        .iter()
        .filter(
            |event| matches!(event.seen, Seen::Advert { mac, .. } if mac == Station::Lb01.mac()),
        )
        .map(|event| event.at)
        .collect();
    let gaps = adverts.windows(2).map(|pair| pair[1] - pair[0]);
    let gap = gaps.max().context("lb01 sent no adverts")?;
    let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1e3);
    let found = [
        false_takeovers.to_string(),
        seen.flips(VIP_WWW).to_string(),
        ms(seen.two_owners(VIP_WWW)),
        ms(seen.longest_silence(VIP_WWW)),
        ms(gap),
    ];
    Ok(label.map(str::to_owned).into_iter().chain(found).collect())
}

/// Processes that compute until this is dropped. They also end with this process, and by a limit of
/// processor time.
struct Busy(Vec<Child>);

impl Busy {
    fn start(count: u32, seconds: u64) -> Result<Self> {
        let mut busy = Self(Vec::new());
        let script = format!("ulimit -t {}; while :; do :; done", seconds + 60);
        for _ in 0..count {
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "sh", "-c", &script])
                .stdin(Stdio::null())
                .spawn()
                .context("start a busy process")?;
            busy.0.push(child);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
