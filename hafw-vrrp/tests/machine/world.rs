//! A world for the engine that keeps a log, in which time stands still but for what is done.

use std::collections::{BTreeMap, VecDeque};

use hafw_vrrp::{
    ChecksumForm, Effects, Event, Instant, Missed, Priority, Refusal, Revocation, Transition,
    wire::Advertisement,
};

use crate::routers::{GROUP, HIGHER_ADDRESS, advert};

/// Each reading of the clock takes one µs, and sending takes five.
#[derive(Default)]
pub(crate) struct World {
    now: u64,
    readings: u32,
    pub(crate) events: VecDeque<(usize, Event)>,
    /// Arrive while the clock is read for the nth time, counted from the last [`Self::at`].
    pub(crate) later: BTreeMap<u32, (usize, Event)>,
    /// The nth reading of the clock comes this late.
    pub(crate) later_by: Option<(u32, Instant)>,
    pub(crate) missed: Vec<Missed>,
    pub(crate) sends_fail: bool,
    /// An event of this kind, with the time of each asking, without end.
    pub(crate) flood: Option<fn(Instant) -> (usize, Event)>,
    log: Vec<String>,
}

impl World {
    /// Time has come to this.
    pub(crate) fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now.as_nanos();
        self.readings = 0;
        self
    }

    /// What was done since it was last looked at.
    pub(crate) fn log(&mut self) -> String {
        std::mem::take(&mut self.log).join(", ")
    }

    fn note(&mut self, router: usize, what: &str) {
        self.log.push(format!("{router} {what}"));
    }
}

/// An advert from the higher address.
pub(crate) fn heard(at: Instant, priority: u8) -> Event {
    heard_as(at, &advert(priority))
}

pub(crate) fn heard_as(at: Instant, advert: &Advertisement) -> Event {
    Event::Advert {
        at,
        source: HIGHER_ADDRESS,
        destination: GROUP,
        message: advert.emit(HIGHER_ADDRESS, GROUP, ChecksumForm::Message),
    }
}

impl Effects for World {
    fn now(&mut self) -> Instant {
        self.readings += 1;
        if let Some(event) = self.later.remove(&self.readings) {
            self.events.push_back(event);
        }
        self.now += 1_000;
        if let Some((reading, late)) = self.later_by
            && reading == self.readings
        {
            self.now = late.as_nanos();
        }
        Instant::from_nanos(self.now)
    }

    fn next_event(&mut self) -> Option<(usize, Event)> {
        if let Some(flood) = self.flood {
            self.now += 1_000;
            return Some(flood(Instant::from_nanos(self.now)));
        }
        self.events.pop_front()
    }

    fn missed(&mut self, router: usize) -> Vec<Missed> {
        if router == 0 {
            std::mem::take(&mut self.missed)
        } else {
            Vec::new()
        }
    }

    fn send(&mut self, router: usize, advert: &Advertisement) -> bool {
        self.note(router, &format!("send {}", advert.priority));
        self.now += 5_000;
        !self.sends_fail
    }

    fn renew(&mut self, router: usize, t: Instant, attract_until: Instant, priority: Priority) {
        let length = attract_until.saturating_duration_since(t).as_millis();
        let since = (self.now - t.as_nanos()) / 1_000;
        self.note(
            router,
            &format!("renew {priority} for {length} ms from {since} us ago"),
        );
    }

    fn revoke(&mut self, router: usize, revocation: Revocation, _now: Instant) {
        let kind = match revocation {
            Revocation::Orderly { .. } | Revocation::Preempted { .. } => "revoke",
            Revocation::Fault { .. } => "revoke-fault",
            Revocation::Superseded { .. } => "superseded",
        };
        self.note(router, kind);
    }

    fn announce(&mut self, router: usize, _now: Instant) {
        self.note(router, "announce");
    }

    fn transition(&mut self, router: usize, transition: Transition, _now: Instant) {
        self.note(router, &format!(">{}", transition.to.name()));
    }

    fn refused(&mut self, router: usize, refusal: Refusal) {
        self.note(router, &format!("refused: {refusal}"));
    }
}
