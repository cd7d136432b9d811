//! The world: true time, what is to happen in it, and the network between the nodes and a client.
//!
//! A controller's run is not one event. Each of its looks at the world takes a little time, in
//! which the world goes on, other controllers included ([`World::advance`] is re-entered from
//! [`crate::driver`]).

use std::collections::BTreeMap;

use hafw_common::lease::{attracting, wins};
use hafw_vrrp::{Engine, Priority, VirtualRouter};

use crate::{
    chaos::Op,
    client::Client,
    clock::{Clock, Time},
    driver::Driver,
    node::{Command, How, Node, octets},
    params::Params,
    random::Random,
    script::Script,
    watch::{Met, Watch},
    xdp::{self, Advert},
};

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Advert(Advert),
    GratuitousArp {
        from: usize,
    },
    /// The client's who-has, and its answer.
    Request,
    Reply {
        from: usize,
    },
}

#[derive(Debug)]
enum Happening {
    Wake { node: usize, ticket: u64 },
    Arrive { to: usize, frame: Frame },
    Push { to: usize, advert: Advert, at: u64 },
    Judge { to: usize, advert: Advert },
    Op(Op),
    Ask,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) params: Params,
    pub(crate) random: Random,
    pub(crate) script: Script,
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Client,
    pub(crate) watch: Watch,
    /// Percent of frames that are lost.
    pub(crate) loss: u64,
    /// By sender and receiver; the client comes after the nodes.
    pub(crate) cut: Vec<Vec<bool>>,
    /// When the chaos ends.
    pub(crate) calm_at: Time,
    /// Controllers that run at this moment, within each other.
    pub(crate) depth: usize,
    queue: BTreeMap<(Time, u64), Happening>,
    number: u64,
    /// When the link, and XDP behind it, is free again.
    busy: Vec<Vec<Time>>,
    /// What came to a paused machine and waits.
    waiting: Vec<Vec<Happening>>,
}

impl World {
    pub(crate) fn new(seed: u64, script: Script, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let params = Params::draw(&mut random);
        let nodes: Vec<Node> = params
            .routers
            .iter()
            .map(|config| {
                let start = random.between(0, 1_000_000_000_000);
                let ppm = random.between(0, 1_000) as i64 - 500;
                Node::new(config.clone(), Clock::new(start, ppm))
            })
            .collect();
        let places = nodes.len() + 1;
        let mut world = Self {
            now: 0,
            client: Client::default(),
            watch: Watch::new(nodes.len(), traced),
            loss: 0,
            cut: vec![vec![false; places]; places],
            calm_at: 0,
            depth: 0,
            queue: BTreeMap::new(),
            number: 0,
            busy: vec![vec![0; places]; places],
            waiting: nodes.iter().map(|_| Vec::new()).collect(),
            params,
            random,
            script,
            nodes,
        };
        world.at(world.params.interval, Happening::Ask);
        world
    }

    /// Lets the world go on until `to`, or a little longer if a controller runs then.
    pub(crate) fn advance(&mut self, to: Time) {
        while self.watch.failure.is_none()
            && let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= to
        {
            let ((time, _), happening) = entry.remove_entry();
            self.go_to(time);
            self.happen(happening);
            self.look();
        }
        self.go_to(to);
    }

    fn go_to(&mut self, time: Time) {
        if time > self.now {
            self.now = time;
            self.look();
        }
    }

    /// Checks the invariants, as things are now.
    pub(crate) fn look(&mut self) {
        Watch::look(self);
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        self.watch.trace(self.now, line);
    }

    pub(crate) fn do_at(&mut self, time: Time, op: Op) {
        self.at(time, Happening::Op(op));
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.number += 1;
        self.queue
            .insert((time.max(self.now), self.number), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake { node, ticket } => self.wake(node, ticket),
            Happening::Op(op) => op.perform(self),
            Happening::Ask => self.ask(),
            Happening::Arrive { to, ref frame } if to == self.nodes.len() => match *frame {
                Frame::GratuitousArp { from } | Frame::Reply { from } => {
                    self.client.learn(from, self.now);
                }
                Frame::Advert(_) | Frame::Request => {}
            },
            Happening::Arrive { to, .. }
            | Happening::Push { to, .. }
            | Happening::Judge { to, .. } => match self.nodes[to].paused {
                None => self.receive(happening),
                Some(How::Paused {
                    frames_wait: true, ..
                }) => self.waiting[to].push(happening),
                Some(_) => {
                    if let Happening::Arrive {
                        frame: Frame::Advert(advert),
                        ..
                    }
                    | Happening::Push { advert, .. }
                    | Happening::Judge { advert, .. } = happening
                    {
                        self.watch.disturb(advert.from, to, self.now);
                    }
                }
            },
        }
    }

    // ---- the network ----

    pub(crate) fn send(&mut self, from: usize, to: usize, frame: Frame) {
        if from == to {
            return;
        }
        if self.cut[from][to] || self.random.percent(self.loss) {
            if matches!(frame, Frame::Advert(_)) {
                self.watch.disturb(from, to, self.now);
                self.watch.counts.meet(Met::AdvertLost);
            }
            return;
        }
        let time = self.now
            + self
                .random
                .between(self.params.delay / 10, self.params.delay);
        // First in, first out.
        let time = time.max(self.busy[from][to]);
        self.busy[from][to] = time + self.params.xdp;
        self.at(time, Happening::Arrive { to, frame });
    }

    pub(crate) fn broadcast(&mut self, from: usize, frame: &Frame) {
        for to in 0..=self.nodes.len() {
            self.send(from, to, frame.clone());
        }
    }

    fn ask(&mut self) {
        let client = self.nodes.len();
        if self.calm_at != 0 && self.now > self.calm_at {
            // From here on gratuitous ARP alone must lead it to the owner.
            return;
        }
        self.broadcast(client, &Frame::Request);
        let wait = self.random.between(1, 4 * self.params.interval);
        self.at(self.now + wait, Happening::Ask);
    }

    // ---- XDP ----

    fn receive(&mut self, happening: Happening) {
        let step = self.params.xdp / 2;
        let (now, room) = (self.now, self.params.ring);
        match happening {
            Happening::Arrive { to, frame } => {
                let node = &mut self.nodes[to];
                if !node.attached {
                    return;
                }
                let at = node.clock.read(now);
                match frame {
                    Frame::Advert(advert) => {
                        let later = now + self.random.between(1, step);
                        self.at(later, Happening::Push { to, advert, at });
                    }
                    Frame::GratuitousArp { .. } => {
                        if xdp::claim(node, at, room) {
                            self.rouse(to);
                        }
                    }
                    Frame::Request => {
                        if node.attracts(now) {
                            self.send(to, self.nodes.len(), Frame::Reply { from: to });
                        }
                    }
                    Frame::Reply { .. } => {}
                }
            }
            Happening::Push { to, advert, at } => {
                let node = &mut self.nodes[to];
                if !node.attached {
                    return;
                }
                let had_room = xdp::push(node, &advert, at, room);
                if !had_room {
                    self.watch.counts.meet(Met::RingOverflow);
                }
                self.heard(to, &advert, at, had_room);
                self.rouse(to);
                let later = now + self.random.between(1, step);
                self.at(later, Happening::Judge { to, advert });
            }
            Happening::Judge { to, advert } => {
                let node = &mut self.nodes[to];
                let live = node.holds_lease(now);
                let local = node.clock.read(now);
                if node.attached && xdp::judge(node, &advert, local) && live {
                    self.watch.counts.meet(Met::RevokedByXdp);
                    self.trace(|| format!("{to}: XDP ends the lease: {advert:?}"));
                }
            }
            Happening::Wake { .. } | Happening::Op(_) | Happening::Ask => {}
        }
    }

    /// Keeps what the node's controller can know by now.
    fn heard(&mut self, to: usize, advert: &Advert, at: u64, had_room: bool) {
        let now = self.now;
        let node = &mut self.nodes[to];
        let from = advert.from;
        node.knowledge.met = now;
        if node.yields_to(advert.priority()) {
            node.knowledge.heard.insert(from, at);
            node.knowledge.waits_since.insert(from, now);
        } else if !had_room {
            // The peers' table knows the last advert only.
            node.knowledge.heard.remove(&from);
        }
        if advert.priority() == 0 {
            node.knowledge.released_by = Some(from);
        }
    }

    // ---- controllers ----

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

    fn wake(&mut self, index: usize, ticket: u64) {
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
        node.paused = None;
        node.clock.go_on(now);
        let mut time = now;
        for happening in std::mem::take(&mut self.waiting[index]) {
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
