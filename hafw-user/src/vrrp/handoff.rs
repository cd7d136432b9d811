//! Who may be in its grace: the peer to which segments of connections that are not ours are
//! handed (invariant 2).
//!
//! A peer is in its grace when it stepped down in order, and it says so: by an advert of priority
//! 0 when it stops, or by the last advert of lower priority that it sends when ours made it step
//! down. The Active that a preemption takes over from lives, and steps down as soon as it hears of
//! it: neighbours may send here before its last advert arrives. A peer that died says nothing, and
//! nothing is handed to it.

use std::time::Duration;

use hafw_vrrp::{Cause, Instant};

/// How long after a priority 0 a takeover is still its consequence: the longest Skew_Time is one
/// advert interval of 40.95 s, but the usual ones are far below a second.
const RELEASE_MEMORY: Duration = Duration::from_secs(5);
/// How many intervals ago an Active that lives was heard at the most. One that died was not heard
/// for `down_timer_adverts` of them.
const LIVING: u32 = 2;

/// One router's memory of the peer that gave it up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handoff {
    last: Option<Last>,
}

/// The last advert of another, while we were not Active.
#[derive(Clone, Copy, Debug)]
struct Last {
    mac: [u8; 6],
    at: Instant,
    released: bool,
}

impl Handoff {
    /// An advert was taken from the ring. Returns the peer that is now in its grace.
    pub(super) fn saw(
        &mut self,
        mac: [u8; 6],
        priority: u8,
        at: Instant,
        active_with: Option<u8>,
    ) -> Option<[u8; 6]> {
        let Some(ours) = active_with else {
            let released = priority == 0;
            self.last = Some(Last { mac, at, released });
            return None;
        };
        (priority <= ours).then_some(mac)
    }

    /// We became Active, with this advertisement interval. Returns the peer that gives the router up.
    pub(super) fn took_over(
        &mut self,
        now: Instant,
        interval: Duration,
        cause: Cause,
    ) -> Option<[u8; 6]> {
        let Last { mac, at, released } = self.last.take()?;
        // Not by an advert: it is in fault, and may not be reached here.
        if cause == Cause::Released && !released {
            return None;
        }
        let memory = if released {
            RELEASE_MEMORY
        } else {
            interval * LIVING
        };
        (now.saturating_duration_since(at) <= memory).then_some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 5];

    const INTERVAL: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_release_names_the_peer_for_the_takeover_that_follows() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 0, ms(0), None), None);
        assert_eq!(
            handoff.took_over(ms(600), INTERVAL, Cause::Released),
            Some(PEER)
        );
        assert_eq!(handoff.took_over(ms(700), INTERVAL, Cause::Released), None);
    }

    #[test]
    fn a_takeover_from_a_silent_peer_hands_nothing_over() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 150, ms(0), None), None);
        assert_eq!(
            handoff.took_over(ms(3_600), INTERVAL, Cause::ActiveDown),
            None
        );
    }

    #[test]
    fn an_active_that_lives_is_in_its_grace_as_soon_as_we_take_over() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 100, ms(3_000), None), None);
        assert_eq!(
            handoff.took_over(ms(3_600), INTERVAL, Cause::ActiveDown),
            Some(PEER)
        );
    }

    #[test]
    fn one_that_told_of_its_fault_over_another_path_is_handed_nothing() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 150, ms(0), None), None);
        assert_eq!(handoff.took_over(ms(40), INTERVAL, Cause::Released), None);
    }

    #[test]
    fn the_last_advert_of_a_lower_router_names_it_at_once() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 100, ms(0), Some(150)), Some(PEER));
    }
}
