//! What a client sees when a node fails.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum;
use hafw_lab::{Scope, Signal, Station, VIP_WWW, pause, peers::Timing, wait_for};

use super::{
    chosen,
    pair::{Findings, Kind, Pair, Setup},
    stats::{Series, print_table},
};

/// How long everything is well before a fault.
const BEFORE: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What runs on the nodes; both in turns if not given
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// Advertisement intervals; all if not given
    #[arg(long, value_enum)]
    timing: Vec<Interval>,
    /// Faults; all if not given
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
    /// How often each is repeated
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// With `[cluster]` over a second path between hafw's nodes
    #[arg(long)]
    cluster: bool,
    /// Only the faults that tell most, without the long ones
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interval {
    /// Version 2, 1 s, as in the lesson
    #[value(name = "1s")]
    Second,
    /// Version 3
    #[value(name = "100ms")]
    Tenth,
    /// Version 3
    #[value(name = "10ms")]
    Hundredth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// Nothing: what the probes see of themselves
    None,
    /// SIGTERM; then it is started again and takes over
    Stop,
    /// kill -9 of the daemon; then it is started again
    Kill,
    /// kill -9 of what speaks VRRP, which is started again at once
    Respawn,
    /// SIGSTOP of the daemon; then SIGCONT
    Freeze,
    /// The switch forwards nothing to and from the node; then it does again
    Cut,
    /// The node's port goes down; then up
    Carrier,
    /// kill -9 of hafw's proxy, which is started again at once
    Proxy,
    /// INPUT rules drop adverts on lb02; then no longer
    FilterOne,
    /// INPUT rules drop adverts on both nodes; then no longer
    FilterBoth,
    /// Nothing reaches lb01, its adverts still leave; then it does again. hafw: `deaf_after` of 2 s
    Deaf,
    /// A check of weight 0 fails, looked at every 3 s; then it succeeds
    Check,
    /// A cut of 20 s, and what happens for a long time after it; at 1 s only
    Partition,
}

/// What happened in a span of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Fault,
    Recovery,
}

#[derive(Default)]
struct Row {
    udp: Series,
    http: Series,
    lost: Series,
    silence: Series,
    owners: Series,
    strays: Series,
    flips: Series,
    announced: Series,
}

impl Args {
    pub(super) fn needs_hafw(&self) -> bool {
        self.kind.is_empty() || self.kind.contains(&Kind::Hafw)
    }
}

pub(super) fn run(args: &Args, release: bool) -> Result<()> {
    let kinds = chosen(&args.kind);
    let mut rows = BTreeMap::new();
    for interval in chosen(&args.timing) {
        let timing = interval.timing();
        for (position, fault) in chosen(&args.fault).into_iter().enumerate() {
            let long = fault == Fault::Partition;
            if long && (timing != Timing::V2Second || args.quick)
                || args.quick && !Fault::QUICK.contains(&fault)
            {
                continue;
            }
            for round in 1..=args.repeat {
                let kinds = kinds.iter().filter(|kind| fault.concerns(**kind));
                for &kind in kinds {
                    let setup = Setup {
                        kind,
                        timing,
                        realtime: None,
                        cluster: args.cluster && kind == Kind::Hafw,
                        release,
                    };
                    let name = format!("{}, {}, {}", timing.label(), fault.name(), kind.name());
                    eprintln!("{name}: run {round} of {}", args.repeat);
                    for (phase, found) in play(setup, fault)? {
                        let key = (Reverse(timing.interval()), position, phase, kind);
                        let (_, row) = rows
                            .entry(key)
                            .or_insert_with(|| (label(timing, fault, phase, kind), Row::default()));
                        row.add(&found);
                    }
                }
            }
        }
    }
    println!("Milliseconds, median (min-max) of {} runs.", args.repeat);
    let table: Vec<_> = rows
        .into_values()
        .map(|(label, row)| row.cells(label))
        .collect();
    print_table(
        &[
            "adverts",
            "fault",
            "nodes",
            "L4 gap",
            "L4 lost",
            "L7 gap",
            "no ARP answer",
            "two owners",
            "strays",
            "flips",
            "GARP/s",
        ],
        &table,
    );
    Ok(())
}

fn label(timing: Timing, fault: Fault, phase: Phase, kind: Kind) -> [String; 3] {
    let fault = match phase {
        Phase::Fault => fault.name(),
        Phase::Recovery => fault.recovery(),
    };
    [
        timing.label().to_owned(),
        fault.to_owned(),
        kind.name().to_owned(),
    ]
}

/// One run in a lab of its own, so that no run inherits another's neighbour tables.
fn play(setup: Setup, fault: Fault) -> Result<Vec<(Phase, Findings)>> {
    let Setup { kind, timing, .. } = setup;
    let mut pair = Pair::start(setup)?;
    let measurement = pair.measure()?;
    pause(BEFORE)?;
    let begin = Instant::now();
    inject(&mut pair, kind, fault)?;
    let (fault_window, recovery_window) = fault.windows(timing);
    pause(fault_window)?;
    let middle = Instant::now();
    let recovers = recover(&mut pair, fault)?;
    if recovers {
        pause(recovery_window)?;
    }
    let end = Instant::now();
    let found = measurement.stop()?;
    let mut phases = vec![(Phase::Fault, found.within(begin, middle))];
    if recovers {
        phases.push((Phase::Recovery, found.within(middle, end)));
    }
    Ok(phases)
}

fn inject(pair: &mut Pair, kind: Kind, fault: Fault) -> Result<()> {
    match fault {
        Fault::None => {}
        Fault::Stop => pair.daemon().signal(Scope::Process, Signal::SIGTERM)?,
        Fault::Kill => pair.signal(Signal::SIGKILL)?,
        Fault::Respawn => match kind {
            // keepalived's parent starts its child again by itself.
            Kind::Keepalived => pair.daemon().kill_children()?,
            Kind::Hafw => {
                pair.signal(Signal::SIGKILL)?;
                pair.daemon().start()?;
            }
        },
        Fault::Freeze => pair.signal(Signal::SIGSTOP)?,
        Fault::Cut | Fault::Partition => pair.lab.cut(Station::Lb01)?,
        Fault::Carrier => pair.lab.set_carrier(Station::Lb01, false)?,
        Fault::Proxy => pair.daemon().kill_children()?,
        Fault::FilterOne => filter(pair, &[Station::Lb02])?,
        Fault::FilterBoth => filter(pair, &Station::NODES)?,
        Fault::Deaf => pair.lab.deafen(Station::Lb01)?,
        Fault::Check => pair.set_check(false)?,
    }
    Ok(())
}

fn filter(pair: &Pair, stations: &[Station]) -> Result<()> {
    for station in stations {
        pair.lab[*station].drop_input("ip protocol 112")?;
    }
    Ok(())
}

/// Undoes the fault. False where there is nothing to undo.
fn recover(pair: &mut Pair, fault: Fault) -> Result<bool> {
    match fault {
        Fault::None | Fault::Respawn | Fault::Proxy => return Ok(false),
        Fault::FilterOne | Fault::FilterBoth => {
            for station in Station::NODES {
                pair.lab[station].open_firewall()?;
            }
        }
        Fault::Check => pair.set_check(true)?,
        Fault::Stop => {
            let ended = format!("{} to end", pair.daemon().name());
            wait_for(Duration::from_secs(15), ended, || !pair.daemon().running())?;
            pair.daemon().start()?;
        }
        Fault::Kill => pair.daemon().start()?,
        Fault::Freeze => pair.signal(Signal::SIGCONT)?,
        Fault::Cut | Fault::Partition | Fault::Deaf => pair.lab.heal()?,
        Fault::Carrier => pair.lab.set_carrier(Station::Lb01, true)?,
    }
    Ok(true)
}

impl Interval {
    const fn timing(self) -> Timing {
        match self {
            Self::Second => Timing::V2Second,
            Self::Tenth => Timing::V3Tenth,
            Self::Hundredth => Timing::V3Hundredth,
        }
    }
}

impl Fault {
    /// Those of `--quick`.
    const QUICK: [Self; 7] = [
        Self::Stop,
        Self::Kill,
        Self::Respawn,
        Self::Freeze,
        Self::Cut,
        Self::Carrier,
        Self::FilterBoth,
    ];

    /// The lesson's nginx is nobody's child.
    fn concerns(self, kind: Kind) -> bool {
        self != Self::Proxy || kind == Kind::Hafw
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stop => "stop",
            Self::Kill => "kill -9",
            Self::Respawn => "kill -9, respawned",
            Self::Freeze => "SIGSTOP",
            Self::Cut => "silent cut",
            Self::Carrier => "port down",
            Self::Proxy => "kill -9 of the proxy, respawned",
            Self::FilterOne => "INPUT drops adverts on one",
            Self::FilterBoth => "INPUT drops adverts on both",
            Self::Deaf => "nothing reaches the Active",
            Self::Check => "check down, weight 0, 3 s",
            Self::Partition => "20 s partition",
        }
    }

    const fn recovery(self) -> &'static str {
        match self {
            Self::None | Self::Respawn | Self::Proxy => "",
            Self::FilterOne => "INPUT on one: open",
            Self::FilterBoth => "INPUT on both: open",
            Self::Deaf => "it is reached again",
            Self::Check => "check up",
            Self::Stop => "failback",
            Self::Kill => "kill -9: started again",
            Self::Freeze => "SIGCONT",
            Self::Cut => "silent cut: heal",
            Self::Carrier => "port down: up",
            Self::Partition => "20 s partition: heal",
        }
    }

    /// How long the fault and the recovery are looked at.
    fn windows(self, timing: Timing) -> (Duration, Duration) {
        if self == Self::Partition {
            return (Duration::from_secs(20), Duration::from_secs(60));
        }
        let down = timing.active_down_interval(100);
        // Until it is noticed, for what no advert tells.
        let noticed = match self {
            Self::Check => Duration::from_secs(4),
            Self::Deaf => Duration::from_secs(3),
            Self::None
            | Self::Stop
            | Self::Kill
            | Self::Respawn
            | Self::Freeze
            | Self::Cut
            | Self::Carrier
            | Self::Proxy
            | Self::FilterOne
            | Self::FilterBoth
            | Self::Partition => Duration::ZERO,
        };
        (
            down * 2 + noticed + Duration::from_secs(1),
            down * 2 + noticed + Duration::from_secs(2),
        )
    }
}

impl Row {
    fn add(&mut self, found: &Findings) {
        self.udp.push_ms(found.udp.longest_gap());
        self.lost.push(found.udp.lost() as f64);
        self.http.push_ms(found.http.longest_gap());
        self.silence.push_ms(found.owners.longest_silence(VIP_WWW));
        self.owners.push_ms(found.owners.two_owners(VIP_WWW));
        self.strays.push(found.owners.strays(VIP_WWW) as f64);
        self.flips.push(found.owners.flips(VIP_WWW) as f64);
        let announced = found.owners.announcements_a_second(VIP_WWW);
        self.announced.push(announced as f64);
    }

    fn cells(&self, label: [String; 3]) -> Vec<String> {
        let Self {
            udp,
            http,
            lost,
            silence,
            owners,
            strays,
            flips,
            announced,
        } = self;
        let series = [udp, lost, http, silence, owners, strays, flips, announced];
        label
            .into_iter()
            .chain(series.map(ToString::to_string))
            .collect()
    }
}
