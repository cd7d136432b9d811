//! The engine: several routers and the order in which their world is looked at and changed.
//!
//! One round of [`Engine::run`]: drain the events, fire the timers that are due, carry the actions
//! out; again, until nothing is due. Events are drained before any timer may fire, so that a
//! thread that was stopped and goes on meets what it missed first. For an advert that renews the
//! lease the time is read, the events are drained *again*, and only if the router is still Active
//! the advert is sent, and only if it was sent the lease runs from the time that was read
//! (invariant 1).

use std::net::IpAddr;

use crate::{
    Action, Instant, Priority, Revocation, Transition, VirtualRouter,
    wire::{Advertisement, ParseError},
};

/// What XDP handed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An advert that passed XDP's checks.
    Advert {
        /// When XDP saw it.
        at: Instant,
        /// Source address.
        source: IpAddr,
        /// Destination address.
        destination: IpAddr,
        /// The IP payload.
        message: Vec<u8>,
    },
    /// A foreign ARP claim of one of the router's addresses.
    Claim {
        /// When XDP saw it.
        at: Instant,
    },
}

/// An advert that XDP saw and the ring had no room for: the last of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// When XDP saw it.
    pub at: Instant,
    /// Source address.
    pub source: IpAddr,
    /// Its priority.
    pub priority: Priority,
}

/// The world of the engine. Routers are named by their index.
pub trait Effects {
    /// CLOCK_MONOTONIC.
    fn now(&mut self) -> Instant;
    /// The oldest event that was not taken yet, of any router.
    fn next_event(&mut self) -> Option<(usize, Event)>;
    /// The last advert of each peer of a router, if the ring lost adverts since this was last
    /// asked.
    fn missed(&mut self, router: usize) -> Vec<Missed>;
    /// Sends an advert. False if that failed.
    fn send(&mut self, router: usize, advert: &Advertisement) -> bool;
    /// Writes the lease: renewed at `t`, attracting before `attract_until`.
    fn renew(&mut self, router: usize, t: Instant, attract_until: Instant, priority: Priority);
    /// Ends attracting, at once.
    fn revoke(&mut self, router: usize, revocation: Revocation, now: Instant);
    /// Sends gratuitous ARP for each address.
    fn announce(&mut self, router: usize, now: Instant);
    /// Tells of a change of state.
    fn transition(&mut self, router: usize, transition: Transition, now: Instant);
    /// Tells of an advert that XDP let pass and the parser did not: a defect in one of them.
    fn refused(&mut self, router: usize, error: ParseError);
}

/// Several virtual routers.
#[derive(Clone, Debug)]
pub struct Engine {
    routers: Vec<VirtualRouter>,
}

impl Engine {
    /// Over routers in Initialize.
    #[must_use]
    pub fn new(routers: Vec<VirtualRouter>) -> Self {
        Self { routers }
    }

    /// The routers.
    #[must_use]
    pub fn routers(&self) -> &[VirtualRouter] {
        &self.routers
    }

    /// Does all that is due, and returns when the next is.
    pub fn run(&mut self, effects: &mut impl Effects) -> Option<Instant> {
        loop {
            self.drain(effects);
            let now = effects.now();
            for router in &mut self.routers {
                router.handle_timeout(now);
            }
            self.carry_out(effects);
            let deadline = self
                .routers
                .iter()
                .filter_map(VirtualRouter::poll_timeout)
                .min();
            if deadline.is_none_or(|deadline| deadline > effects.now()) {
                return deadline;
            }
        }
    }

    /// See [`VirtualRouter::startup`].
    pub fn startup(&mut self, router: usize, effects: &mut impl Effects) {
        self.tell(router, effects, VirtualRouter::startup);
    }

    /// See [`VirtualRouter::adopt`].
    pub fn adopt(
        &mut self,
        router: usize,
        lease_ends: Instant,
        priority: Priority,
        effects: &mut impl Effects,
    ) {
        self.tell(router, effects, |r, now| r.adopt(now, lease_ends, priority));
    }

    /// See [`VirtualRouter::set_priority`].
    pub fn set_priority(&mut self, router: usize, priority: Priority) {
        if let Some(router) = self.routers.get_mut(router) {
            router.set_priority(priority);
        }
    }

    /// See [`VirtualRouter::fault`].
    pub fn fault(&mut self, router: usize, effects: &mut impl Effects) {
        self.tell(router, effects, VirtualRouter::fault);
    }

    /// See [`VirtualRouter::recover`].
    pub fn recover(&mut self, router: usize, effects: &mut impl Effects) {
        self.tell(router, effects, VirtualRouter::recover);
    }

    /// Every router gives its addresses up, in order.
    pub fn shutdown(&mut self, effects: &mut impl Effects) {
        for router in 0..self.routers.len() {
            self.tell(router, effects, VirtualRouter::shutdown);
        }
    }

    fn tell(
        &mut self,
        router: usize,
        effects: &mut impl Effects,
        what: impl FnOnce(&mut VirtualRouter, Instant),
    ) {
        self.drain(effects);
        let now = effects.now();
        if let Some(router) = self.routers.get_mut(router) {
            what(router, now);
        }
        self.carry_out(effects);
    }

    fn drain(&mut self, effects: &mut impl Effects) {
        while let Some((index, event)) = effects.next_event() {
            let Some(router) = self.routers.get_mut(index) else {
                continue;
            };
            match event {
                Event::Advert {
                    at,
                    source,
                    destination,
                    message,
                } => match Advertisement::parse(&message, source, destination) {
                    Ok(advert) => router.handle_advertisement(at, source, &advert),
                    Err(error) => effects.refused(index, error),
                },
                Event::Claim { at } => router.handle_claim(at),
            }
        }
        for (index, router) in self.routers.iter_mut().enumerate() {
            for Missed {
                at,
                source,
                priority,
            } in effects.missed(index)
            {
                router.handle_missed(at, source, priority);
            }
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
                    effects.send(index, &advert);
                }
                Action::Revoke(revocation) => {
                    let now = effects.now();
                    effects.revoke(index, revocation, now);
                }
                Action::Announce => {
                    let now = effects.now();
                    if self.routers[index].is_leased(now) {
                        effects.announce(index, now);
                    }
                }
                Action::Transition(transition) => {
                    let now = effects.now();
                    effects.transition(index, transition, now);
                }
            }
        }
    }

    fn renew(&mut self, index: usize, effects: &mut impl Effects) {
        let t = effects.now();
        self.drain(effects);
        let router = &self.routers[index];
        if !router.is_active() {
            return;
        }
        let priority = router.priority();
        let attract_until = t + router.lease_length();
        let advert = router.advertisement(priority);
        if effects.send(index, &advert) {
            effects.renew(index, t, attract_until, priority);
            self.routers[index].advert_sent(t);
        }
    }

    fn next_action(&mut self) -> Option<(usize, Action)> {
        self.routers
            .iter_mut()
            .enumerate()
            .find_map(|(index, router)| Some((index, router.poll_action()?)))
    }
}
