//! What one seed plays with: the group's configuration, and how slow the world is.

use std::time::Duration;

use hafw_vrrp::{Auth, ChecksumForm, Interval, Priority, RouterConfig, Version, Vrid};

use crate::{clock::Time, random::Random};

pub(crate) struct Params {
    pub(crate) routers: Vec<RouterConfig>,
    /// A, in ns. Where it is changed, the longest so far.
    pub(crate) interval: Time,
    /// The shortest A that the world's delays allow.
    pub(crate) least: Interval,
    /// The shortest A so far.
    pub(crate) shortest: Interval,
    /// The longest one-way delay.
    pub(crate) delay: Time,
    /// How late a controller that is not stopped may be woken.
    pub(crate) lateness: Time,
    /// The longest that a controller takes from one look at the world to the next.
    pub(crate) step: Time,
    /// The longest from a frame's arrival to the end of XDP's judgement.
    pub(crate) xdp: Time,
    /// How many records a ring holds.
    pub(crate) ring: usize,
}

impl Params {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let second = |s| Interval::from_seconds(s).expect("not 0");
        let centiseconds = |cs| Interval::from_centiseconds(cs).expect("in range");
        let (version, interval) = match random.index(5) {
            0 => (Version::V3, centiseconds(1)),
            1 | 2 => (Version::V3, centiseconds(10)),
            3 => (Version::V3, centiseconds(100)),
            _ => (Version::V2, second(1)),
        };
        let a = interval.as_duration().as_nanos() as Time;
        let down_timer_adverts = random.pick(&[3, 3, 3, 2, 5]);
        let preempt = !random.one_in(4);
        let (preempt_delay, start_delay) = delays(random, interval.as_duration());
        let mut priorities: Vec<u8> = vec![150, 100, 50, 200, 120];
        if random.one_in(4) {
            // Equal: the addresses decide.
            priorities = vec![100; 5];
        } else if random.one_in(6) {
            priorities[random.index(2)] = 255;
        }
        let routers = (0..random.between(2, 5) as u8).map(|i| RouterConfig {
            vrid: Vrid::new(51).expect("not 0"),
            version,
            priority: Priority::from(priorities[usize::from(i)]),
            interval,
            down_timer_adverts,
            preempt: preempt || random.one_in(3),
            preempt_delay,
            start_delay,
            source: [10, 0, 0, 5 + i].into(),
            addresses: vec![[10, 0, 0, 3].into()],
            auth: Auth::Pass(*b"1111\0\0\0\0"),
            checksum: ChecksumForm::PseudoHeader,
            grace: Duration::from_secs(60),
        });
        let routers = routers.collect();
        Self {
            routers,
            interval: a,
            least: centiseconds((interval.centiseconds() / 2).max(1)),
            shortest: interval,
            delay: random.pick(&[a / 1000, a / 100, a / 20]),
            lateness: random.pick(&[a / 1000, a / 100, a / 10]),
            step: a / 5_000,
            xdp: random.pick(&[a / 10_000, a / 2_000]).min(900_000),
            ring: random.pick(&[2, 8, 64]),
        }
    }

    /// The longest from when something is sent to when XDP has judged it, behind a few others.
    pub(crate) fn way(&self) -> Time {
        self.delay + 4 * self.xdp
    }

    /// The longest from when a controller that is not stopped is due to when it has done its work.
    pub(crate) fn work(&self) -> Time {
        self.lateness + 300 * self.step
    }
}

/// Those of preemption and start. They are drawn from a copy of the generator, so that they leave the
/// other draws of a seed as they are.
fn delays(random: &Random, interval: Duration) -> (Duration, Duration) {
    let mut random = random.clone();
    if !random.one_in(3) {
        return Default::default();
    }
    (
        interval * random.pick(&[0, 2, 7, 20]),
        interval * random.pick(&[0, 1, 5]),
    )
}

/// n·A, in ns.
pub(crate) fn adverts(config: &RouterConfig) -> Time {
    u64::from(config.interval.centiseconds()) * 10_000_000 * u64::from(config.down_timer_adverts)
}

/// Skew_Time, in ns, by the RFCs rather than by the code.
pub(crate) fn skew_time(config: &RouterConfig, priority: Priority) -> Time {
    let whole = match config.version {
        Version::V2 => 1_000_000_000,
        Version::V3 => u64::from(config.interval.centiseconds()) * 10_000_000,
    };
    whole * (256 - u64::from(priority.get())) / 256
}

/// The least that the router waits, whichever interval it has learnt.
pub(crate) fn shortest_wait(config: &RouterConfig, priority: Priority, shortest: Interval) -> Time {
    let interval = config.interval.min(shortest);
    active_down_interval(
        &RouterConfig {
            interval,
            ..config.clone()
        },
        priority,
    )
}

/// Active_Down_Interval, in ns.
pub(crate) fn active_down_interval(config: &RouterConfig, priority: Priority) -> Time {
    adverts(config) + skew_time(config, priority)
}

/// δ, by which the lease is shorter than n·A, in ns.
pub(crate) fn delta(config: &RouterConfig) -> Time {
    2_000_000 + adverts(config) / 500
}
