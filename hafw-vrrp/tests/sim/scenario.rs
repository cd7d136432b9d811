//! One seed: nodes start, things go wrong, all is well again, and then one thing happens to the
//! owner alone, of which it is known exactly what must follow.

use std::collections::{BTreeSet, VecDeque};

use hafw_vrrp::{Priority, RouterConfig};

use crate::{
    chaos::Op,
    clock::Time,
    counts::Counts,
    node::Command,
    params::{active_down_interval, skew_time},
    random::Random,
    reconfigure,
    script::Script,
    world::World,
};

/// How long a claim waits for XDP to have run after an advert that was heard (docs/lease.md, "A
/// renewal").
const CLAIM_PAUSE: Time = 1_000_000;

/// What went wrong, and what led to it if that was traced.
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) lines: VecDeque<String>,
    /// What was played, to repeat parts of it.
    pub(crate) script: Script,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, traced: bool) -> Result<(Counts, VecDeque<String>), Failure> {
    repeat(seed, Script::default(), traced)
}

/// Leaves out what a failure does without, one disturbance after the other. Returns what is left of
/// the run, traced, and how many disturbances of how many that is.
pub(crate) fn shrink(seed: u64, failure: &Failure) -> (Failure, usize, usize) {
    let all = failure.script.disturbances();
    let mut omitted = BTreeSet::new();
    for index in 0..all {
        omitted.insert(index);
        if repeat(seed, failure.script.without(omitted.clone()), false).is_ok() {
            omitted.remove(&index);
        }
    }
    let left = all - omitted.len();
    match repeat(seed, failure.script.without(omitted), true) {
        Err(least) => (least, left, all),
        Ok(_) => unreachable!("the same run failed before"),
    }
}

fn repeat(seed: u64, script: Script, traced: bool) -> Result<(Counts, VecDeque<String>), Failure> {
    let mut world = World::new(seed, script, traced);
    let outcome = play(&mut world);
    let failed = world
        .watch
        .failure
        .take()
        .map(|(at, text)| format!("at {at} ns: {text}"));
    let lines = std::mem::take(&mut world.watch.lines);
    match failed.or(outcome.err()) {
        None => Ok((world.watch.counts, lines)),
        Some(text) => Err(Failure {
            text,
            lines,
            script: world.script,
        }),
    }
}

fn play(world: &mut World) -> Result<(), String> {
    let a = world.params.interval;
    world.calm_at = world.random.between(20, 100) * a;
    for node in 0..world.nodes.len() {
        let at = world.random.between(0, a);
        world.do_at(at, Op::Start(node));
    }
    world.wrong_until(a + world.params.work());
    let first = world.random.between(0, 8 * a);
    world.do_at(first, Op::Next);
    run_to(world, world.calm_at + world.params.work())?;

    settle(world)?;
    let owner = one_owner(world)?;
    neighbours_know(world, owner)?;
    match world.random.index(5) {
        0 => release(world, owner),
        4 => hand_over(world, owner),
        1 => hang(world, owner, false),
        2 => hang(world, owner, true),
        _ => restart(world, owner),
    }
}

/// All is well. Somebody takes over within Active_Down_Interval at the latest, and from then on
/// nobody notices when a better one does.
fn settle(world: &mut World) -> Result<(), String> {
    let a = world.params.interval;
    for node in &mut world.nodes {
        node.stall = None;
    }
    reconfigure::catch_up(world);
    let config = &world.nodes[0].config;
    let start_delay = config.start_delay.as_nanos() as Time;
    let preempt_delay = config.preempt_delay.as_nanos() as Time;
    run_to(
        world,
        world.now + world.params.interval + start_delay + longest_wait(world) + slack(world),
    )?;
    let end = world.now + world.watch.mute() + preempt_delay + longest_wait(world) + 2 * a;
    while world.now < end {
        run_to(world, world.now + a / 10)?;
        if let Some(since) = world.watch.dark_since
            && world.now - since > slack(world)
        {
            return Err(format!("nobody attracts since {since} ns, and all is well"));
        }
    }
    Ok(())
}

fn one_owner(world: &World) -> Result<usize, String> {
    let owners: Vec<usize> = (0..world.nodes.len())
        .filter(|i| world.nodes[*i].attracts(world.now))
        .collect();
    let [owner] = owners[..] else {
        return Err(format!("{owners:?} attract, and all is well"));
    };
    let preempting = world.nodes.iter().all(|node| node.config.preempt);
    let highest = world
        .nodes
        .iter()
        .filter(|n| n.alive())
        .map(|n| n.priority)
        .max();
    if preempting && Some(world.nodes[owner].priority) != highest {
        return Err(format!(
            "{owner} attracts, and does not have the highest priority"
        ));
    }
    Ok(owner)
}

/// Invariant 2: whoever took over since about when all was well, or heard or beat another since, has
/// told the neighbours.
fn neighbours_know(world: &mut World, owner: usize) -> Result<(), String> {
    let node = &world.nodes[owner];
    let Some(engine) = &node.engine else {
        return Ok(());
    };
    let calm = world.calm_at;
    let since = node.clock.when(engine.routers()[0].since().as_nanos());
    let beaten = (0..world.nodes.len()).filter(|i| *i != owner);
    let beaten = beaten.map(|i| world.watch.beaten[i]).max().unwrap_or(0);
    let met = node.knowledge.met.max(beaten);
    if since + 9_000_000_000 < calm && met < calm {
        return Ok(());
    }
    let told = since.max(met).max(calm) + 1_000_000_000 + world.params.interval + slack(world);
    run_to(world, told)?;
    match world.client.cache {
        Some((known, at)) if known == owner && at <= told => Ok(()),
        other => Err(format!(
            "the client sends to {other:?}, and until {told} ns {owner} should have told it"
        )),
    }
}

/// Priority 0: the address moves within Skew_Time.
fn release(world: &mut World, owner: usize) -> Result<(), String> {
    let skew = best(world, owner, skew_time);
    world.command(owner, Command::Stop);
    moves(world, owner, world.params.work() + skew)
}

/// The owner advertises the lowest priority, and stays until another claims: no moment is without an
/// owner. Without one that preempts, nothing happens.
fn hand_over(world: &mut World, owner: usize) -> Result<(), String> {
    let preempting = world.nodes.iter().all(|node| node.config.preempt);
    world.watch.darkness = 0;
    world.command(owner, Command::Priority(Priority::LOWEST.get()));
    let config = &world.nodes[owner].config;
    let delay = config.preempt_delay.as_nanos() as Time;
    let end = world.now + delay + longest_wait(world) + world.params.interval + slack(world);
    run_to(world, end)?;
    // Two Backups may claim in the same moment: the one with precedence begins only when XDP has run
    // after the other's advert.
    let crossing = if world.nodes.len() > 2 {
        CLAIM_PAUSE
    } else {
        0
    };
    if world.watch.darkness > world.params.work() + crossing {
        return Err(format!(
            "dark for {} ns in a handover",
            world.watch.darkness
        ));
    }
    let new = one_owner(world)?;
    let others = world.nodes.iter().enumerate().filter(|(i, _)| *i != owner);
    let lowest = others.map(|(_, node)| node.priority).max() == Some(Priority::LOWEST);
    if preempting && !lowest && new == owner {
        return Err(format!("{owner} still attracts"));
    }
    Ok(())
}

/// The controller is stopped or killed. Watch sees that there are never two owners; the address
/// moves when the lease has run out.
fn hang(world: &mut World, owner: usize, killed: bool) -> Result<(), String> {
    let down = best(world, owner, active_down_interval);
    let node = &mut world.nodes[owner];
    if killed {
        node.lose_controller();
    } else {
        node.stopped = true;
    }
    let overlaps = world.watch.overlaps[owner];
    moves(world, owner, down)?;
    if world.watch.overlaps[owner] != overlaps {
        return Err("an overlap with a controller that hung and lost no advert".to_owned());
    }
    Ok(())
}

/// A controller that comes back within the lease goes on with it: nobody notices.
fn restart(world: &mut World, owner: usize) -> Result<(), String> {
    let (now, a) = (world.now, world.params.interval);
    let ends = world.nodes[owner].lease_ends();
    world.nodes[owner].lose_controller();
    let left = ends - now;
    let after = world
        .random
        .between(0, left.saturating_sub(2 * world.params.work()));
    world.do_at(now + after, Op::Start(owner));
    let end = now + longest_wait(world) + 2 * a;
    while world.now < end {
        run_to(world, world.now + world.params.work())?;
        if !world.nodes[owner].attracts(world.now) {
            return Err(format!("{owner} lost the lease in a restart"));
        }
    }
    Ok(())
}

/// Another than `owner` attracts, no later than `after` from now, and it alone in the end.
fn moves(world: &mut World, owner: usize, after: Time) -> Result<(), String> {
    let deadline = world.now + after + after / 1_000 + slack(world);
    let others: Vec<usize> = (0..world.nodes.len()).filter(|i| *i != owner).collect();
    while !others.iter().any(|i| world.nodes[*i].attracts(world.now)) {
        if world.now > deadline {
            return Err(format!("the address did not move until {deadline} ns"));
        }
        run_to(world, world.now + world.params.work() / 10)?;
    }
    // A lower one may be woken first; a better one then preempts it.
    let delay = world.nodes[0].config.preempt_delay.as_nanos() as Time;
    run_to(
        world,
        world.now + delay + longest_wait(world) + 2 * slack(world),
    )?;
    match one_owner(world) {
        Ok(new) if new == owner => Err(format!("{owner} still attracts")),
        other => other.map(|_| ()),
    }
}

/// The shortest wait of those that can take over.
fn best(world: &World, owner: usize, wait: fn(&RouterConfig, Priority) -> Time) -> Time {
    let others = world.nodes.iter().enumerate().filter(|(i, _)| *i != owner);
    let waits = others.map(|(_, node)| wait(&node.config, node.priority));
    waits.min().unwrap_or(0)
}

/// More than any Active_Down_Interval.
pub(crate) fn longest_wait(world: &World) -> Time {
    let factor = world
        .nodes
        .iter()
        .map(|n| n.config.down_timer_adverts.max(n.file.down_timer_adverts))
        .max()
        .unwrap_or(3);
    (u64::from(factor) + 1) * world.params.interval * 1_001 / 1_000
}

/// A frame, what XDP and a controller do with it, an answer and so on.
pub(crate) fn slack(world: &World) -> Time {
    3 * (world.params.way() + world.params.work()) + 10_000_000
}

fn run_to(world: &mut World, time: Time) -> Result<(), String> {
    world.advance(time);
    match &world.watch.failure {
        None => Ok(()),
        Some((_, text)) => Err(text.clone()),
    }
}

/// Seeds as the default run takes them.
pub(crate) fn seeds(number: u64) -> impl Iterator<Item = u64> {
    // Far apart, and not those that a person would try.
    let mut random = Random::new(0x6861_6677);
    (0..number).map(move |_| random.next() >> 16)
}
