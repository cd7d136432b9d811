//! The engine: several routers, and the order in which their world is looked at and changed.
//!
//! One round of [`Engine::run`]: read the time; drain the events; fire the timers that were due at
//! that time; carry the actions out. Again, until nothing is due. Because the events are drained
//! after the time was read and before any timer fires, a thread that was stopped and goes on meets
//! what it missed first, and no advert that arrived before a timer was due is too late for it.
//!
//! For an advert that renews the lease, the time t is read, the events are drained *again*, and only
//! if the router is still Active the advert is sent, and only if it was sent the lease runs from t
//! (invariant 1). XDP ends a lease with a time that it reads after it put the advert into the ring:
//! an advert that this drain did not meet ends the lease later than t, and t does not renew it.
//! (Nor, then, would an advert that was met between the two: [`VirtualRouter::is_held`].)
//!
//! A drain ends when the ring is empty, or with the first event that is younger than the drain
//! itself: a flood of adverts does not keep timers from firing.

mod groups;

use std::{collections::BTreeMap, net::IpAddr};

use hafw_common::counters::Counter;

use self::groups::Groups;
use crate::{
    Action, Cause, Effects, Event, Instant, Priority, Refusal, VirtualRouter, lease::XDP_RUN_TIME,
    wire::Advertisement,
};

/// Several virtual routers.
#[derive(Clone, Debug)]
pub struct Engine {
    routers: Vec<VirtualRouter>,
    groups: Groups,
    /// When the last drain began: what arrived before was met by then.
    drained_at: Instant,
    refused: BTreeMap<(usize, Counter), u64>,
}

impl Engine {
    /// Over routers in Initialize.
    #[must_use]
    pub fn new(routers: Vec<VirtualRouter>) -> Self {
        Self {
            groups: Groups::alone(routers.len()),
            routers,
            drained_at: Instant::from_nanos(0),
            refused: BTreeMap::new(),
        }
    }

    /// Makes these routers a sync group: they move together. A router is in one group at most, and a
    /// group has owners only or none.
    #[must_use]
    pub fn with_group(mut self, routers: &[usize]) -> Self {
        self.groups.join(routers);
        self
    }

    /// The routers of a router's sync group, itself among them.
    #[must_use]
    pub fn group_of(&self, router: usize) -> &[usize] {
        self.groups.with(router)
    }

    /// The routers.
    #[must_use]
    pub fn routers(&self) -> &[VirtualRouter] {
        &self.routers
    }

    /// How many adverts of XDP's were refused here, by router and reason.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<(usize, Counter), u64> {
        &self.refused
    }

    /// Does all that is due, and returns when the next is. To be called then, and whenever there may
    /// be events. Spurious calls do nothing.
    pub fn run(&mut self, effects: &mut impl Effects) -> Option<Instant> {
        loop {
            let now = effects.now();
            self.drain(now, effects);
            self.groups.fire(&mut self.routers, now);
            self.carry_out(effects);
            let deadline = self.groups.deadline(&self.routers);
            if deadline.is_none_or(|deadline| deadline > effects.now()) {
                return deadline;
            }
        }
    }

    /// See [`VirtualRouter::startup`]. A sync group starts with the last of its routers.
    pub fn startup(&mut self, router: usize, effects: &mut impl Effects) {
        if self.groups.start(router) {
            let group = self.groups.with(router).to_vec();
            self.tell(&group, effects, |_, router, now| router.startup(now));
        }
    }

    /// See [`VirtualRouter::adopt`]. Unlike with the other commands, events that wait are not
    /// drained before: the former controller did not meet them, so that this router must.
    pub fn adopt(
        &mut self,
        router: usize,
        lease_ends: Instant,
        priority: Priority,
        effects: &mut impl Effects,
    ) {
        let now = effects.now();
        self.groups.start(router);
        if let Some(router) = self.routers.get_mut(router) {
            router.adopt(now, lease_ends, priority);
        }
        self.carry_out(effects);
    }

    /// See [`VirtualRouter::set_priority`].
    pub fn set_priority(&mut self, router: usize, priority: Priority) {
        if let Some(router) = self.routers.get_mut(router) {
            router.set_priority(priority);
        }
    }

    /// See [`VirtualRouter::set_source`].
    pub fn set_source(&mut self, router: usize, source: IpAddr) {
        if let Some(router) = self.routers.get_mut(router) {
            router.set_source(source);
        }
    }

    /// See [`VirtualRouter::moved`].
    pub fn moved(&mut self, router: usize, effects: &mut impl Effects) {
        self.tell(&[router], effects, |_, router, now| router.moved(now));
    }

    /// See [`VirtualRouter::fault`]. The whole sync group is in fault then.
    pub fn fault(&mut self, router: usize, effects: &mut impl Effects) {
        self.groups.fault(router, true);
        let group = self.groups.with(router).to_vec();
        self.tell(&group, effects, |index, member, now| {
            let cause = if index == router {
                Cause::Fault
            } else {
                Cause::SyncGroup
            };
            member.fault_by(now, cause);
        });
    }

    /// See [`VirtualRouter::recover`]. A sync group recovers with the last of its routers.
    pub fn recover(&mut self, router: usize, effects: &mut impl Effects) {
        if !self.groups.fault(router, false) {
            let group = self.groups.with(router).to_vec();
            self.tell(&group, effects, |_, router, now| router.recover(now));
        }
    }

    /// See [`VirtualRouter::succeed`]. Those of a sync group take over when the last of them would.
    pub fn succeed(
        &mut self,
        router: usize,
        source: IpAddr,
        asked_at: Instant,
        effects: &mut impl Effects,
    ) {
        self.tell(&[router], effects, |_, router, now| {
            router.succeed(now, source, asked_at);
        });
    }

    /// Every router gives its addresses up, in order.
    pub fn shutdown(&mut self, effects: &mut impl Effects) {
        let all: Vec<usize> = (0..self.routers.len()).collect();
        self.tell(&all, effects, |_, router, now| router.shutdown(now));
    }

    fn tell(
        &mut self,
        routers: &[usize],
        effects: &mut impl Effects,
        what: impl Fn(usize, &mut VirtualRouter, Instant),
    ) {
        let before = effects.now();
        self.drain(before, effects);
        // Read again: a timer that the command sets must not begin before what the drain met, and
        // a router that took no part ignored.
        let now = effects.now();
        for index in routers {
            if let Some(router) = self.routers.get_mut(*index) {
                what(*index, router, now);
            }
        }
        self.carry_out(effects);
    }

    /// Meets everything that had arrived at `now`.
    fn drain(&mut self, now: Instant, effects: &mut impl Effects) {
        while let Some((index, event)) = effects.next_event() {
            let at = event.at();
            self.meet(index, event, effects);
            if at > now {
                break;
            }
        }
        for (index, router) in self.routers.iter_mut().enumerate() {
            let mut missed = effects.missed(index);
            // The last advert of a peer that fell silent long ago was met then. One that is met
            // twice changes nothing.
            missed.retain(|missed| missed.at + XDP_RUN_TIME > self.drained_at);
            missed.sort_by_key(|missed| missed.at);
            for missed in missed {
                router.handle_missed(missed.at, missed.source, missed.priority);
            }
        }
        self.drained_at = now;
        self.groups.level(&mut self.routers, now);
    }

    fn meet(&mut self, index: usize, event: Event, effects: &mut impl Effects) {
        let Some(router) = self.routers.get_mut(index) else {
            return;
        };
        match event {
            Event::Advert {
                at,
                source,
                destination,
                message,
            } => {
                let advert = Advertisement::parse(&message, source, destination)
                    .map_err(Refusal::from)
                    .and_then(|advert| router.config().check(source, &advert).map(|()| advert));
                match advert {
                    Ok(advert) => router.handle_advertisement(at, source, &advert),
                    Err(refusal) => {
                        *self.refused.entry((index, refusal.counter())).or_default() += 1;
                        effects.refused(index, refusal);
                    }
                }
            }
            Event::Claim { at } => router.handle_claim(at),
        }
    }

    /// Carries actions out until no router has any. Draining on the way may add some.
    fn carry_out(&mut self, effects: &mut impl Effects) {
        while let Some((index, action)) = self.next_action() {
            match action {
                Action::Advertise { renew: true, .. } => self.renew(index, effects),
                Action::Advertise {
                    priority,
                    renew: false,
                } => {
                    let advert = self.routers[index].advertisement(priority);
                    effects.say(index, &advert);
                }
                Action::Revoke(revocation) => {
                    let now = effects.now();
                    effects.revoke(index, revocation, now);
                }
                Action::Announce => self.announce(index, effects),
                Action::Transition(transition) => {
                    let now = effects.now();
                    effects.transition(index, transition, now);
                }
            }
        }
    }

    fn renew(&mut self, index: usize, effects: &mut impl Effects) {
        let t = effects.now();
        self.drain(t, effects);
        let router = &mut self.routers[index];
        if !router.is_active() || router.is_held() {
            return;
        }
        let priority = router.priority();
        let attract_until = t + router.lease_length();
        if effects.send(index, &router.advertisement(priority)) {
            effects.renew(index, t, attract_until, priority);
            let written = effects.now();
            router.advert_sent(t, written);
        } else {
            router.advert_failed(t);
        }
    }

    /// After conceding nothing is announced: whoever was heard by now is met first.
    fn announce(&mut self, index: usize, effects: &mut impl Effects) {
        let now = effects.now();
        self.drain(now, effects);
        let router = &mut self.routers[index];
        if router.is_leased(now) {
            effects.announce(index, now);
        } else {
            router.announcement_waits();
        }
    }

    fn next_action(&mut self) -> Option<(usize, Action)> {
        self.routers
            .iter_mut()
            .enumerate()
            .find_map(|(index, router)| Some((index, router.poll_action()?)))
    }
}
