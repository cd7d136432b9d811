//! The world of the engine: what comes in, and what it can do.

use std::net::IpAddr;

use crate::{Instant, Priority, Refusal, Revocation, Transition, wire::Advertisement};

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
    /// A foreign claim, in ARP or Neighbor Discovery, of one of the router's addresses.
    Claim {
        /// When XDP saw it.
        at: Instant,
    },
}

impl Event {
    pub(crate) const fn at(&self) -> Instant {
        match self {
            Self::Advert { at, .. } | Self::Claim { at } => *at,
        }
    }
}

/// The last advert of a peer, as XDP remembers it, where the ring may have had no room for it.
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
    /// CLOCK_MONOTONIC, the clock of the events' times.
    fn now(&mut self) -> Instant;
    /// The oldest event that was not taken yet, of any router.
    fn next_event(&mut self) -> Option<(usize, Event)>;
    /// The last advert of each peer of a router, if the ring lost adverts of this router since this
    /// was last asked; otherwise nothing. Peers that were silent since are sorted out by the engine.
    fn missed(&mut self, router: usize) -> Vec<Missed>;
    /// Sends an advert. False if that failed.
    fn send(&mut self, router: usize, advert: &Advertisement) -> bool;
    /// Sends an advert that renews nothing: a priority of 0 or a last word. Another router may own the
    /// addresses already, and the virtual MAC with them.
    fn say(&mut self, router: usize, advert: &Advertisement) {
        self.send(router, advert);
    }
    /// Writes the lease: renewed at `t`, attracting before `attract_until`.
    fn renew(&mut self, router: usize, t: Instant, attract_until: Instant, priority: Priority);
    /// Ends attracting, at once.
    fn revoke(&mut self, router: usize, revocation: Revocation, now: Instant);
    /// Sends gratuitous ARP or an unsolicited Neighbor Advertisement for each address.
    fn announce(&mut self, router: usize, now: Instant);
    /// Tells of a change of state.
    fn transition(&mut self, router: usize, transition: Transition, now: Instant);
    /// Tells of an advert that XDP let pass and that is none for the router. The engine has counted
    /// it.
    fn refused(&mut self, router: usize, refusal: Refusal);
}
