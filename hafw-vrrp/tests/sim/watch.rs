//! The invariants, checked after every step of the world, and what was seen on the way.

use std::collections::VecDeque;

use hafw_vrrp::{Cause, Priority};

use crate::{
    clock::Time,
    counts::{Counts, Met},
    params::{active_down_interval, delta, shortest_wait, skew_time},
    scenario::{longest_wait, slack},
    world::World,
};

/// How much of a trace is kept.
const TRACE: usize = 400;

pub(crate) struct Watch {
    pub(crate) failure: Option<(Time, String)>,
    pub(crate) counts: Counts,
    pub(crate) lines: VecDeque<String>,
    traced: bool,
    /// Since when each attracts.
    attracts: Vec<Option<Time>>,
    /// When XDP last ended the lease of each, while its controller could say a last word.
    pub(crate) beaten: Vec<Time>,
    /// How often each attracted with another that heard it.
    pub(crate) overlaps: Vec<u64>,
    /// Since when none does.
    pub(crate) dark_since: Option<Time>,
    /// The longest that none did.
    pub(crate) darkness: Time,
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
            beaten: vec![0; nodes],
            overlaps: vec![0; nodes],
            dark_since: Some(0),
            darkness: 0,
            pairs: vec![vec![Pair::default(); nodes]; nodes],
        }
    }

    pub(crate) fn trace(&mut self, now: Time, line: impl FnOnce() -> String) {
        if self.traced {
            if self.lines.len() == TRACE {
                self.lines.pop_front();
            }
            self.lines
                .push_back(format!("{:>14.6} ms  {}", now as f64 / 1e6, line()));
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
            if self.pairs[node.min(other)][node.max(other)]
                .overlap
                .is_some()
            {
                self.disturb(node, other, now);
            }
        }
    }

    /// How long a node that could not send leaves others alone before it preempts them, if one is.
    pub(crate) fn mute(&self) -> Time {
        if self.counts.of(Met::Muted) == 0 {
            0
        } else {
            10_000_000_000
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
                    world.trace(|| format!("{index}: attracts"));
                }
                (false, true) => {
                    *since = None;
                    let node = &world.nodes[index];
                    if !node.hangs() && node.lease_ends() > now {
                        world.watch.beaten[index] = now;
                    }
                    world.trace(|| format!("{index}: does not attract any more"));
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
            return;
        }
        let since = *watch.dark_since.get_or_insert(now);
        watch.darkness = watch.darkness.max(now - since);
        // Liveness: whatever went wrong before, with that over somebody takes the addresses.
        let sane = since.max(world.wrong_until);
        if now > sane && now - sane > longest_darkness(world) {
            let text =
                format!("nobody attracts since {since} ns, nothing is wrong since {sane} ns");
            world.watch.fail(now, text);
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
                let ended = world.nodes[a]
                    .lease_ends()
                    .min(world.nodes[b].lease_ends())
                    .min(now);
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
                    let (old, new) = (&world.nodes[older], &world.nodes[newer]);
                    let hung = old.hangs() && !new.beats(old);
                    if hung {
                        world.watch.counts.meet(Met::OverlapWithHung);
                    }
                    world.watch.counts.meet(Met::Overlap);
                    world.watch.overlaps[a] += 1;
                    world.watch.overlaps[b] += 1;
                }
                world.trace(|| format!("{older} and {newer} attract, until {until}"));
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

    /// An advert is to go out. If it gives the addresses up, attracting is over. If it claims them, the
    /// Backup has waited for Active_Down_Interval after whatever made it wait.
    pub(crate) fn may_send(world: &mut World, index: usize, priority: Priority) {
        let now = world.now;
        if priority == Priority::RELEASE {
            if world.nodes[index].attracts(now) {
                let text = format!("{index} attracts and gives the address up");
                world.watch.fail(now, text);
            }
            return;
        }
        let left = world
            .nodes
            .iter()
            .any(|other| other.hangs() && other.lease.attract_until != 0 && !other.attracts(now));
        let node = &mut world.nodes[index];
        let Some((cause, claimed)) = &mut node.tenure else {
            return;
        };
        let first = !std::mem::replace(claimed, true);
        let (_, _, last) = node.knowledge.at_drain;
        let ran_out = node.lease.attract_until;
        if !first && node.leased && ran_out != 0 && last >= ran_out {
            let text = format!("{index} renews a lease that had run out when another was heard");
            world.watch.fail(now, text);
            return;
        }
        if first && *cause == Cause::ActiveDown {
            if left {
                world.watch.counts.meet(Met::TakeoverFromHung);
            }
            let config = &node.config;
            let wait = shortest_wait(config, node.priority, world.params.shortest);
            let (read, heard, _) = node.knowledge.at_drain;
            if heard != 0 && read < heard + wait {
                let text = format!("{index} waited only {} ns of {wait}", read - heard);
                world.watch.fail(now, text);
            }
        }
    }
}

/// Until when two may attract, when the newer one begins to at this moment.
fn allowed(world: &World, older: usize, newer: usize) -> Time {
    let now = world.now;
    let way = world.params.way();
    let (old, new) = (&world.nodes[older], &world.nodes[newer]);
    if new.beats(old) {
        // Its claim is under way, and ends the older's lease when it arrives.
        return now + way;
    }
    let Some(heard) = new.knowledge.waits_since.get(&older) else {
        return old.lease_ends();
    };
    if matches!(new.tenure, Some((Cause::Released, _))) && new.knowledge.released_by != Some(older)
    {
        return old.lease_ends();
    }
    // The newer one has missed adverts. They were sent until the older one last renewed.
    let renewed = old.clock.when(old.lease.renewed_at);
    let missed = renewed.saturating_sub(*heard);
    let clocks = active_down_interval(&new.config, new.priority) / 1_000 + 200_000;
    let reserve = skew_time(&new.config, new.priority) + delta(&new.config);
    let run_out = now + (missed + clocks).saturating_sub(reserve);
    if old.hangs() && world.is_mixed() {
        // One may wait for less than the other's lease is made for.
        old.lease_ends()
    } else if old.hangs() {
        // Claims may have crossed, and its own be under way still.
        run_out.max(old.sent_at + way)
    } else {
        run_out.max(now + 2 * way + answers(world))
    }
}

/// Until when what disturbed an overlap may let it go on.
fn settles(world: &World, a: usize, b: usize, pair: &Pair, overlap: &Overlap) -> Time {
    let (way, work) = (world.params.way(), world.params.work());
    let window = work + way;
    if pair.disturbed + window < overlap.since {
        return 0;
    }
    let (winner, loser) = if world.nodes[a].beats(&world.nodes[b]) {
        (a, b)
    } else {
        (b, a)
    };
    let (winner, loser) = (&world.nodes[winner], &world.nodes[loser]);
    let advert = winner.interval().max(loser.interval()) + work + way;
    match (winner.hangs(), loser.hangs()) {
        // The winner's next advert ends the loser's lease.
        (false, _) => pair.disturbed + advert + way + answers(world),
        // The loser's next advert after the winner's renewal is stale does.
        (true, false) => pair.disturbed + winner.suspend_after + advert,
        (true, true) => winner.lease_ends().min(loser.lease_ends()),
    }
}

/// How long nobody may attract although nothing is wrong.
fn longest_darkness(world: &World) -> Time {
    let config = &world.nodes[0].config;
    let delays = config.start_delay + config.preempt_delay;
    delays.as_nanos() as Time + world.watch.mute() + longest_wait(world) + slack(world)
}

/// How long an Active takes to answer: two answers are so far apart, and one that may have lost its
/// lease waits for XDP.
fn answers(world: &World) -> Time {
    world.params.work() + 1_000_000 + (world.params.interval / 10).min(10_000_000)
}
