//! The network between the nodes and a client, and what XDP does with what arrives.

use crate::{
    counts::Met,
    world::{Frame, Happening, World},
    xdp::{self, Advert},
};

impl World {
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
        if self.random.percent(self.duplication) {
            self.watch.counts.meet(Met::Duplicated);
            self.deliver(from, to, frame.clone());
        }
        self.deliver(from, to, frame);
    }

    fn deliver(&mut self, from: usize, to: usize, mut frame: Frame) {
        let delay = self.params.delay;
        let time = self.now + self.random.between(delay / 10, delay);
        if let Frame::Advert(advert) = &mut frame
            && self.random.percent(self.lateness)
        {
            // As lost, but that it may mislead whoever it reaches.
            advert.late = true;
            self.watch.disturb(from, to, self.now);
            self.watch.counts.meet(Met::AdvertLate);
            let late = time + self.random.between(1, 3 * self.params.interval);
            return self.at(late.min(self.calm_at), Happening::Arrive { to, frame });
        }
        // First in, first out.
        let free = self.busy[from][to];
        if self.reorders && time < free {
            self.watch.counts.meet(Met::Overtaken);
        }
        let time = if self.reorders { time } else { time.max(free) };
        self.busy[from][to] = free.max(time + self.params.xdp);
        self.at(time, Happening::Arrive { to, frame });
    }

    pub(crate) fn broadcast(&mut self, from: usize, frame: &Frame) {
        for to in 0..=self.nodes.len() {
            self.send(from, to, frame.clone());
        }
    }

    pub(crate) fn ask(&mut self) {
        let client = self.nodes.len();
        if self.calm_at != 0 && self.now > self.calm_at {
            // From here on gratuitous ARP alone must lead it to the owner.
            return;
        }
        self.broadcast(client, &Frame::Request);
        let wait = self.random.between(1, 4 * self.params.interval);
        self.at(self.now + wait, Happening::Ask);
    }

    pub(crate) fn receive(&mut self, happening: Happening) {
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
                self.trace(|| {
                    let (from, priority) = (advert.from, advert.priority());
                    format!("{to}: hears {from} of {priority}, room for it: {had_room}")
                });
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
        if advert.priority() != 0 {
            node.knowledge.last = at.max(node.knowledge.last);
        }
        if node.yields_to(advert.priority()) {
            let heard = node.knowledge.heard.entry(from).or_insert(at);
            *heard = at.max(*heard);
            node.knowledge.waits_since.insert(from, now);
        } else if !had_room {
            // The peers' table knows the last advert only.
            node.knowledge.heard.remove(&from);
        }
        if advert.priority() == 0 {
            // A late one is of a tenure that may be long over.
            node.knowledge.released_by = (!advert.late).then_some(from);
        }
        if advert.late {
            self.watch.disturb_all(to, now);
        }
    }
}
