//! What goes wrong, and ends.

use hafw_vrrp::Priority;

use crate::{
    clock::Time,
    counts::Met,
    node::{Command, How, Stall},
    reconfigure::{self, Change},
    world::World,
};

/// One thing that goes wrong, or is over.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// The next thing goes wrong.
    Next,
    Start(usize),
    /// The programs of a controller that stopped in order are taken off.
    Detach(usize),
    Loss(u64),
    Duplication(u64),
    Lateness(u64),
    Reorder(bool),
    Cut {
        from: usize,
        to: usize,
        cut: bool,
    },
    Continue(usize),
    Resume(usize),
    Unmute(usize),
    Recover(usize),
    /// A node's file has changed.
    Change {
        node: usize,
        change: Change,
    },
}

impl Op {
    pub(crate) fn perform(self, world: &mut World) {
        world.trace(|| format!("{self:?}"));
        let now = world.now;
        match self {
            Self::Next => next(world),
            Self::Start(node) => {
                world.watch.disturb_all(node, now);
                world.start(node);
            }
            Self::Detach(node) => {
                let node = &mut world.nodes[node];
                if node.engine.is_none() && !node.running {
                    node.reset();
                }
            }
            Self::Loss(percent) => world.loss = percent,
            Self::Duplication(percent) => world.duplication = percent,
            Self::Lateness(percent) => world.lateness = percent,
            Self::Reorder(reorders) => world.reorders = reorders,
            Self::Cut { from, to, cut } => {
                world.cut[from][to] = cut;
                world.watch.disturb(from, to, now);
            }
            Self::Continue(node) => {
                world.nodes[node].stopped = false;
                world.watch.disturb_all(node, now);
                world.rouse(node);
            }
            Self::Resume(node) => world.resume_machine(node),
            Self::Unmute(node) => {
                world.nodes[node].mute = false;
                world.watch.disturb_all(node, now);
            }
            Self::Recover(node) => world.command(node, Command::Recover),
            Self::Change { node, change } => reconfigure::perform(world, node, change),
        }
    }
}

fn next(world: &mut World) {
    let (now, a) = (world.now, world.params.interval);
    if now >= world.calm_at {
        return;
    }
    let happens = world.script.step(&mut world.random);
    let wait = if world.random.one_in(20) {
        // A lull: somebody must own the addresses again.
        world.random.between(10 * a, 20 * a)
    } else {
        world.random.between(a / 10, 4 * a)
    };
    world.do_at(now + wait, Op::Next);
    if !happens {
        return;
    }
    let length = if world.random.one_in(3) {
        world.random.between(1, a)
    } else {
        world.random.between(a, 10 * a)
    };
    let end = (now + length).min(world.calm_at);
    world.wrong_until(end + a / 5 + world.params.work());
    if world.random.one_in(3) {
        network(world, end);
        return;
    }
    let index = world.random.index(world.nodes.len());
    let node = &world.nodes[index];
    let kill_the_stopped = node.stopped && !node.running && world.random.one_in(3);
    if node.engine.is_none() || node.paused.is_some() || node.stopped && !kill_the_stopped {
        return;
    }
    if kill_the_stopped {
        kill(world, index, end);
    } else {
        controller(world, index, end);
    }
}

fn network(world: &mut World, end: Time) {
    let places = world.nodes.len() + 1;
    match world.random.index(7) {
        0 => {
            world.loss = world.random.pick(&[2, 10, 40]);
            world.do_at(end, Op::Loss(0));
        }
        1 => {
            let percent = world.random.pick(&[5, 50]);
            world.duplication = percent;
            world.do_at(end, Op::Duplication(0));
        }
        2 => {
            let percent = world.random.pick(&[2, 20, 60]);
            world.lateness = percent;
            world.do_at(end, Op::Lateness(0));
            let arrived = end + world.params.way() + 3 * world.params.interval;
            world.wrong_until(arrived);
        }
        3 => {
            world.reorders = true;
            world.do_at(end, Op::Reorder(false));
        }
        4 => {
            let (from, to) = (world.random.index(places), world.random.index(places));
            cut(world, from, to, end);
        }
        5 => {
            let side = world.random.next();
            // What heals last shows what the heal does by itself.
            let end = if world.random.one_in(3) {
                world.calm_at
            } else {
                end
            };
            world.wrong_until(end);
            for from in 0..places {
                for to in 0..places {
                    if (side >> from ^ side >> to) & 1 == 1 {
                        cut(world, from, to, end);
                    }
                }
            }
        }
        _ => {
            // Nothing that it sends arrives, or nothing that is sent to it.
            let (one, leaves) = (world.random.index(places), world.random.one_in(2));
            for other in 0..places {
                let (from, to) = if leaves { (one, other) } else { (other, one) };
                cut(world, from, to, end);
            }
        }
    }
}

fn cut(world: &mut World, from: usize, to: usize, end: Time) {
    Op::Cut {
        from,
        to,
        cut: true,
    }
    .perform(world);
    world.do_at(
        end,
        Op::Cut {
            from,
            to,
            cut: false,
        },
    );
}

fn controller(world: &mut World, index: usize, end: Time) {
    let now = world.now;
    let in_the_middle = world.random.one_in(2);
    let paused = How::Paused {
        clock_stops: world.random.one_in(2),
        frames_wait: world.random.one_in(2),
    };
    match world.random.index(12) {
        0..=4 => {
            let how = match world.random.index(5) {
                0 | 1 => How::Stopped,
                2 | 3 => How::Killed,
                _ => paused,
            };
            if in_the_middle {
                let after = world.random.between(0, 25);
                world.nodes[index].stall = Some(Stall {
                    after,
                    how,
                    length: end - now,
                });
                return;
            }
            world.trace(|| format!("{index}: {how:?} until {end}"));
            match how {
                How::Killed => kill(world, index, end),
                How::Stopped => {
                    world.nodes[index].stopped = true;
                    world.watch.hang(index, now);
                    world.do_at(end, Op::Continue(index));
                }
                How::Paused { .. } => {
                    world.pause_machine(index, how);
                    world.do_at(end, Op::Resume(index));
                }
            }
        }
        5 => {
            let priority = world.random.pick(&[1, 90, 100, 110, 160, 254]);
            world.trace(|| format!("{index}: priority {priority}"));
            world.command(index, Command::Priority(priority));
        }
        6 => {
            world.trace(|| format!("{index}: fault until {end}"));
            stop_in_the_middle(world, index);
            world.command(index, Command::Fault);
            world.do_at(end, Op::Recover(index));
        }
        7 => {
            world.trace(|| format!("{index}: mute until {end}"));
            world.nodes[index].mute = true;
            world.watch.hang(index, now);
            world.watch.counts.meet(Met::Muted);
            world.do_at(end, Op::Unmute(index));
        }
        8 => {
            let other = world.random.index(world.nodes.len());
            let (one, two) = (world.nodes[index].priority, world.nodes[other].priority);
            if one == Priority::OWNER || two == Priority::OWNER {
                // There is one owner, and tracking leaves it alone.
                return;
            }
            world.trace(|| format!("{index} and {other} exchange priorities"));
            if one != two {
                world.watch.counts.meet(Met::Crossed);
            }
            world.command(index, Command::Priority(two.get()));
            world.command(other, Command::Priority(one.get()));
        }
        9 | 10 => reconfigure::change(world, index),
        _ => {
            world.trace(|| format!("{index}: stops in order until {end}"));
            stop_in_the_middle(world, index);
            world.command(index, Command::Stop);
            world.do_at(end + world.params.work(), Op::Start(index));
        }
    }
}

/// Sometimes a command is carried out by halves only, for a while.
fn stop_in_the_middle(world: &mut World, index: usize) {
    if world.random.one_in(3) {
        let how = if world.random.one_in(3) {
            How::Killed
        } else {
            How::Stopped
        };
        world.nodes[index].stall = Some(Stall {
            after: world.random.between(0, 12),
            how,
            length: world.random.between(1, 6 * world.params.interval),
        });
    }
}

/// SIGKILL, or the machine goes down and boots again.
fn kill(world: &mut World, index: usize, end: Time) {
    let reboots = world.random.one_in(5);
    world.trace(|| format!("{index}: killed until {end}, reboots: {reboots}"));
    let node = &mut world.nodes[index];
    if reboots {
        node.reset();
    } else {
        node.lose_controller();
    }
    world.watch.hang(index, world.now);
    world.do_at(end, Op::Start(index));
}
