//! The invariants, checked after every step of the world, and what was seen on the way.

use std::collections::VecDeque;

use hafw_vrrp::Cause;

use crate::{clock::Time, params::Params, world::World};

/// How much of a trace is kept.
const TRACE: usize = 400;

/// How often what happened. A run of many seeds must have met all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) takeovers: u64,
    pub(crate) superseded: u64,
    pub(crate) adopted: u64,
    pub(crate) announced: u64,
    pub(crate) overflows: u64,
    pub(crate) revoked_by_xdp: u64,
    pub(crate) stalled: u64,
    pub(crate) muted: u64,
    pub(crate) lost: u64,
    /// Two that hear each other attracted at a time.
    pub(crate) overlaps: u64,
    /// Of these, those that took over from a controller that hung: the formula of the lease.
    pub(crate) overlaps_with_hung: u64,
    /// A takeover from a controller that hung, with no overlap at all.
    pub(crate) clean_takeovers: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.takeovers += other.takeovers;
        self.superseded += other.superseded;
        self.adopted += other.adopted;
        self.announced += other.announced;
        self.overflows += other.overflows;
        self.revoked_by_xdp += other.revoked_by_xdp;
        self.stalled += other.stalled;
        self.muted += other.muted;
        self.lost += other.lost;
        self.overlaps += other.overlaps;
        self.overlaps_with_hung += other.overlaps_with_hung;
        self.clean_takeovers += other.clean_takeovers;
    }
}

pub(crate) struct Watch {
    pub(crate) failure: Option<(Time, String)>,
    pub(crate) counts: Counts,
    pub(crate) lines: VecDeque<String>,
    traced: bool,
    /// Since when each attracts.
    attracts: Vec<Option<Time>>,
    /// How often each attracted with another that heard it.
    pub(crate) overlaps: Vec<u64>,
    /// Since when none does.
    pub(crate) dark_since: Option<Time>,
    pairs: Vec<Vec<Pair>>,
}

#[derive(Clone, Copy, Default)]
struct Pair {
    overlap: Option<Overlap>,
    /// When something last happened that lets an overlap go on.
    disturbed: Time,
    parted: bool,
}

#[derive(Clone, Copy)]
struct Overlap {
    since: Time,
    until: Time,
}

impl Watch {
    pub(crate) fn new(nodes: usize, traced: bool) -> Self {
        Self {
            failure: None,
            counts: Counts::default(),
            lines: VecDeque::new(),
            traced,
            attracts: vec![None; nodes],
            overlaps: vec![0; nodes],
            dark_since: Some(0),
            pairs: vec![vec![Pair::default(); nodes]; nodes],
        }
    }

    pub(crate) fn trace(&mut self, now: Time, line: impl FnOnce() -> String) {
        if self.traced {
            if self.lines.len() == TRACE {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>14.6} ms  {}", now as f64 / 1e6, line()));
        }
    }

    pub(crate) fn fail(&mut self, now: Time, what: String) {
        self.trace(now, || format!("FAILS: {what}"));
        self.failure.get_or_insert((now, what));
    }

    /// An advert between two nodes was lost, or the link between them changed.
    pub(crate) fn disturb(&mut self, a: usize, b: usize, now: Time) {
        let nodes = self.pairs.len();
        if a < nodes && b < nodes {
            self.pairs[a.min(b)][a.max(b)].disturbed = now;
        }
    }

    /// A node goes on, or something about it changed.
    pub(crate) fn disturb_all(&mut self, node: usize, now: Time) {
        for other in 0..self.pairs.len() {
            self.disturb(node, other, now);
        }
    }

    /// A node cannot renew from now on. That excuses only what is going on already: a takeover that
    /// comes of it must find the lease run out.
    pub(crate) fn hang(&mut self, node: usize, now: Time) {
        for other in 0..self.pairs.len() {
            if self.pairs[node.min(other)][node.max(other)].overlap.is_some() {
                self.disturb(node, other, now);
            }
        }
    }

    /// To be called after every step.
    pub(crate) fn look(world: &mut World) {
        let now = world.now;
        for index in 0..world.nodes.len() {
            let attracts = world.nodes[index].attracts(now);
            let since = &mut world.watch.attracts[index];
            match (attracts, since.is_some()) {
                (true, false) => {
                    *since = Some(now);
                    world.watch.trace(now, || format!("{index}: attracts"));
                }
                (false, true) => {
                    *since = None;
                    world.watch.trace(now, || format!("{index}: does not attract any more"));
                }
                (true, true) | (false, false) => {}
            }
        }
        for a in 0..world.nodes.len() {
            for b in a + 1..world.nodes.len() {
                Self::look_at_pair(world, a, b);
            }
        }
        let watch = &mut world.watch;
        if watch.attracts.iter().any(Option::is_some) {
            watch.dark_since = None;
        } else {
            watch.dark_since.get_or_insert(now);
        }
    }

    /// Invariant 1. See `docs/lease.md` for where the bound comes from.
    fn look_at_pair(world: &mut World, a: usize, b: usize) {
        let now = world.now;
        let mut pair = world.watch.pairs[a][b];
        if world.cut[a][b] || world.cut[b][a] {
            pair.parted = true;
        } else if pair.parted {
            pair.parted = false;
            pair.disturbed = now;
        }
        let both = world.watch.attracts[a].zip(world.watch.attracts[b]);
        match (both, pair.overlap) {
            (None, None) => {}
            (None, Some(overlap)) => {
                // By a step at this time, or by a lease that ran out before this look.
                let ended = world.nodes[a].lease_ends().min(world.nodes[b].lease_ends()).min(now);
                let settles = settles(world, a, b, &pair, &overlap);
                if ended > overlap.until.max(settles) && !pair.parted {
                    let text = format!("{a} and {b} attracted for {} ns", ended - overlap.since);
                    world.watch.fail(now, text);
                }
                pair.overlap = None;
            }
            (Some((since_a, since_b)), None) => {
                let (older, newer) = if since_a < since_b { (a, b) } else { (b, a) };
                let until = allowed(world, older, newer);
                if !pair.parted {
                    world.watch.counts.overlaps += 1;
                    world.watch.overlaps[a] += 1;
                    world.watch.overlaps[b] += 1;
                }
                world.watch.trace(now, || format!("{older} and {newer} attract, until {until}"));
                pair.overlap = Some(Overlap { since: now, until });
            }
            (Some(_), Some(overlap)) if !pair.parted => {
                let settles = settles(world, a, b, &pair, &overlap);
                if now > overlap.until.max(settles) {
                    let text = format!("{a} and {b} both attract since {} ns", now - overlap.since);
                    world.watch.fail(now, text);
                }
            }
            (Some(_), Some(_)) => {}
        }
        world.watch.pairs[a][b] = pair;
    }

    /// A claim goes out: whatever made the Backup wait, it waited for Active_Down_Interval.
    pub(crate) fn claim_is_due(world: &mut World, index: usize) {
        let now = world.now;
        let node = &mut world.nodes[index];
        let Some((cause, claimed)) = &mut node.tenure else { return };
        let first = !std::mem::replace(claimed, true);
        if first && *cause == Cause::ActiveDown {
            let config = &node.config;
            let wait = config.active_down_interval(node.priority, config.interval);
            let (read, heard) = node.knowledge.at_drain;
            if heard != 0 && read < heard + wait.as_nanos() as u64 {
                let waited = read - heard;
                world.watch.fail(now, format!("{index} waited only {waited} ns of {wait:?}"));
            }
        }
    }
}

/// Until when two may attract, when the newer one begins to at this moment.
fn allowed(world: &World, older: usize, newer: usize) -> Time {
    let now = world.now;
    let Params { delay, xdp, .. } = world.params;
    let (old, new) = (&world.nodes[older], &world.nodes[newer]);
    if new.beats(old) {
        // Its claim is under way, and ends the older's lease when it arrives.
        return now + delay + xdp;
    }
    let Some(heard) = new.knowledge.waits_since.get(&older) else {
        return old.lease_ends();
    };
    if matches!(new.tenure, Some((Cause::Released, _)))
        && new.knowledge.released_by != Some(older)
    {
        return old.lease_ends();
    }
    // The newer one has missed adverts. They were sent until the older one last renewed.
    let renewed = old.clock.when(old.lease.renewed_at);
    let missed = renewed.saturating_sub(*heard);
    let config = &new.config;
    let skew = config.skew_time(new.priority, config.interval).as_nanos() as Time;
    let down = config.active_down_interval(new.priority, config.interval);
    let whole = down.as_nanos() as Time - skew;
    let delta = whole - config.lease_length().as_nanos() as Time;
    let clocks = down.as_nanos() as Time / 1_000;
    let run_out = now + (missed + clocks).saturating_sub(skew + delta);
    if old.hangs() { run_out } else { run_out.max(now + 2 * delay + xdp + answers(world)) }
}

/// Until when what disturbed an overlap may let it go on.
fn settles(world: &World, a: usize, b: usize, pair: &Pair, overlap: &Overlap) -> Time {
    let Params { delay, xdp, interval, .. } = world.params;
    let window = world.params.work() + delay + xdp;
    if pair.disturbed + window < overlap.since {
        return 0;
    }
    let (winner, loser) = if world.nodes[a].beats(&world.nodes[b]) { (a, b) } else { (b, a) };
    let (winner, loser) = (&world.nodes[winner], &world.nodes[loser]);
    let advert = interval + world.params.work() + delay + xdp;
    match (winner.hangs(), loser.hangs()) {
        // The winner's next advert ends the loser's lease.
        (false, _) => pair.disturbed + advert + delay + answers(world),
        // The loser's next advert after the winner's renewal is stale does.
        (true, false) => pair.disturbed + winner.suspend_after + advert,
        (true, true) => winner.lease_ends().min(loser.lease_ends()),
    }
}

/// How long an Active takes to answer.
fn answers(world: &World) -> Time {
    world.params.work() + 10_000_000
}
