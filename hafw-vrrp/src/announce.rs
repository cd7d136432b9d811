//! When gratuitous ARP is sent (invariant 2): on becoming Active, then once a second for 10 s, then
//! every 10 s while a peer may be in its grace; at once when somebody else claims the addresses; at
//! most ten times a second in all. Never without a lease.

use std::time::Duration;

use crate::Instant;

/// The least time between two announcements.
const GAP: Duration = Duration::from_millis(100);
const OFTEN: Duration = Duration::from_secs(1);
const OFTEN_FOR: Duration = Duration::from_secs(10);
const SELDOM: Duration = Duration::from_secs(10);

/// One router's announcements. They outlive a tenure as Active: the rate is the router's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcements {
    last: Option<Instant>,
    next: Option<Instant>,
    /// One is to be made as soon as there is a lease.
    waits_for_lease: bool,
    often_until: Instant,
    peer_grace_until: Instant,
}

impl Announcements {
    /// Of a router that is not Active.
    pub(crate) fn new() -> Self {
        let start = Instant::from_nanos(0);
        Self {
            last: None,
            next: None,
            waits_for_lease: false,
            often_until: start,
            peer_grace_until: start,
        }
    }

    /// A tenure begins. The first announcement waits for the lease. The peer that was Active may be
    /// in its grace for `grace`.
    pub(crate) fn begin(&mut self, now: Instant, grace: Duration) {
        self.often_until = now + OFTEN_FOR;
        self.peer_grace_until = now + grace;
        self.next = None;
        self.waits_for_lease = true;
    }

    /// A tenure goes on that a former controller began, and announced.
    pub(crate) fn resume(&mut self, now: Instant, grace: Duration) {
        self.begin(now, grace);
        self.waits_for_lease = false;
        self.next = Some(now + OFTEN);
    }

    /// The tenure ends.
    pub(crate) fn end(&mut self) {
        self.next = None;
        self.waits_for_lease = false;
    }

    /// The lease runs, from `t` on.
    pub(crate) fn leased(&mut self, t: Instant) {
        if self.waits_for_lease {
            self.waits_for_lease = false;
            self.hurry(t);
        }
    }

    /// One was due and there was no lease: it is made when there is one again.
    pub(crate) fn without_lease(&mut self) {
        self.next = None;
        self.waits_for_lease = true;
    }

    /// Another router was heard, or claimed an address: neighbours may have been misled, and it may
    /// serve its grace from now on.
    pub(crate) fn met_peer(&mut self, at: Instant, grace: Duration) {
        self.peer_grace_until = self.peer_grace_until.max(at + grace);
        self.hurry(at);
    }

    /// When the next is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// One is made.
    pub(crate) fn made(&mut self, now: Instant) {
        self.last = Some(now);
        self.next = if now < self.often_until {
            Some(now + OFTEN)
        } else if now < self.peer_grace_until {
            Some(now + SELDOM)
        } else {
            None
        };
    }

    /// One is due as soon as may be.
    pub(crate) fn hurry(&mut self, at: Instant) {
        let soonest = self.last.map_or(at, |last| at.max(last + GAP));
        self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn begun() -> Announcements {
        let mut announcements = Announcements::new();
        announcements.begin(ms(0), GRACE);
        announcements.leased(ms(0));
        announcements
    }

    /// The seconds of all announcements that follow if none is late.
    fn follow(announcements: &mut Announcements) -> Vec<u64> {
        let mut made = Vec::new();
        while let Some(due) = announcements.due() {
            made.push(due.as_nanos() / 1_000_000_000);
            announcements.made(due);
        }
        made
    }

    #[test]
    fn announcements_become_rare_and_end_with_the_peers_grace() {
        let made = follow(&mut begun());
        assert_eq!(made, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn a_peer_that_is_met_prolongs_them() {
        let mut announcements = begun();
        follow(&mut announcements);
        announcements.met_peer(ms(100_000), GRACE);
        let made = follow(&mut announcements);
        assert_eq!(made, [100, 110, 120, 130, 140, 150, 160]);
    }

    #[test]
    fn nothing_is_announced_before_the_lease() {
        let mut announcements = Announcements::new();
        announcements.begin(ms(0), GRACE);
        assert_eq!(announcements.due(), None);
        announcements.leased(ms(7));
        assert_eq!(announcements.due(), Some(ms(7)));
        announcements.without_lease();
        assert_eq!(announcements.due(), None);
        announcements.leased(ms(9));
        assert_eq!(announcements.due(), Some(ms(9)));
    }

    #[test]
    fn nothing_is_announced_after_the_tenure() {
        let mut announcements = begun();
        announcements.end();
        announcements.leased(ms(1));
        assert_eq!(announcements.due(), None);
    }

    #[test]
    fn a_flood_of_claims_is_answered_ten_times_a_second_whatever_the_tenures() {
        let mut announcements = begun();
        let mut made = 0;
        for t in 0..1_000 {
            if t % 50 == 0 {
                announcements.end();
                announcements.begin(ms(t), GRACE);
                announcements.leased(ms(t));
            }
            announcements.met_peer(ms(t), GRACE);
            if announcements.due().is_some_and(|due| due <= ms(t)) {
                announcements.made(ms(t));
                made += 1;
            }
        }
        assert_eq!(made, 10);
    }
}
