//! Deadlines in jiffies. Serving is checked for every packet, and reading jiffies64 costs XDP
//! next to nothing (the verifier inlines it), so `serve_until` is written in jiffies.
//!
//! jiffies64 starts at an offset of its own, so pairs of (jiffies64, CLOCK_MONOTONIC) are taken by
//! one run of a BPF program. Both advance with the same timekeeping: a pair stays true.

use std::time::{Duration, Instant};

use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp};
use hafw_vrrp::Instant as Nanos;
use thiserror::Error;

/// The tick rates that kernels are built with (kernel/Kconfig.hz).
const RATES: [u64; 4] = [100, 250, 300, 1000];
/// How long the tick is looked for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no clock.
#[derive(Debug, Error)]
pub enum ClockError {
    /// The program cannot be run.
    #[error("cannot run the clock program: {0}")]
    Run(#[from] ProgramError),
    /// It gave no pair.
    #[error("the clock program returned nothing")]
    NoPair,
    /// jiffies64 does not advance as any kernel's does.
    #[error("jiffies advance by {0:?}, which is no kernel's tick")]
    Tick(Duration),
}

/// Converts CLOCK_MONOTONIC to jiffies64.
#[derive(Clone, Copy, Debug)]
pub struct Jiffies {
    at: u64,
    jiffies: u64,
    tick_ns: u64,
}

impl Jiffies {
    /// Takes a pair, and measures the tick unless it is `known` (ns, not 0). Measuring takes two
    /// ticks, at most 20 ms.
    ///
    /// # Errors
    /// See [`ClockError`].
    pub fn calibrate(program: &Xdp, known: u32) -> Result<Self, ClockError> {
        if known != 0 {
            let (jiffies, at) = pair(program)?;
            return Ok(Self {
                at,
                jiffies,
                tick_ns: known.into(),
            });
        }
        // An edge is seen late when this thread was not running, or several at once: look on
        // until two of them agree with a rate.
        let start = Instant::now();
        let mut before = next_edge(program)?;
        loop {
            let (jiffies, at) = next_edge(program)?;
            let length = (at - before.1) / (jiffies - before.0);
            if let Some(tick_ns) = tick_like(length) {
                return Ok(Self {
                    at,
                    jiffies,
                    tick_ns,
                });
            }
            if start.elapsed() > PATIENCE {
                return Err(ClockError::Tick(Duration::from_nanos(length)));
            }
            before = (jiffies, at);
        }
    }

    /// The tick in ns.
    #[must_use]
    pub fn tick_ns(&self) -> u32 {
        // The longest is 10 ms.
        u32::try_from(self.tick_ns).unwrap_or(u32::MAX)
    }

    /// The jiffy before which `deadline` certainly has not passed: rounded down, less one tick, so
    /// that nothing is served after it.
    #[must_use]
    pub fn before(&self, deadline: Nanos) -> u64 {
        self.of(deadline).saturating_sub(1)
    }

    /// The jiffy that `t` falls into, within one tick.
    #[must_use]
    pub fn of(&self, t: Nanos) -> u64 {
        let t = t.as_nanos();
        if t >= self.at {
            self.jiffies.saturating_add((t - self.at) / self.tick_ns)
        } else {
            self.jiffies
                .saturating_sub((self.at - t).div_ceil(self.tick_ns))
        }
    }

    /// How long a jiffy is away at `now`; zero for one that is over.
    #[must_use]
    pub fn left(&self, jiffy: u64, now: Nanos) -> Duration {
        Duration::from_nanos(
            jiffy
                .saturating_sub(self.of(now))
                .saturating_mul(self.tick_ns),
        )
    }

    /// How long ago a jiffy was at `now`; zero for one to come.
    #[must_use]
    pub fn since(&self, jiffy: u64, now: Nanos) -> Duration {
        Duration::from_nanos(
            self.of(now)
                .saturating_sub(jiffy)
                .saturating_mul(self.tick_ns),
        )
    }
}

/// The tick of the kernel's rates that a measured one must be.
fn tick_like(length: u64) -> Option<u64> {
    let ticks = RATES.iter().map(|rate| 1_000_000_000 / rate);
    ticks
        .into_iter()
        .find(|tick| length.abs_diff(*tick) < tick / 12)
}

/// Waits for jiffies64 to advance; returns the pair just after.
fn next_edge(program: &Xdp) -> Result<(u64, u64), ClockError> {
    let start = Instant::now();
    let (first, _) = pair(program)?;
    loop {
        let (jiffies, at) = pair(program)?;
        if jiffies != first {
            return Ok((jiffies, at));
        }
        if start.elapsed() > PATIENCE {
            return Err(ClockError::Tick(start.elapsed()));
        }
    }
}

/// Runs the program once: it writes the pair over the frame it is given.
fn pair(program: &Xdp) -> Result<(u64, u64), ClockError> {
    let frame = [0u8; 64];
    let mut out = [0u8; 64];
    let options = TestRunOptions {
        data_in: Some(&frame),
        data_out: Some(&mut out),
        ..Default::default()
    };
    program.test_run(options)?;
    let word = |at: usize| -> Result<u64, ClockError> {
        let bytes = out
            .get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .ok_or(ClockError::NoPair)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    match (word(0)?, word(8)?) {
        (_, 0) => Err(ClockError::NoPair),
        pair => Ok(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Jiffies = Jiffies {
        at: 1_000_000_000,
        jiffies: 5_000,
        tick_ns: 4_000_000,
    };

    #[test]
    fn a_deadline_is_never_later_in_jiffies() {
        for ns in [
            1_000_000_000u64,
            1_000_000_001,
            1_003_999_999,
            1_004_000_000,
            999_999_999,
        ] {
            let jiffy = CLOCK.before(Nanos::from_nanos(ns));
            // The jiffy's first instant, exact for this clock.
            let starts = 1_000_000_000i128 + (i128::from(jiffy) - 5_000) * 4_000_000;
            assert!(starts <= i128::from(ns), "{ns}");
        }
    }

    #[test]
    fn a_measured_tick_is_one_of_the_kernels_or_none() {
        assert_eq!(tick_like(4_070_000), Some(4_000_000));
        assert_eq!(tick_like(3_310_000), Some(3_333_333));
        assert_eq!(tick_like(8_141_469), None);
    }

    #[test]
    fn the_age_of_a_jiffy_is_counted_in_ticks() {
        let now = Nanos::from_nanos(1_100_000_000);
        assert_eq!(CLOCK.since(5_000, now), Duration::from_millis(100));
        assert_eq!(CLOCK.since(9_000, now), Duration::ZERO);
        assert_eq!(CLOCK.left(5_050, now), Duration::from_millis(100));
        assert_eq!(CLOCK.left(5_000, now), Duration::ZERO);
    }
}
