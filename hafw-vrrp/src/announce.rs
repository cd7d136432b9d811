//! When gratuitous ARP is sent (invariant 2): on becoming Active, once a second for 10 s, then
//! every 10 s while a peer may be in its grace; at once when somebody else claims the addresses;
//! at most ten times a second in all.

use std::time::Duration;

use crate::Instant;

const GAP: Duration = Duration::from_millis(100);
const OFTEN: Duration = Duration::from_secs(1);
const OFTEN_FOR: Duration = Duration::from_secs(10);
const SELDOM: Duration = Duration::from_secs(10);

/// The schedule of one tenure as Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    since: Instant,
    last: Option<Instant>,
    next: Option<Instant>,
    peer_grace_until: Instant,
}

impl Schedule {
    /// Nothing is announced before [`Self::hurry`]. A peer may be in its grace for `grace`.
    pub(crate) fn new(now: Instant, grace: Duration) -> Self {
        Self {
            since: now,
            last: None,
            next: None,
            peer_grace_until: now + grace,
        }
    }

    /// Of a tenure that a former controller began: its announcements were made.
    pub(crate) fn resumed(now: Instant, grace: Duration) -> Self {
        Self {
            next: Some(now + OFTEN),
            ..Self::new(now, grace)
        }
    }

    /// Announce as soon as the rate allows.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| now.max(last + GAP));
        self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
    }

    /// Another router was heard, or claimed an address: it may serve its grace from now on.
    pub(crate) fn met_peer(&mut self, now: Instant, grace: Duration) {
        self.peer_grace_until = self.peer_grace_until.max(now + grace);
        self.hurry(now);
    }

    /// When the next announcement is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// An announcement is made.
    pub(crate) fn made(&mut self, now: Instant) {
        self.last = Some(now);
        let gap = if now < self.since + OFTEN_FOR {
            OFTEN
        } else {
            SELDOM
        };
        let often = now < self.since + OFTEN_FOR;
        self.next = (often || now < self.peer_grace_until).then(|| now + gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn announcements_become_rare_and_end_with_the_peers_grace() {
        let mut schedule = Schedule::new(ms(0), GRACE);
        schedule.hurry(ms(0));
        let mut made = Vec::new();
        while let Some(due) = schedule.due() {
            made.push(due.as_nanos() / 1_000_000_000);
            schedule.made(due);
        }
        assert_eq!(made, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn a_flood_of_claims_is_answered_ten_times_a_second() {
        let mut schedule = Schedule::new(ms(0), GRACE);
        let mut made = 0;
        for t in 0..1_000 {
            schedule.met_peer(ms(t), GRACE);
            if schedule.due().is_some_and(|due| due <= ms(t)) {
                schedule.made(ms(t));
                made += 1;
            }
        }
        assert_eq!(made, 10);
    }
}
