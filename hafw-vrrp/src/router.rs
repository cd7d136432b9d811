//! The state machine of one virtual router: its life and its timers. What an advert does to it is in
//! [`receive`], what can be asked about it in [`query`].

mod query;
mod receive;
mod state;

use std::{collections::VecDeque, net::IpAddr};

pub use self::state::{ActivePeer, State};
use crate::{
    Action, Cause, Instant, Interval, Priority, Revocation, RouterConfig, StateKind, Transition,
    announce::Announcements, lease::XDP_RUN_TIME,
};

/// One virtual router.
///
/// ```text
///                  startup                     Active_Down_Timer fires
///  ┌────────────┐ ────────> ┌────────┐ ───────────────────────────────────────> ┌────────┐
///  │ Initialize │           │ Backup │      winning advert [revoke, last advert] │ Active │
///  └────────────┘ <──────── └────────┘ <─────────────────────────────────────── └────────┘
///    ^   ^  │      shutdown   │    ^        superseded [revoke]                    ^  │  │
///    │   │  │           fault │    │        heard before the claim is out           │  │  │
///    │   │  │                 v    │ recover                                        │  │  │
///    │   │  │               ┌────────┐       fault [revoke, priority 0]             │  │  │
///    │   └──┼─── shutdown ──│ Fault  │ <────────────────────────────────────────────┼──┘  │
///    │      │               └────────┘                                              │     │
///    │      └──────────────── startup of an owner; adoption of a lease ─────────────┘     │
///    └─────────────────────── shutdown [revoke, priority 0] ──────────────────────────────┘
/// ```
/// In brackets: what is done on the way, in this order. A fault that was reported before startup
/// leads from there to Fault; recovery of an owner leads to Active.
///
/// Every input carries its time. Outputs are taken with [`Self::poll_action`] until there are none,
/// and carried out in their order. [`Self::poll_timeout`] is asked again after any input.
/// [`crate::Engine`] does this.
#[derive(Clone, Debug)]
pub struct VirtualRouter {
    config: RouterConfig,
    priority: Priority,
    /// What the last renewal carried: XDP compares with that.
    advertised: Priority,
    /// When the words of the last renewal had been written.
    written_at: Instant,
    state: State,
    since: Instant,
    transitions: u64,
    /// Something that forbids owning the addresses is wrong.
    faulty: bool,
    /// In Initialize, after startup: when it takes part.
    starts_at: Option<Instant>,
    /// As Backup: from when on an Active of lower priority, which was heard, may be preempted.
    preempts_at: Option<Instant>,
    announcements: Announcements,
    /// When an advert out of turn was last sent.
    answered_at: Option<Instant>,
    /// When sending failed, until it succeeds.
    failed_at: Option<Instant>,
    peer: Option<ActivePeer>,
    actions: VecDeque<Action>,
}

impl VirtualRouter {
    /// In Initialize.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        Self {
            priority: config.priority,
            advertised: config.priority,
            written_at: Instant::from_nanos(0),
            config,
            state: State::Initialize,
            since: Instant::from_nanos(0),
            transitions: 0,
            faulty: false,
            starts_at: None,
            preempts_at: None,
            announcements: Announcements::new(),
            answered_at: None,
            failed_at: None,
            peer: None,
            actions: VecDeque::new(),
        }
    }

    /// Takes part once its start delay is over: as Backup, as Active if it is the owner (RFC 9568
    /// §6.4.1), or in Fault if one was reported. Only in Initialize.
    pub fn startup(&mut self, now: Instant) {
        if self.state != State::Initialize {
            return;
        }
        if self.config.start_delay.is_zero() {
            self.begin(now, Cause::Startup);
        } else {
            self.starts_at.get_or_insert(now + self.config.start_delay);
        }
    }

    /// Goes on as Active with a lease that a former controller left, that ends at `lease_ends` and
    /// was advertised with `priority`. The next advert is due at once. A lease that has ended is
    /// none: then it starts as any other. Only in Initialize.
    pub fn adopt(&mut self, now: Instant, lease_ends: Instant, priority: Priority) {
        if self.state != State::Initialize {
            return;
        }
        self.starts_at = None;
        self.set_priority(priority);
        self.advertised = priority;
        if lease_ends <= now {
            return self.begin(now, Cause::Startup);
        }
        // The lease may have been made for another interval: whoever is heard before the first
        // renewal may have ended it.
        self.written_at = lease_ends;
        self.announcements.resume(now, self.config.grace);
        let state = State::Active {
            adver_timer: now,
            answer_timer: None,
            leased_until: Some(lease_ends),
            doubtful: false,
            waited: false,
        };
        self.enter(now, state, Cause::Adopted);
        if self.faulty {
            self.fault(now);
        }
    }

    /// Gives the addresses up, in order.
    pub fn shutdown(&mut self, now: Instant) {
        if self.is_active() {
            self.revoke(Revocation::Orderly {
                grace: self.config.grace,
            });
            self.say(Priority::RELEASE);
        }
        self.starts_at = None;
        self.enter(now, State::Initialize, Cause::Shutdown);
    }

    /// A check of weight 0 failed, or the link is gone: the addresses must not be owned. Before
    /// startup, the fault is kept for then.
    pub fn fault(&mut self, now: Instant) {
        self.fault_by(now, Cause::Fault);
    }

    pub(crate) fn fault_by(&mut self, now: Instant, cause: Cause) {
        self.faulty = true;
        match self.state {
            State::Fault | State::Initialize => {}
            State::Active { .. } => {
                self.revoke(Revocation::Fault {
                    grace: self.config.grace,
                });
                self.say(Priority::RELEASE);
                self.enter(now, State::Fault, cause);
            }
            State::Backup { .. } => self.enter(now, State::Fault, cause),
        }
    }

    /// Its sync group goes to Backup: an Active gives the addresses up with priority 0, so that they
    /// move within Skew_Time, as those of the router that moved the group do.
    pub(crate) fn stand_down(&mut self, now: Instant) {
        let State::Active { leased_until, .. } = self.state else {
            return;
        };
        if leased_until.is_none() {
            self.void_lease_actions();
        } else {
            self.revoke(Revocation::Orderly {
                grace: self.config.grace,
            });
            self.say(Priority::RELEASE);
        }
        self.become_backup(now, self.config.interval, Cause::SyncGroup);
    }

    /// The fault is over.
    pub fn recover(&mut self, now: Instant) {
        self.faulty = false;
        if self.state == State::Fault {
            self.begin(now, Cause::Recovery);
        }
    }

    /// The priority after tracking. It is what the next advert carries. Priority 0 says something
    /// else and is taken as 1.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority.max(Priority::LOWEST);
        self.reconsider_active();
    }

    /// Adverts leave from this address from now on. Only in Initialize and Fault: to its peers, who
    /// speaks from another address is another router.
    pub fn set_source(&mut self, source: IpAddr) {
        if matches!(self.state, State::Initialize | State::Fault) {
            self.config.source = source;
        }
    }

    /// Neighbours must be told again where the addresses are: the MAC is another.
    pub fn moved(&mut self, now: Instant) {
        if self.is_active() {
            self.announcements.hurry(now);
        }
    }

    /// Another station claimed one of the addresses in ARP.
    pub fn handle_claim(&mut self, at: Instant) {
        if self.is_active() {
            self.announcements.met_peer(at, self.config.grace);
        }
    }

    /// Time has come to `now`. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Initialize if self.starts_at.is_some_and(|at| now >= at) => {
                self.starts_at = None;
                self.begin(now, Cause::Startup);
            }
            // RFC 9568 §6.4.2: the Active_Down_Timer fires.
            State::Backup {
                active_down_timer,
                released_at,
                ..
            } if now >= active_down_timer => {
                let cause = if released_at.is_some() {
                    Cause::Released
                } else {
                    Cause::ActiveDown
                };
                self.become_active(now, cause);
            }
            State::Active {
                adver_timer,
                answer_timer,
                ..
            } => {
                let answers = answer_timer.is_some_and(|due| now >= due);
                if answers {
                    self.answered_at = Some(now);
                    self.has_waited();
                }
                // RFC 9568 §6.4.3: the Adver_Timer fires. An answer restarts it, too.
                if answers || (now >= adver_timer && !self.is_held()) {
                    let due = if answers { now } else { adver_timer };
                    self.advertise(now, due);
                }
                if self.announcements.due().is_some_and(|due| now >= due) {
                    self.announce(now);
                }
            }
            State::Backup { .. } | State::Initialize | State::Fault => {}
        }
    }

    /// The advert that an [`Action::Advertise`] with `renew` asked for was sent, and the lease runs
    /// from `t` on. At `written` its words were: what XDP met before, it judged by the lease before.
    pub fn advert_sent(&mut self, t: Instant, written: Instant) {
        self.failed_at = None;
        self.preempts_at = None;
        self.written_at = written;
        self.advertised = self.priority;
        let until = t + self.config.lease_length();
        let heard = self.peer.map(|peer| peer.at + XDP_RUN_TIME);
        if let State::Active {
            answer_timer,
            leased_until,
            doubtful,
            waited,
            ..
        } = &mut self.state
        {
            // It waited once, and another router was heard again: one more may be needed.
            let again = heard.filter(|done| (*doubtful || leased_until.is_none()) && *done > t);
            if let Some(done) = again {
                answer_timer.get_or_insert(done);
            } else {
                self.announcements.leased(t);
            }
            *doubtful = again.is_some();
            *leased_until = Some(until);
            *waited = false;
        }
    }

    /// That advert could not be sent. The lease, if there is one, runs out unless the next can.
    pub fn advert_failed(&mut self, now: Instant) {
        self.failed_at = Some(now);
        self.preempts_at = None;
        if let State::Active {
            leased_until,
            waited,
            ..
        } = &mut self.state
        {
            leased_until.get_or_insert(now);
            *waited = false;
        }
    }

    /// An [`Action::Announce`] was not carried out: the lease is not certain any more. It is when
    /// there is one again.
    pub fn announcement_waits(&mut self) {
        if self.is_active() {
            self.announcements.without_lease();
        }
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Initialize => self.starts_at,
            State::Fault => None,
            State::Backup {
                active_down_timer, ..
            } => Some(active_down_timer),
            State::Active {
                adver_timer,
                answer_timer,
                ..
            } => {
                let adver_timer = (!self.is_held()).then_some(adver_timer);
                let timers = [adver_timer, answer_timer, self.announcements.due()];
                timers.into_iter().flatten().min()
            }
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn begin(&mut self, now: Instant, cause: Cause) {
        if self.faulty {
            self.enter(now, State::Fault, Cause::Fault);
        } else if self.priority == Priority::OWNER {
            self.become_active(now, cause);
        } else {
            // Not before what was heard while it took no part: this thread may have stood still
            // since `now`, and the Active's adverts of meanwhile were ignored.
            let at = self.peer.map_or(now, |peer| now.max(peer.at));
            self.become_backup(at, self.config.interval, cause);
        }
    }

    /// The claim goes out first, though not before XDP is done with what was heard last; the
    /// announcement waits for the lease, see [`Self::advert_sent`].
    fn become_active(&mut self, now: Instant, cause: Cause) {
        self.announcements.begin(now, self.config.grace);
        let heard = self.peer.map(|peer| peer.at + XDP_RUN_TIME);
        let state = State::Active {
            adver_timer: now,
            answer_timer: heard.filter(|done| *done > now),
            leased_until: None,
            doubtful: false,
            waited: false,
        };
        self.enter(now, state, cause);
        if !self.is_held() {
            self.advertise(now, now);
        }
    }

    fn become_backup(&mut self, at: Instant, active_adver_interval: Interval, cause: Cause) {
        let state = State::Backup {
            active_down_timer: at + self.active_down_interval(active_adver_interval),
            active_adver_interval,
            released_at: None,
        };
        self.enter(at, state, cause);
    }

    fn enter(&mut self, now: Instant, state: State, cause: Cause) {
        let (from, to) = (self.state.kind(), state.kind());
        self.state = state;
        if to != StateKind::Active {
            self.announcements.end();
        }
        if matches!(to, StateKind::Initialize | StateKind::Fault) {
            self.preempts_at = None;
        }
        if from != to {
            self.since = now;
            self.transitions += 1;
            self.actions
                .push_back(Action::Transition(Transition { from, to, cause }));
        }
    }

    /// One advert now, the next an interval after this one was due, so that lateness does not add
    /// up, or after now where more than an interval was missed. It answers whoever was heard.
    fn advertise(&mut self, now: Instant, due: Instant) {
        if let State::Active {
            adver_timer,
            answer_timer,
            ..
        } = &mut self.state
        {
            let interval = self.config.interval.as_duration();
            let next = due + interval;
            *adver_timer = if next > now { next } else { now + interval };
            *answer_timer = None;
            self.actions.push_back(Action::Advertise {
                priority: self.priority,
                renew: true,
            });
        }
    }

    fn has_waited(&mut self) {
        if let State::Active { waited, .. } = &mut self.state {
            *waited = true;
        }
    }

    fn announce(&mut self, now: Instant) {
        if self.is_leased(now) {
            self.announcements.made(now);
            self.actions.push_back(Action::Announce);
        } else {
            self.announcements.without_lease();
        }
    }

    fn say(&mut self, priority: Priority) {
        self.actions.push_back(Action::Advertise {
            priority,
            renew: false,
        });
    }

    fn revoke(&mut self, revocation: Revocation) {
        self.void_lease_actions();
        self.actions.push_back(Action::Revoke(revocation));
    }

    /// What was queued for a lease that is given up is void.
    fn void_lease_actions(&mut self) {
        self.actions.retain(|action| match action {
            Action::Advertise { renew, .. } => !renew,
            Action::Announce => false,
            Action::Revoke(_) | Action::Transition(_) => true,
        });
    }
}
