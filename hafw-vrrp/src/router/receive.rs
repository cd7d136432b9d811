//! What an advert of another router does: RFC 9568 §6.4.2 and §6.4.3 (RFC 3768 the same, but for
//! learning the interval and for answering), and what the lease adds to that.

use std::{net::IpAddr, time::Duration};

use hafw_common::lease::wins;

use super::{ActivePeer, State, VirtualRouter};
use crate::{
    Cause, Instant, Interval, Priority, Revocation, Version, lease::XDP_RUN_TIME,
    wire::Advertisement,
};

/// The least time between two answers, or a tenth of the interval if that is less: an answer to a
/// release must reach the Backups before their Skew_Time is over. Keeps a flood of lower adverts
/// from making us send one.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// How long a router that could not send leaves an Active of lower priority alone. Without it, a
/// node whose adverts do not leave would claim the addresses, be superseded and claim again with
/// each Active_Down_Interval.
const MUTE: Duration = Duration::from_secs(10);

/// An advert, as far as it is known.
#[derive(Clone, Copy)]
struct Heard {
    at: Instant,
    source: IpAddr,
    priority: Priority,
    interval: Option<Interval>,
    /// A later advert was met before this one.
    late: bool,
}

impl VirtualRouter {
    /// An advert that passed [`crate::RouterConfig::check`] arrived at `at`.
    pub fn handle_advertisement(&mut self, at: Instant, source: IpAddr, advert: &Advertisement) {
        self.heard(at, source, advert.priority, Some(advert.interval));
    }

    /// An advert arrived of which only this much is known: the ring had no room for it.
    pub fn handle_missed(&mut self, at: Instant, source: IpAddr, priority: Priority) {
        self.heard(at, source, priority, None);
    }

    /// The router at `source` answered a question of `asked_at`, over another path than adverts
    /// take: it is in fault. Then it does not attract, and cannot before it has recovered and waited
    /// an Active_Down_Interval: a Backup that knows no other Active takes over at once, until one
    /// advert interval before that could be over. Otherwise nothing happens: the timer runs.
    pub fn succeed(&mut self, now: Instant, source: IpAddr, asked_at: Instant) {
        let State::Backup {
            active_adver_interval,
            ..
        } = self.state
        else {
            return;
        };
        let last = self.peer.filter(|peer| peer.source == source);
        let silent = last.is_some_and(|peer| peer.at <= asked_at);
        let intervals = u32::from(self.config.down_timer_adverts).saturating_sub(1);
        let fresh = now < asked_at + active_adver_interval.as_duration() * intervals;
        if silent && fresh {
            self.state = State::Backup {
                active_down_timer: now,
                active_adver_interval,
                released_at: Some(now),
            };
        }
    }

    fn heard(
        &mut self,
        at: Instant,
        source: IpAddr,
        priority: Priority,
        interval: Option<Interval>,
    ) {
        let heard = Heard {
            at,
            source,
            priority,
            interval,
            late: self.peer.is_some_and(|peer| at < peer.at),
        };
        if !heard.late {
            self.peer = Some(ActivePeer {
                source,
                priority,
                at,
            });
        }
        match self.state {
            State::Initialize | State::Fault => {}
            State::Backup { .. } => self.heard_as_backup(&heard),
            State::Active {
                leased_until: None, ..
            } => self.heard_before_the_claim(&heard),
            State::Active {
                leased_until: Some(until),
                ..
            } if at >= until => {
                // Somebody took over while our lease had run out: no fight. From here on this is a
                // Backup, and treats the advert as one.
                self.revoke(Revocation::Superseded {
                    grace: self.config.grace,
                });
                self.become_backup(at, self.config.interval, Cause::Superseded);
                self.heard_as_backup(&heard);
            }
            State::Active { .. } => self.heard_as_active(&heard),
        }
    }

    /// RFC 9568 §6.4.2.
    fn heard_as_backup(&mut self, heard: &Heard) {
        let State::Backup {
            active_down_timer,
            active_adver_interval,
            released_at,
        } = self.state
        else {
            return;
        };
        // What the ring lost is met after what came later.
        let outdated = released_at.is_some_and(|released| heard.at < released);
        if !outdated {
            self.time_preemption(heard);
        }
        if heard.priority == Priority::RELEASE {
            // The Active gives the addresses up: take over after Skew_Time. Not if another router
            // was heard since.
            if !heard.late {
                self.state = State::Backup {
                    active_down_timer: heard.at + self.skew_time(active_adver_interval),
                    active_adver_interval,
                    released_at: Some(heard.at),
                };
            }
        } else if !outdated && self.yields_to(heard.at, heard.priority) {
            // The Active is there: learn its interval and wait a whole Active_Down_Interval.
            let learnt = self.learn(heard.interval, active_adver_interval);
            let timer = heard.at + self.active_down_interval(learnt);
            self.state = State::Backup {
                active_down_timer: if heard.late {
                    timer.max(active_down_timer)
                } else {
                    timer
                },
                active_adver_interval: learnt,
                released_at: None,
            };
        }
        // A lower one is discarded. The timer is left alone: it runs out, and we take over.
    }

    /// The timer has fired, and the claim is not out. It is a Backup still: whatever would have
    /// restarted the timer does so. Otherwise the claim waits until XDP is done with the advert.
    fn heard_before_the_claim(&mut self, heard: &Heard) {
        self.time_preemption(heard);
        if heard.priority != Priority::RELEASE && self.yields_to(heard.at, heard.priority) {
            let learnt = self.learn(heard.interval, self.config.interval);
            self.void_lease_actions();
            self.become_backup(heard.at, learnt, Cause::ActiveHeard);
        } else if let State::Active { answer_timer, .. } = &mut self.state {
            answer_timer.get_or_insert(heard.at + XDP_RUN_TIME);
        }
    }

    /// The preemption delay runs from the first advert of an Active of lower priority, until one
    /// that has precedence is heard.
    fn time_preemption(&mut self, heard: &Heard) {
        if heard.priority == Priority::RELEASE {
            return;
        }
        if heard.priority >= self.priority {
            self.preempts_at = None;
        } else {
            self.preempts_at
                .get_or_insert(heard.at + self.config.preempt_delay);
        }
    }

    /// RFC 9568 §6.4.3.
    fn heard_as_active(&mut self, heard: &Heard) {
        if self.is_beaten(heard, self.priority) {
            self.revoke(Revocation::Preempted {
                grace: self.config.grace,
            });
            // A last word: the winner learns that neighbours may hold our MAC, and announces.
            self.say(self.priority);
            let learnt = self.learn(heard.interval, self.config.interval);
            self.become_backup(heard.at, learnt, Cause::HigherPriority);
        } else {
            // Of priority 0 or lower: answer with an advert at once (for a lower one so since RFC
            // 9568). Either may have attracted neighbours: announce, too.
            self.announcements.met_peer(heard.at, self.config.grace);
            self.answer(heard);
        }
    }

    fn answer(&mut self, heard: &Heard) {
        let at = heard.at;
        // What XDP judged the advert by was not the last renewal, or would not have let it pass.
        // And of those that the ring lost only the last is known: one before it may have won.
        let lost = heard.interval.is_none();
        let unknown = lost || at <= self.written_at || self.is_beaten(heard, self.advertised);
        let (length, interval) = (self.lease_length(), self.config.interval.as_duration());
        let gap = ANSWER_GAP.min(interval / 10);
        let rested = self.answered_at.map_or(at, |last| last + gap);
        if let State::Active {
            answer_timer,
            leased_until,
            doubtful,
            ..
        } = &mut self.state
        {
            // XDP suspends a lease that was renewed longer ago than an interval and some.
            let old = leased_until.is_none_or(|until| at + length > until + interval);
            *doubtful |= old || unknown;
            let renewable = if *doubtful { at + XDP_RUN_TIME } else { at };
            answer_timer.get_or_insert(renewable.max(rested));
        }
    }

    fn is_beaten(&self, heard: &Heard, priority: Priority) -> bool {
        wins(
            heard.priority.get(),
            &octets(heard.source),
            priority.get(),
            &octets(self.config.source),
        )
    }

    /// The priority has changed. An Active that was about to be preempted, and has precedence now,
    /// is waited for: it was heard before it could matter.
    pub(super) fn reconsider_active(&mut self) {
        let Some(peer) = self.peer else { return };
        if let State::Backup {
            active_down_timer,
            active_adver_interval,
            released_at: None,
        } = self.state
            && peer.priority != Priority::RELEASE
            && self.yields_to(peer.at, peer.priority)
        {
            let timer = peer.at + self.active_down_interval(active_adver_interval);
            self.state = State::Backup {
                active_down_timer: timer.max(active_down_timer),
                active_adver_interval,
                released_at: None,
            };
        }
    }

    /// Whether a Backup lets a router of `priority` be Active: by that, where the address does not
    /// matter, or because it does not preempt, or not yet.
    fn yields_to(&self, at: Instant, priority: Priority) -> bool {
        let soon = self.preempts_at.is_some_and(|due| at < due);
        let preempts = self.priority == Priority::OWNER || (self.config.preempt && !soon);
        let mute = self
            .failed_at
            .is_some_and(|failed_at| at < failed_at + MUTE);
        priority >= self.priority || !preempts || mute
    }

    /// Version 3 learns the Active's interval; version 2's equals ours, or the advert was refused.
    fn learn(&self, heard: Option<Interval>, known: Interval) -> Interval {
        match self.config.version {
            Version::V2 => known,
            Version::V3 => heard.unwrap_or(known),
        }
    }
}

/// As [`wins`] takes addresses.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}
