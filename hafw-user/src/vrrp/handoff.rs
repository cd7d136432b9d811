//! Who may be in its grace: the peer to which segments of connections that are not ours are
//! handed (invariant 2).
//!
//! A peer is in its grace when it stepped down in order, and it says so: by an advert of priority
//! 0 when it stops, or by the last advert of lower priority that it sends when ours made it step
//! down. A peer that died says nothing, and nothing is handed to it.

use std::time::Duration;

use hafw_vrrp::Instant;

/// How long after a priority 0 a takeover is still its consequence: the longest Skew_Time is one
/// advert interval of 40.95 s, but the usual ones are far below a second.
const RELEASE_MEMORY: Duration = Duration::from_secs(5);

/// One router's memory of the peer that gave it up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handoff {
    released: Option<([u8; 6], Instant)>,
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
        match (priority, active_with) {
            (0, None) => {
                self.released = Some((mac, at));
                None
            }
            (_, Some(ours)) if priority <= ours => Some(mac),
            _ => None,
        }
    }

    /// We became Active. Returns the peer whose release made us so.
    pub(super) fn took_over(&mut self, at: Instant) -> Option<[u8; 6]> {
        let (mac, released_at) = self.released.take()?;
        (at.saturating_duration_since(released_at) <= RELEASE_MEMORY).then_some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 5];

    fn ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_release_names_the_peer_for_the_takeover_that_follows() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 0, ms(0), None), None);
        assert_eq!(handoff.took_over(ms(600)), Some(PEER));
        assert_eq!(handoff.took_over(ms(700)), None);
    }

    #[test]
    fn a_takeover_from_a_silent_peer_hands_nothing_over() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 150, ms(0), None), None);
        assert_eq!(handoff.took_over(ms(3_600)), None);
    }

    #[test]
    fn the_last_advert_of_a_lower_router_names_it_at_once() {
        let mut handoff = Handoff::default();
        assert_eq!(handoff.saw(PEER, 100, ms(0), Some(150)), Some(PEER));
    }
}
