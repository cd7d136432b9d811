//! The state machine of one virtual router.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use hafw_common::lease::wins;

use crate::{
    Action, Auth, Cause, ChecksumForm, Instant, Interval, Priority, Revocation, StateKind,
    Transition, Version, Vrid, announce::Schedule, lease_length, wire::Advertisement,
};

/// What a virtual router is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Virtual router id.
    pub vrid: Vrid,
    /// Version that is spoken and heard.
    pub version: Version,
    /// Priority before tracking.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// n in Active_Down_Interval = n·A + Skew_Time; the RFCs' is 3.
    pub down_timer_adverts: u8,
    /// Preempt_Mode.
    pub preempt: bool,
    /// Where adverts leave from: the interface's primary address.
    pub source: IpAddr,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Version 2's authentication.
    pub auth: Auth,
    /// What a version 3 checksum over IPv4 covers when sending.
    pub checksum: ChecksumForm,
    /// How long what still arrives is served after stepping down.
    pub grace: Duration,
}

/// The state, with the timers that live in it.
///
/// ```text
///                       startup                    Active_Down_Timer
///  Initialize ──────────────────────────> Backup ───────────────────> Active
///    ^   ^                                  ^ ^                        │ │ │
///    │   └── shutdown ──────────────────────┤ └── winning advert, ─────┘ │ │
///    │                                      │     or superseded          │ │
///    └── shutdown (advert of priority 0) ───┼────────────────────────────┘ │
///                        recover            │                              │
///  Fault ───────────────────────────────────┘                              │
///    ^                                                                     │
///    └── fault (advert of priority 0) ─────────────────────────────────────┘
/// ```
/// Startup of an owner (priority 255) goes to Active at once (RFC 9568 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// §6.4.1.
    Initialize,
    /// §6.4.2.
    Backup {
        /// Active_Down_Timer: when it fires, this router takes over.
        active_down_timer: Instant,
        /// Active_Adver_Interval, learnt from the Active.
        active_adver_interval: Interval,
        /// The timer was shortened by an advert of priority 0.
        released: bool,
    },
    /// §6.4.3.
    Active {
        /// Adver_Timer: when it fires, the next advert is due.
        adver_timer: Instant,
    },
    /// See [`StateKind::Fault`].
    Fault,
}

impl State {
    /// Without the timers.
    #[must_use]
    pub const fn kind(self) -> StateKind {
        match self {
            Self::Initialize => StateKind::Initialize,
            Self::Backup { .. } => StateKind::Backup,
            Self::Active { .. } => StateKind::Active,
            Self::Fault => StateKind::Fault,
        }
    }
}

/// The other router that was last heard as Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivePeer {
    /// Source of its adverts.
    pub source: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// When it was heard.
    pub at: Instant,
}

/// One virtual router.
///
/// Every input carries its time; outputs are taken with [`Self::poll_action`] until there are none,
/// and [`Self::poll_timeout`] is asked again after any input.
#[derive(Clone, Debug)]
pub struct VirtualRouter {
    config: RouterConfig,
    priority: Priority,
    state: State,
    since: Instant,
    transitions: u64,
    leased_until: Option<Instant>,
    announcements: Option<Schedule>,
    peer: Option<ActivePeer>,
    actions: VecDeque<Action>,
}

impl VirtualRouter {
    /// In Initialize.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        Self {
            priority: config.priority,
            config,
            state: State::Initialize,
            since: Instant::from_nanos(0),
            transitions: 0,
            leased_until: None,
            announcements: None,
            peer: None,
            actions: VecDeque::new(),
        }
    }

    /// Takes part from now on: as Backup, or as Active if it is the owner (RFC 9568 §6.4.1).
    pub fn startup(&mut self, now: Instant) {
        if self.state == State::Initialize {
            self.begin(now, Cause::Startup);
        }
    }

    /// Goes on as Active with a lease that a former controller left, and that ends at
    /// `lease_ends`. The next advert is due at once.
    pub fn adopt(&mut self, now: Instant, lease_ends: Instant, priority: Priority) {
        self.priority = priority;
        self.leased_until = Some(lease_ends);
        self.announcements = Some(Schedule::resumed(now, self.config.grace));
        self.enter(now, State::Active { adver_timer: now }, Cause::Adopted);
    }

    /// Gives the addresses up, in order.
    pub fn shutdown(&mut self, now: Instant) {
        if self.is_active() {
            self.revoke(Revocation::Orderly {
                grace: self.config.grace,
            });
            self.say(Priority::RELEASE);
        }
        self.enter(now, State::Initialize, Cause::Shutdown);
    }

    /// A check of weight 0 failed, or the link is gone.
    pub fn fault(&mut self, now: Instant) {
        match self.state {
            State::Fault | State::Initialize => {}
            State::Active { .. } => {
                self.revoke(Revocation::Fault {
                    grace: self.config.grace,
                });
                self.say(Priority::RELEASE);
                self.enter(now, State::Fault, Cause::Fault);
            }
            State::Backup { .. } => self.enter(now, State::Fault, Cause::Fault),
        }
    }

    /// The fault is over.
    pub fn recover(&mut self, now: Instant) {
        if self.state == State::Fault {
            self.begin(now, Cause::Recovery);
        }
    }

    /// The priority after tracking. It is what the next advert carries.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// A valid advert for this router arrived at `at`, from another one.
    pub fn handle_advertisement(&mut self, at: Instant, source: IpAddr, advert: &Advertisement) {
        self.heard(at, source, advert.priority, Some(advert.interval));
    }

    /// An advert arrived of which only this much is known: the ring had no room for it.
    pub fn handle_missed(&mut self, at: Instant, source: IpAddr, priority: Priority) {
        self.heard(at, source, priority, None);
    }

    /// Another station claimed one of the addresses in ARP.
    pub fn handle_claim(&mut self, at: Instant) {
        let leased = self.is_leased(at);
        if let Some(announcements) = &mut self.announcements
            && leased
        {
            announcements.met_peer(at, self.config.grace);
        }
    }

    /// Time has come to `now`. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Backup {
                active_down_timer,
                released,
                ..
            } if now >= active_down_timer => {
                let cause = if released {
                    Cause::Released
                } else {
                    Cause::ActiveDown
                };
                self.become_active(now, cause);
            }
            State::Active { adver_timer } => {
                if now >= adver_timer {
                    self.advertise(now, adver_timer);
                }
                let leased = self.is_leased(now);
                if let Some(announcements) = &mut self.announcements
                    && leased
                    && announcements.due().is_some_and(|due| now >= due)
                {
                    announcements.made(now);
                    self.actions.push_back(Action::Announce);
                }
            }
            State::Backup { .. } | State::Initialize | State::Fault => {}
        }
    }

    /// The advert that an [`Action::Advertise`] with `renew` asked for was sent, and the lease is
    /// written from `t` on.
    pub fn advert_sent(&mut self, t: Instant) {
        if !self.is_active() {
            return;
        }
        let first = self.leased_until.is_none();
        self.leased_until = Some(t + self.lease_length());
        if let Some(announcements) = &mut self.announcements
            && first
        {
            announcements.hurry(t);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Initialize | State::Fault => None,
            State::Backup {
                active_down_timer, ..
            } => Some(active_down_timer),
            State::Active { adver_timer } => {
                // Nothing is announced without a lease, so nothing is waited for.
                let leased = self.leased_until.is_some_and(|until| until > adver_timer);
                let announcement = self.announcements.and_then(|a| a.due()).filter(|_| leased);
                Some(announcement.map_or(adver_timer, |due| due.min(adver_timer)))
            }
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The advert with this priority.
    #[must_use]
    pub fn advertisement(&self, priority: Priority) -> Advertisement {
        Advertisement {
            version: self.config.version,
            vrid: self.config.vrid,
            priority,
            interval: self.config.interval,
            auth: self.config.auth,
            addresses: self.config.addresses.clone(),
        }
    }

    /// L of invariant 1.
    #[must_use]
    pub fn lease_length(&self) -> Duration {
        lease_length(self.config.interval, self.config.down_timer_adverts)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the state is Active. Attracting takes a live lease besides.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    /// Whether it is Active and its lease, as far as this side knows, runs at `at`.
    #[must_use]
    pub fn is_leased(&self, at: Instant) -> bool {
        self.is_active() && self.leased_until.is_some_and(|until| at < until)
    }

    /// In this state since.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The effective priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Changes of state so far.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The other router that was last heard.
    #[must_use]
    pub fn peer(&self) -> Option<ActivePeer> {
        self.peer
    }

    /// Skew_Time for the given Active_Adver_Interval: version 2's is a fraction of a second
    /// (RFC 3768 §6.1), version 3's one of the interval (RFC 9568 §6.1).
    #[must_use]
    pub fn skew_time(&self, active_adver_interval: Interval) -> Duration {
        let base = match self.config.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => active_adver_interval.as_duration(),
        };
        base * u32::from(256 - u16::from(self.priority.get())) / 256
    }

    /// Active_Down_Interval for the given Active_Adver_Interval.
    #[must_use]
    pub fn active_down_interval(&self, active_adver_interval: Interval) -> Duration {
        active_adver_interval.as_duration() * u32::from(self.config.down_timer_adverts)
            + self.skew_time(active_adver_interval)
    }

    fn heard(
        &mut self,
        at: Instant,
        source: IpAddr,
        priority: Priority,
        interval: Option<Interval>,
    ) {
        self.peer = Some(ActivePeer {
            source,
            priority,
            at,
        });
        if self.is_active() && !self.is_leased(at) {
            // Somebody took over while our lease had run out: no fight. What follows treats the
            // advert as a Backup does.
            self.revoke(Revocation::Superseded {
                grace: self.config.grace,
            });
            self.become_backup(at, self.config.interval, Cause::Superseded);
        }
        match self.state {
            State::Initialize | State::Fault => {}
            State::Backup {
                active_adver_interval,
                ..
            } => {
                self.heard_as_backup(at, priority, interval, active_adver_interval);
            }
            State::Active { .. } => self.heard_as_active(at, source, priority, interval),
        }
    }

    /// RFC 9568 §6.4.2 (400)-(475).
    fn heard_as_backup(
        &mut self,
        at: Instant,
        priority: Priority,
        interval: Option<Interval>,
        known: Interval,
    ) {
        if priority == Priority::RELEASE {
            self.state = State::Backup {
                active_down_timer: at + self.skew_time(known),
                active_adver_interval: known,
                released: true,
            };
        } else if !self.config.preempt || priority >= self.priority {
            let learnt = self.learn(interval, known);
            self.state = State::Backup {
                active_down_timer: at + self.active_down_interval(learnt),
                active_adver_interval: learnt,
                released: false,
            };
        }
        // A lower one is discarded and the timer left alone: it runs out, and we take over.
    }

    /// RFC 9568 §6.4.3 (700)-(760).
    fn heard_as_active(
        &mut self,
        at: Instant,
        source: IpAddr,
        priority: Priority,
        interval: Option<Interval>,
    ) {
        let own = self.config.source;
        if priority == Priority::RELEASE {
            self.advertise(at, at);
        } else if wins(
            priority.get(),
            &octets(source),
            self.priority.get(),
            &octets(own),
        ) {
            self.revoke(Revocation::Orderly {
                grace: self.config.grace,
            });
            // A last word: the winner learns that neighbours may hold our MAC, and announces.
            self.say(self.priority);
            let learnt = self.learn(interval, self.config.interval);
            self.become_backup(at, learnt, Cause::HigherPriority);
        } else {
            // RFC 9568 §6.4.3 (755): answer a lower one at once. It may have attracted neighbours.
            if let Some(announcements) = &mut self.announcements {
                announcements.met_peer(at, self.config.grace);
            }
            self.advertise(at, at);
        }
    }

    /// Version 3 learns the Active's interval; version 2's equals ours, or the advert was refused.
    fn learn(&self, heard: Option<Interval>, known: Interval) -> Interval {
        match self.config.version {
            Version::V2 => known,
            Version::V3 => heard.unwrap_or(known),
        }
    }

    fn begin(&mut self, now: Instant, cause: Cause) {
        if self.priority == Priority::OWNER {
            self.become_active(now, cause);
        } else {
            self.become_backup(now, self.config.interval, cause);
        }
    }

    /// The claim goes out first; the announcement waits for the lease, see [`Self::advert_sent`].
    fn become_active(&mut self, now: Instant, cause: Cause) {
        self.leased_until = None;
        self.announcements = Some(Schedule::new(now, self.config.grace));
        self.enter(now, State::Active { adver_timer: now }, cause);
        self.advertise(now, now);
    }

    fn become_backup(&mut self, at: Instant, active_adver_interval: Interval, cause: Cause) {
        let state = State::Backup {
            active_down_timer: at + self.active_down_interval(active_adver_interval),
            active_adver_interval,
            released: false,
        };
        self.enter(at, state, cause);
    }

    fn enter(&mut self, now: Instant, state: State, cause: Cause) {
        let (from, to) = (self.state.kind(), state.kind());
        self.state = state;
        if to != StateKind::Active {
            self.leased_until = None;
            self.announcements = None;
        }
        if from != to {
            self.since = now;
            self.transitions += 1;
            self.actions
                .push_back(Action::Transition(Transition { from, to, cause }));
        }
    }

    /// The next advert, and the one after it: an interval after it was due, so that lateness does
    /// not add up, or after now where more than an interval was missed.
    fn advertise(&mut self, now: Instant, due: Instant) {
        let interval = self.config.interval.as_duration();
        let next = due + interval;
        let adver_timer = if next > now { next } else { now + interval };
        self.state = State::Active { adver_timer };
        self.actions.push_back(Action::Advertise {
            priority: self.priority,
            renew: true,
        });
    }

    fn say(&mut self, priority: Priority) {
        self.actions.push_back(Action::Advertise {
            priority,
            renew: false,
        });
    }

    fn revoke(&mut self, revocation: Revocation) {
        // What was queued for the lease that ends now is void.
        self.actions.retain(|action| {
            !matches!(
                action,
                Action::Announce | Action::Advertise { renew: true, .. }
            )
        });
        self.leased_until = None;
        self.actions.push_back(Action::Revoke(revocation));
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}
