//! A node's CLOCK_MONOTONIC: starts anywhere, runs a little too fast or too slow, goes on in steps,
//! and stands while a suspended machine's clock does.

/// ns of the simulation, which no node sees.
pub(crate) type Time = u64;

#[derive(Clone, Copy)]
pub(crate) struct Clock {
    since: Time,
    then: u64,
    /// Parts per million that it runs too fast.
    ppm: i64,
    /// The step in which it goes on, in ns.
    grain: u64,
    stands: bool,
}

impl Clock {
    pub(crate) fn new(start: u64, ppm: i64, grain: u64) -> Self {
        Self {
            since: 0,
            then: start,
            ppm,
            grain,
            stands: false,
        }
    }

    pub(crate) fn read(&self, now: Time) -> u64 {
        let exact = self.exact(now);
        exact - exact % self.grain
    }

    fn exact(&self, now: Time) -> u64 {
        if self.stands {
            return self.then;
        }
        let passed = (now - self.since) as i64;
        self.then
            .strict_add_signed(passed + passed * self.ppm / 1_000_000)
    }

    /// When it first shows `reading` or more, if it goes on as it does. Right to a ppm of a ppm.
    pub(crate) fn when(&self, reading: u64) -> Time {
        let reading = reading.next_multiple_of(self.grain);
        if self.stands && reading > self.then {
            return Time::MAX;
        }
        let passed = reading as i64 - self.then as i64;
        (self.since as i64 + passed - passed * self.ppm / 1_000_000).max(0) as Time
    }

    pub(crate) fn stop(&mut self, now: Time) {
        *self = Self {
            since: now,
            then: self.exact(now),
            stands: true,
            ..*self
        };
    }

    pub(crate) fn go_on(&mut self, now: Time) {
        *self = Self {
            since: now,
            then: self.exact(now),
            stands: false,
            ..*self
        };
    }
}
