//! A controller's run: the engine's world. Each call takes a little time, in which the rest goes on,
//! and in the middle of which the controller can be stopped or killed.

use hafw_common::lease::attracting;
use hafw_vrrp::{
    Cause, Effects, Engine, Event, Instant, Missed, Priority, Refusal, Revocation, StateKind,
    Transition, wire::Advertisement,
};

use crate::{
    chaos::Op,
    counts::Met,
    node::{Command, How, Node},
    watch::Watch,
    world::{Frame, World},
    xdp::Advert,
};

pub(crate) struct Driver<'a> {
    world: &'a mut World,
    index: usize,
    calls: u64,
    dead: bool,
    /// The time last read: does not go on when it is dead, so that the engine comes to an end.
    read: u64,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(world: &'a mut World, index: usize) -> Self {
        Self {
            world,
            index,
            calls: 0,
            dead: false,
            read: 0,
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    pub(crate) fn run(&mut self, engine: &mut Engine) -> Option<Instant> {
        while let Some(command) = self.node().commands.pop_front() {
            self.node().gives_up = command.gives_up();
            match command {
                Command::Start => engine.startup(0, self),
                Command::Adopt {
                    lease_ends,
                    priority,
                } => {
                    engine.adopt(0, Instant::from_nanos(lease_ends), priority.into(), self);
                }
                Command::Priority(priority) => {
                    let node = self.node();
                    node.priority = Priority::from(priority);
                    node.knowledge.heard.clear();
                    engine.set_priority(0, Priority::from(priority));
                }
                Command::Fault => engine.fault(0, self),
                Command::Recover => engine.recover(0, self),
                Command::Stop => {
                    engine.shutdown(self);
                    self.leave();
                }
            }
            self.node().gives_up = false;
        }
        engine.run(self)
    }

    /// The process ends; its programs stay for a little while.
    fn leave(&mut self) {
        if !self.dead {
            self.dead = true;
            let world = &mut *self.world;
            let detached = world.now + world.random.between(0, 4 * world.params.interval);
            world.do_at(detached, Op::Detach(self.index));
        }
    }

    fn node(&mut self) -> &mut Node {
        &mut self.world.nodes[self.index]
    }

    fn linger(&mut self) {
        if self.dead {
            return;
        }
        let world = &mut *self.world;
        let step = if world.random.one_in(20) {
            world.params.step
        } else {
            world.params.step / 10
        };
        let to = world.now + world.random.between(1, step);
        world.advance(to);
        self.calls += 1;
        let Some(stall) = world.nodes[self.index].stall else {
            return;
        };
        // One at a time: a run within another's would hold that up, too.
        if world.depth > 1 || self.calls <= stall.after || world.now >= world.calm_at {
            return;
        }
        self.stall(stall.how, stall.length);
    }

    fn stall(&mut self, how: How, length: u64) {
        let index = self.index;
        let world = &mut *self.world;
        world.nodes[index].stall = None;
        let until = (world.now + length).min(world.calm_at);
        world.wrong_until(until + world.params.work());
        world.trace(|| format!("{index}: {how:?} in the middle, until {until}"));
        world.watch.counts.meet(Met::Stalled);
        if world.is_mixed() {
            // The lease may be longer than the other waited for, and now nobody answers.
            world.watch.hang(index, world.now);
        }
        match how {
            How::Killed => {
                if world.nodes[index].gives_up {
                    world.watch.counts.meet(Met::KilledGivingUp);
                }
                self.dead = true;
                world.nodes[index].running = false;
                world.do_at(until, Op::Start(index));
            }
            How::Stopped => {
                world.nodes[index].stopped = true;
                world.advance(until);
                world.nodes[index].stopped = false;
                world.watch.disturb_all(index, world.now);
            }
            How::Paused { .. } => {
                world.pause_machine(index, how);
                world.advance(until);
                world.resume_machine(index);
            }
        }
    }

    fn local(&mut self) -> u64 {
        let now = self.world.now;
        self.node().clock.read(now)
    }
}

impl Effects for Driver<'_> {
    fn now(&mut self) -> Instant {
        self.linger();
        if !self.dead {
            self.read = self.local();
            let read = self.read;
            let knowledge = &mut self.node().knowledge;
            let heard = knowledge.heard.values().copied().max().unwrap_or(0);
            knowledge.at_drain = (read, heard, knowledge.last);
        }
        Instant::from_nanos(self.read)
    }

    fn next_event(&mut self) -> Option<(usize, Event)> {
        self.linger();
        if self.dead {
            return None;
        }
        self.node().ring.pop_front().map(|event| (0, event))
    }

    fn missed(&mut self, _router: usize) -> Vec<Missed> {
        let dead = self.dead;
        let node = self.node();
        if dead || node.overflow_known == node.seen.overflow {
            return Vec::new();
        }
        node.overflow_known = node.seen.overflow;
        node.peers
            .iter()
            .map(|(source, seen)| Missed {
                at: Instant::from_nanos(seen.last_at),
                source: *source,
                priority: Priority::from(seen.priority as u8),
            })
            .collect()
    }

    fn send(&mut self, _router: usize, advert: &Advertisement) -> bool {
        self.linger();
        let index = self.index;
        if self.dead {
            return false;
        }
        Watch::may_send(self.world, index, advert.priority);
        if self.node().mute {
            return false;
        }
        let node = &self.world.nodes[index];
        let std::net::IpAddr::V4(source) = node.config.source else {
            return false;
        };
        let group = [224, 0, 0, 18].into();
        let message = advert.emit(source.into(), group, node.config.checksum);
        let advert = Advert {
            from: index,
            source: source.octets(),
            message,
            late: false,
        };
        self.world.nodes[index].sent_at = self.world.now;
        self.world.broadcast(index, &Frame::Advert(advert));
        self.linger();
        !self.dead
    }

    fn renew(&mut self, _router: usize, t: Instant, attract_until: Instant, priority: Priority) {
        // Each word is a store of its own, in the order in which the controller writes them.
        self.linger();
        if !self.dead {
            let priority = u64::from(priority.get());
            if self.node().lease.priority != priority {
                let now = self.world.now;
                self.world.watch.disturb_all(self.index, now);
            }
            self.node().lease.priority = priority;
        }
        self.linger();
        if !self.dead {
            self.node().lease.renewed_at = t.as_nanos();
        }
        self.linger();
        if !self.dead {
            self.node().lease.attract_until = attract_until.as_nanos();
            self.node().leased = true;
        }
        self.world.look();
    }

    fn revoke(&mut self, _router: usize, revocation: Revocation, _now: Instant) {
        self.linger();
        if self.dead {
            return;
        }
        self.node().lease.attract_until = 0;
        if matches!(revocation, Revocation::Superseded { .. }) {
            self.world.watch.counts.meet(Met::Superseded);
        }
        self.world.look();
    }

    fn announce(&mut self, _router: usize, now: Instant) {
        self.linger();
        if self.dead || self.node().mute {
            return;
        }
        let (index, world) = (self.index, &mut *self.world);
        let node = &world.nodes[index];
        // As the controller could know it; what XDP did since, the egress program makes good.
        let (lease, lost_at) = (&node.lease, node.seen.lost_at);
        let lost_at = if lost_at >= now.as_nanos() {
            0
        } else {
            lost_at
        };
        let deceived = world.now < node.deceived_until;
        let leased = attracting(
            now.as_nanos(),
            lease.renewed_at,
            lease.attract_until,
            lost_at,
        );
        if !leased && !deceived {
            world
                .watch
                .fail(world.now, format!("{index} announces without a lease"));
        }
        if node.attracts(world.now) {
            world.watch.counts.meet(Met::Announced);
            world.trace(|| format!("{index}: announces"));
            world.broadcast(index, &Frame::GratuitousArp { from: index });
        } else {
            world.watch.counts.meet(Met::AnnouncementDropped);
        }
    }

    fn transition(&mut self, _router: usize, transition: Transition, _now: Instant) {
        if self.dead {
            return;
        }
        let (index, world) = (self.index, &mut *self.world);
        let Transition { from, to, cause } = transition;
        world.trace(|| format!("{index}: {from:?} -> {to:?}: {}", cause.text()));
        let node = &mut world.nodes[index];
        node.tenure = (to == StateKind::Active).then_some((cause, false));
        node.leased = cause == Cause::Adopted;
        if to == StateKind::Active && cause == Cause::ActiveDown {
            world.watch.counts.meet(Met::Takeover);
        }
    }

    fn refused(&mut self, _router: usize, refusal: Refusal) {
        let now = self.world.now;
        self.world
            .watch
            .fail(now, format!("{} refuses an advert: {refusal}", self.index));
    }
}
