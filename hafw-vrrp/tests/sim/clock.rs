//! A node's CLOCK_MONOTONIC: starts anywhere, runs a little too fast or too slow, and stands while
//! a paused machine's clock does.

/// ns of the simulation, which no node sees.
pub(crate) type Time = u64;

#[derive(Clone, Copy)]
pub(crate) struct Clock {
    since: Time,
    then: u64,
    /// Parts per million that it runs too fast.
    ppm: i64,
    stands: bool,
}

impl Clock {
    pub(crate) fn new(start: u64, ppm: i64) -> Self {
        Self {
            since: 0,
            then: start,
            ppm,
            stands: false,
        }
    }

    pub(crate) fn read(&self, now: Time) -> u64 {
        if self.stands {
            return self.then;
        }
        let passed = (now - self.since) as i64;
        self.then
            .strict_add_signed(passed + passed * self.ppm / 1_000_000)
    }

    /// When it shows `reading`, if it goes on as it does. Right to a ppm of a ppm.
    pub(crate) fn when(&self, reading: u64) -> Time {
        if self.stands && reading > self.then {
            return Time::MAX;
        }
        let passed = reading as i64 - self.then as i64;
        (self.since as i64 + passed - passed * self.ppm / 1_000_000).max(0) as Time
    }

    pub(crate) fn stop(&mut self, now: Time) {
        *self = Self {
            since: now,
            then: self.read(now),
            stands: true,
            ..*self
        };
    }

    pub(crate) fn go_on(&mut self, now: Time) {
        *self = Self {
            since: now,
            then: self.read(now),
            stands: false,
            ..*self
        };
    }
}
