//! One machine: the words and the ring that outlive its controller, and the controller's life.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use hafw_common::{
    lease::{self, Lease, Seen, wins},
    router::PeerSeen,
};
use hafw_vrrp::{Cause, Engine, Event, Priority, RouterConfig};

use crate::clock::{Clock, Time};

/// What its controller is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    Start,
    /// Go on with the lease that a former controller left.
    Adopt {
        lease_ends: u64,
        priority: u8,
    },
    Priority(u8),
    Fault,
    Recover,
    Stop,
}

impl Command {
    /// Whether it ends a tenure.
    pub(crate) const fn gives_up(self) -> bool {
        match self {
            Self::Fault | Self::Stop => true,
            Self::Start | Self::Adopt { .. } | Self::Priority(_) | Self::Recover => false,
        }
    }
}

/// What is to happen to the controller in the middle of its next run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    /// After so many of its calls.
    pub(crate) after: u64,
    pub(crate) how: How,
    pub(crate) length: Time,
}

/// What happens to a controller or its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// SIGSTOP: XDP goes on.
    Stopped,
    /// SIGKILL: XDP goes on.
    Killed,
    /// The whole machine, whose clock goes on or not, and which gets its frames later or not.
    Paused {
        clock_stops: bool,
        frames_wait: bool,
    },
}

pub(crate) struct Node {
    /// What its controller, or the last one, was started with.
    pub(crate) config: RouterConfig,
    /// What its file says: the next controller starts with that.
    pub(crate) file: RouterConfig,
    /// The effective one, as its controller was last told.
    pub(crate) priority: Priority,
    pub(crate) suspend_after: u64,
    pub(crate) clock: Clock,

    /// The XDP program is there.
    pub(crate) attached: bool,
    pub(crate) lease: Lease,
    pub(crate) seen: Seen,
    pub(crate) peers: BTreeMap<IpAddr, PeerSeen>,
    pub(crate) ring: VecDeque<Event>,

    /// None while it runs, and while there is none.
    pub(crate) engine: Option<Engine>,
    pub(crate) running: bool,
    pub(crate) stopped: bool,
    pub(crate) paused: Option<How>,
    /// Its adverts cannot be sent, and it is told so.
    pub(crate) mute: bool,
    pub(crate) commands: VecDeque<Command>,
    /// It is carrying out a command that gives the addresses up.
    pub(crate) gives_up: bool,
    pub(crate) stall: Option<Stall>,
    pub(crate) overflow_known: u64,
    /// The wake-up that counts, and when it is.
    pub(crate) wake: (u64, Option<Time>),
    /// Why it is Active, if it is, and whether it has claimed.
    pub(crate) tenure: Option<(Cause, bool)>,
    /// The lease is one of this tenure.
    pub(crate) leased: bool,
    /// When it last sent an advert.
    pub(crate) sent_at: Time,
    /// It stood in the middle of XDP's program, for longer than the controller can think: until when
    /// it may take a lease for live that XDP has ended.
    pub(crate) deceived_until: Time,
    pub(crate) knowledge: Knowledge,
}

/// What a controller can know of the others, to judge its takeovers.
#[derive(Default)]
pub(crate) struct Knowledge {
    /// By sender: the arrival, by this node's clock, of the last advert that makes it wait, once
    /// that is in the ring or noted.
    pub(crate) heard: BTreeMap<usize, u64>,
    /// The arrival of the last advert of another that claims the addresses.
    pub(crate) last: u64,
    /// The time last read, and the latest of `heard` and `last` as of then.
    pub(crate) at_drain: (u64, u64, u64),
    /// By sender: true time of the last advert that makes this node wait.
    pub(crate) waits_since: BTreeMap<usize, Time>,
    /// True time of the last advert of anybody.
    pub(crate) met: Time,
    /// Who last gave the addresses up.
    pub(crate) released_by: Option<usize>,
}

impl Node {
    pub(crate) fn new(config: RouterConfig, clock: Clock) -> Self {
        Self {
            priority: config.priority,
            suspend_after: suspend_after(&config),
            file: config.clone(),
            config,
            clock,
            attached: false,
            lease: Lease::default(),
            seen: Seen::default(),
            peers: BTreeMap::new(),
            ring: VecDeque::new(),
            engine: None,
            running: false,
            stopped: false,
            paused: None,
            mute: false,
            commands: VecDeque::new(),
            gives_up: false,
            stall: None,
            overflow_known: 0,
            wake: (0, None),
            tenure: None,
            leased: false,
            sent_at: 0,
            deceived_until: 0,
            knowledge: Knowledge::default(),
        }
    }

    /// Whether it answers ARP for the addresses.
    pub(crate) fn attracts(&self, now: Time) -> bool {
        self.attached && self.paused.is_none() && self.holds_lease(now)
    }

    pub(crate) fn holds_lease(&self, now: Time) -> bool {
        let Lease {
            renewed_at,
            attract_until,
            ..
        } = self.lease;
        lease::attracting(
            self.clock.read(now),
            renewed_at,
            attract_until,
            self.seen.lost_at,
        )
    }

    /// When its lease runs out, if it is not lost before.
    pub(crate) fn lease_ends(&self) -> Time {
        self.clock.when(self.lease.attract_until)
    }

    pub(crate) fn alive(&self) -> bool {
        (self.engine.is_some() || self.running) && !self.stopped && self.paused.is_none()
    }

    /// Whether it cannot renew its lease.
    pub(crate) fn hangs(&self) -> bool {
        !self.alive() || self.mute
    }

    /// Whether its adverts end the lease of the other.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        wins(
            self.lease.priority as u8,
            &octets(self.config.source),
            other.lease.priority as u8,
            &octets(other.config.source),
        )
    }

    /// Whether an advert makes it wait for its sender, as a Backup.
    pub(crate) fn yields_to(&self, priority: u8) -> bool {
        let own = self.priority;
        priority != 0 && (priority >= own.get() || !(self.config.preempt || own == Priority::OWNER))
    }

    /// Whether its file changes how long it waits, or how long its lease is.
    pub(crate) fn goes_by_another_interval(&self) -> bool {
        self.config.interval != self.file.interval
            || self.config.down_timer_adverts != self.file.down_timer_adverts
    }

    /// Takes the file that a new controller starts with, as it tells XDP.
    pub(crate) fn read_file(&mut self) {
        self.config = self.file.clone();
        self.suspend_after = suspend_after(&self.config);
    }

    /// A, in ns.
    pub(crate) fn interval(&self) -> Time {
        self.config.interval.as_duration().as_nanos() as Time
    }

    /// Everything that a reboot loses.
    pub(crate) fn reset(&mut self) {
        self.attached = false;
        self.lease = Lease::default();
        self.seen = Seen::default();
        self.peers.clear();
        self.ring.clear();
        self.lose_controller();
    }

    pub(crate) fn lose_controller(&mut self) {
        self.engine = None;
        self.stopped = false;
        self.commands.clear();
        self.gives_up = false;
        self.tenure = None;
        self.wake.1 = None;
        self.knowledge.heard.clear();
        self.knowledge.last = 0;
    }
}

/// 1.25·A, as the controller tells XDP.
fn suspend_after(config: &RouterConfig) -> u64 {
    let interval = config.interval.as_duration().as_nanos() as u64;
    interval + interval / 4
}

pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}
