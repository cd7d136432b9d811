//! Controllers and machines: how they are woken, start, stand still and go on.

use hafw_common::lease::{attracting, wins};
use hafw_vrrp::{Engine, Priority, VirtualRouter};

use crate::{
    chaos::Op,
    clock::Time,
    counts::Met,
    driver::Driver,
    node::{Command, How, Node, octets},
    scenario::longest_wait,
    world::{Happening, World},
};

impl World {
    pub(crate) fn command(&mut self, node: usize, command: Command) {
        self.nodes[node].commands.push_back(command);
        self.rouse(node);
    }

    /// Something came for a controller: it is woken, sooner or later.
    pub(crate) fn rouse(&mut self, node: usize) {
        let due = self.now + self.random.between(0, self.params.lateness);
        self.schedule(node, due);
    }

    fn schedule(&mut self, index: usize, due: Time) {
        let node = &mut self.nodes[index];
        if node.wake.1.is_some_and(|already| already <= due) {
            return;
        }
        node.wake = (node.wake.0 + 1, Some(due));
        let ticket = node.wake.0;
        self.at(
            due,
            Happening::Wake {
                node: index,
                ticket,
            },
        );
    }

    pub(crate) fn wake(&mut self, index: usize, ticket: u64) {
        let node = &mut self.nodes[index];
        if node.wake.0 != ticket {
            return;
        }
        node.wake.1 = None;
        if node.stopped || node.paused.is_some() {
            return;
        }
        let Some(mut engine) = node.engine.take() else {
            return;
        };
        node.running = true;
        self.depth += 1;
        let mut driver = Driver::new(self, index);
        let deadline = driver.run(&mut engine);
        let killed = driver.is_dead();
        self.depth -= 1;
        let node = &mut self.nodes[index];
        node.running = false;
        if killed {
            node.lose_controller();
            return;
        }
        node.engine = Some(engine);
        if let Some(deadline) = deadline {
            let due = node.clock.when(deadline.as_nanos());
            let late = self.random.between(0, self.params.lateness);
            if due != Time::MAX {
                self.schedule(index, due.max(self.now) + late);
            }
        }
        let node = &self.nodes[index];
        if !node.ring.is_empty() || !node.commands.is_empty() {
            self.rouse(index);
        }
    }

    /// A new controller: it goes on with the lease that it finds, or starts as any other.
    pub(crate) fn start(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.running {
            // It is coming to an end.
            let later = now + self.params.interval / 10;
            return self.do_at(later, Op::Start(index));
        }
        if node.engine.is_some() {
            return;
        }
        if node.goes_by_another_interval() {
            self.mixed_until = now + 2 * longest_wait(self);
        }
        let node = &mut self.nodes[index];
        node.read_file();
        node.commands.clear();
        node.overflow_known = node.seen.overflow;
        let adopts = node.attached && inherits(node, node.clock.read(now));
        node.attached = true;
        if adopts {
            node.priority = Priority::from(node.lease.priority as u8);
            node.commands.push_back(Command::Adopt {
                lease_ends: node.lease.attract_until,
                priority: node.lease.priority as u8,
            });
            self.watch.counts.meet(Met::Adopted);
        } else {
            node.lease.attract_until = 0;
            node.lease.priority = node.config.priority.get().into();
            node.priority = node.config.priority;
            node.commands.push_back(Command::Start);
        }
        let router = VirtualRouter::new(node.config.clone());
        node.engine = Some(Engine::new(vec![router]));
        self.trace(|| format!("{index}: starts, adopts: {adopts}"));
        self.rouse(index);
    }

    /// The whole machine stands.
    pub(crate) fn pause_machine(&mut self, index: usize, how: How) {
        let node = &mut self.nodes[index];
        node.paused = Some(how);
        if matches!(
            how,
            How::Paused {
                clock_stops: true,
                ..
            }
        ) {
            node.clock.stop(self.now);
        }
        self.watch.hang(index, self.now);
    }

    /// A paused machine goes on.
    pub(crate) fn resume_machine(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.clock.go_on(now);
        let stood = matches!(
            node.paused.take(),
            Some(How::Paused {
                clock_stops: true,
                ..
            })
        );
        if stood && node.holds_lease(now) {
            self.watch.counts.meet(Met::WokeWithLease);
        }
        let waiting = std::mem::take(&mut self.waiting[index]);
        let in_the_program = |happening: &Happening| {
            matches!(happening, Happening::Push { .. } | Happening::Judge { .. })
        };
        if waiting.iter().any(in_the_program) {
            let renewed = now + self.params.interval + self.params.work();
            self.nodes[index].deceived_until = renewed;
        }
        let mut time = now;
        for happening in waiting {
            self.at(time, happening);
            time += self.params.xdp;
        }
        self.watch.disturb_all(index, now);
        self.rouse(index);
    }
}

/// Invariant 4, as the controller decides it: the lease is live and was not lost, and no winning
/// advert came since it was renewed.
fn inherits(node: &Node, now: u64) -> bool {
    let lease = &node.lease;
    let own = octets(node.config.source);
    let beaten = node.peers.iter().any(|(source, peer)| {
        peer.last_at >= lease.renewed_at
            && wins(
                peer.priority as u8,
                &octets(*source),
                lease.priority as u8,
                &own,
            )
    });
    attracting(
        now,
        lease.renewed_at,
        lease.attract_until,
        node.seen.lost_at,
    ) && !beaten
}
