//! What a changed file changes while the group runs. A node whose file has changed restarts within
//! its leases, as after a crash: the new controller goes on with the lease that it finds, if it may.
//!
//! A change of the interval or of the factor is the group's: it goes from node to node. In between,
//! nodes wait by other times than the Active's lease is made for (`docs/lease.md`, Not covered). A
//! change of version 2's interval parts the group until it is complete (RFC 3768 §7.1); that is a
//! partition, and left out.

use hafw_vrrp::{Interval, RouterConfig, Version};

use crate::{chaos::Op, clock::Time, counts::Met, scenario::longest_wait, world::World};

/// What changes in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Preempt(bool),
    Priority(u8),
    /// How many addresses the router has.
    Addresses(u8),
    Interval(Interval),
    Factor(u8),
}

/// One node's file changes, or that of all of them, one after the other.
pub(crate) fn change(world: &mut World, index: usize) {
    let change = draw(world, index);
    let nodes = match change {
        Change::Preempt(_) | Change::Priority(_) | Change::Addresses(_) => index..index + 1,
        Change::Interval(_) | Change::Factor(_) => 0..world.nodes.len(),
    };
    for node in nodes {
        let at = world.now + world.random.between(0, 4 * world.params.interval);
        world.wrong_until(at + longest_wait(world));
        world.do_at(at.min(world.calm_at), Op::Change { node, change });
    }
}

fn draw(world: &mut World, index: usize) -> Change {
    let config = &world.nodes[index].file;
    let (preempt, interval) = (config.preempt, config.interval);
    let learns = config.version == Version::V3;
    match world.random.index(6) {
        0 => Change::Preempt(!preempt),
        1 => Change::Priority(world.random.pick(&[80, 110, 180])),
        2 => Change::Addresses(world.random.between(1, 4) as u8),
        3 | 4 if learns => {
            let (times, by) = world.random.pick(&[(2, 1), (4, 1), (1, 2)]);
            let least = world.params.least.centiseconds();
            let cs = (interval.centiseconds() * times / by).clamp(least, 400);
            Change::Interval(Interval::from_centiseconds(cs).expect("1 to 400"))
        }
        _ => Change::Factor(world.random.pick(&[2, 3, 4])),
    }
}

/// The file of `node` has changed, and it is told to put that into force.
pub(crate) fn perform(world: &mut World, node: usize, change: Change) {
    apply(&mut world.nodes[node].file, change);
    if let Change::Interval(interval) = change {
        let params = &mut world.params;
        params.shortest = params.shortest.min(interval);
        params.interval = params
            .interval
            .max(interval.as_duration().as_nanos() as Time);
    }
    if matches!(change, Change::Interval(_) | Change::Factor(_)) {
        world.mixed_until = world.now + 2 * longest_wait(world);
    }
    let alive = world.nodes[node].engine.is_some() && world.nodes[node].alive();
    if alive {
        world.watch.counts.meet(Met::Reconfigured);
        restart(world, node);
    }
}

fn apply(file: &mut RouterConfig, change: Change) {
    match change {
        Change::Preempt(preempt) => file.preempt = preempt,
        Change::Priority(priority) => file.priority = priority.into(),
        Change::Addresses(number) => {
            file.addresses = (0..number).map(|i| [10, 0, 0, 30 + i].into()).collect();
        }
        Change::Interval(interval) => file.interval = interval,
        Change::Factor(factor) => file.down_timer_adverts = factor,
    }
}

/// `exec`: for a while there is no controller.
fn restart(world: &mut World, node: usize) {
    world.nodes[node].lose_controller();
    // If XDP has just ended its lease, it says no last word: the winner's next round of announcements
    // leads the neighbours, which may be 10 s later.
    world.watch.beaten[node] = 0;
    world.watch.hang(node, world.now);
    let takes = world.random.between(1, world.params.interval);
    world.wrong_until(world.now + takes);
    world.do_at(world.now + takes, Op::Start(node));
}

/// Nodes that could not be told, because they were stopped, are now, and changes that met on their
/// way from node to node are brought into line.
pub(crate) fn catch_up(world: &mut World) {
    let RouterConfig {
        interval,
        down_timer_adverts,
        ..
    } = world.nodes[0].file;
    for node in 0..world.nodes.len() {
        apply(&mut world.nodes[node].file, Change::Interval(interval));
        apply(
            &mut world.nodes[node].file,
            Change::Factor(down_timer_adverts),
        );
        let differs = world.nodes[node].config != world.nodes[node].file;
        if differs && world.nodes[node].engine.is_some() {
            restart(world, node);
        }
    }
}
