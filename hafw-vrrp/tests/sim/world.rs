//! The world: true time, what is to happen in it, and the network between the nodes and a client.
//!
//! A controller's run is not one event. Each of its looks at the world takes a little time, in
//! which the world goes on, other controllers included ([`World::advance`] is re-entered from
//! [`crate::driver`]).

use std::collections::BTreeMap;

use crate::{
    chaos::Op,
    client::Client,
    clock::{Clock, Time},
    node::{How, Node},
    params::Params,
    random::Random,
    script::Script,
    watch::Watch,
    xdp::Advert,
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
pub(crate) enum Happening {
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
    /// Percent of frames that arrive twice.
    pub(crate) duplication: u64,
    /// Percent of adverts that take longer than the longest delay, by far.
    pub(crate) lateness: u64,
    /// Frames overtake each other.
    pub(crate) reorders: bool,
    /// When the last thing that goes wrong will be over, as far as that is known.
    pub(crate) wrong_until: Time,
    /// Until when routers of a group may go by different intervals or factors, because a change of
    /// them is under way.
    pub(crate) mixed_until: Time,
    /// By sender and receiver; the client comes after the nodes.
    pub(crate) cut: Vec<Vec<bool>>,
    /// When the chaos ends.
    pub(crate) calm_at: Time,
    /// Controllers that run at this moment, within each other.
    pub(crate) depth: usize,
    queue: BTreeMap<(Time, u64), Happening>,
    number: u64,
    /// When the link, and XDP behind it, is free again.
    pub(crate) busy: Vec<Vec<Time>>,
    /// What came to a paused machine and waits.
    pub(crate) waiting: Vec<Vec<Happening>>,
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
                let grain = random.pick(&[1, 1, 100, 10_000, 100_000]);
                Node::new(config.clone(), Clock::new(start, ppm, grain))
            })
            .collect();
        let places = nodes.len() + 1;
        let mut world = Self {
            now: 0,
            client: Client::default(),
            watch: Watch::new(nodes.len(), traced),
            loss: 0,
            duplication: 0,
            lateness: 0,
            reorders: false,
            wrong_until: 0,
            mixed_until: 0,
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

    /// Something is wrong until `time`, or not all that came of it is over.
    pub(crate) fn wrong_until(&mut self, time: Time) {
        self.wrong_until = self.wrong_until.max(time);
    }

    /// Whether routers of the group may go by different intervals or factors.
    pub(crate) fn is_mixed(&self) -> bool {
        self.now < self.mixed_until
            || self.nodes.windows(2).any(|pair| {
                let [one, two] = [&pair[0].config, &pair[1].config];
                one.interval != two.interval || one.down_timer_adverts != two.down_timer_adverts
            })
    }

    pub(crate) fn do_at(&mut self, time: Time, op: Op) {
        self.at(time, Happening::Op(op));
    }

    pub(crate) fn at(&mut self, time: Time, happening: Happening) {
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
}
