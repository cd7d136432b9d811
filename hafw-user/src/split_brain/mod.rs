//! Split brain told apart from "the Active died": what is seen of each router (`evidence`), the
//! witness that it asks (`witness`, `prober`), and whether it is to give its VIPs up (`policy`).
//!
//! One task looks ten times a second; neither the VRRP thread nor the node's loop waits for it.

mod evidence;
mod policy;
mod prober;
mod witness;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use hafw_vrrp::Instant;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

pub use policy::Policy;

pub(crate) use evidence::{Finding, Heard, Kind, Sight, Told};
pub(crate) use prober::Post;

use crate::{
    alert::{self, Alerts},
    sys::clock,
};
use evidence::Evidence;
use policy::{Judge, Surroundings};
use prober::{Witnesses, ask};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);

/// What is watched of one router.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Its name.
    pub(crate) name: String,
    /// `split_brain`.
    pub(crate) policy: Policy,
    /// `deaf_after`.
    pub(crate) deaf_after: Duration,
    /// `witness`: any of them will do.
    pub(crate) witnesses: Vec<Ipv4Addr>,
    /// Where they are asked.
    pub(crate) post: Post,
}

/// What is seen of all routers at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// By router.
    pub(crate) sights: Vec<Sight>,
    /// Frames that each interface has received, by name.
    pub(crate) received: BTreeMap<String, u64>,
}

/// A router must give its VIPs up, or may take part again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutOff {
    /// Its index.
    pub(crate) router: usize,
    /// Why; None: it may.
    pub(crate) reason: Option<&'static str>,
}

/// What is known of one router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether a witness answers; None without one, or before the first result.
    pub(crate) witness: Option<bool>,
    /// Since it last did; None without one.
    pub(crate) unanswered: Option<Duration>,
    /// What was found.
    pub(crate) findings: Vec<Finding>,
}

/// What is known of all routers, for those who tell others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<Known>>>);

impl Board {
    /// Of one router.
    pub(crate) fn known(&self, router: usize) -> Known {
        self.lock().get(router).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lookout; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Lookout {
    /// Told of every change.
    pub(crate) changes: mpsc::UnboundedReceiver<CutOff>,
    _tasks: JoinSet<()>,
}

impl Lookout {
    /// Starts it on the current tokio runtime. `view` is asked for each look.
    pub(crate) fn start(
        routers: Vec<Watched>,
        board: Board,
        alerts: Arc<Alerts>,
        view: impl Fn() -> View + Send + 'static,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let mut posts: Vec<(Post, Vec<Ipv4Addr>)> = Vec::new();
        for Watched {
            witnesses, post, ..
        } in &routers
        {
            let found = posts.iter().position(|(other, _)| other == post);
            let found = found.unwrap_or_else(|| {
                posts.push((post.clone(), Vec::new()));
                posts.len() - 1
            });
            posts[found].1.extend(witnesses);
        }
        let mut asked = Vec::new();
        for (post, mut addresses) in posts {
            addresses.sort_unstable();
            addresses.dedup();
            let witnesses = Witnesses::new(&addresses);
            if !addresses.is_empty() {
                tasks.spawn(ask(post.clone(), witnesses.clone()));
            }
            asked.push((post, witnesses));
        }
        let of = |post: &Post| {
            let found = asked.iter().find(|(other, _)| other == post);
            found.map_or_else(|| Witnesses::new(&[]), |(_, found)| found.clone())
        };
        let watches = routers.into_iter().map(|router| Watch {
            judge: Judge::new(router.policy, router.deaf_after),
            asked: of(&router.post),
            router,
            evidence: Evidence::default(),
            cut_off: None,
            told: BTreeMap::new(),
        });
        let (send, changes) = mpsc::unbounded_channel();
        let task = Task {
            watches: watches.collect(),
            board,
            alerts,
            received: BTreeMap::new(),
            changes: send,
        };
        tasks.spawn(task.run(view));
        Self {
            changes,
            _tasks: tasks,
        }
    }
}

struct Task {
    watches: Vec<Watch>,
    board: Board,
    alerts: Arc<Alerts>,
    /// By interface: the count of received frames, and when it last rose.
    received: BTreeMap<String, (u64, Instant)>,
    changes: mpsc::UnboundedSender<CutOff>,
}

/// One router under watch.
struct Watch {
    router: Watched,
    asked: Witnesses,
    evidence: Evidence,
    judge: Judge,
    cut_off: Option<&'static str>,
    /// What was told, and in which words.
    told: BTreeMap<Kind, String>,
}

impl Task {
    async fn run(mut self, view: impl Fn() -> View + Send + 'static) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(&view(), clock::now());
        }
    }

    fn look(&mut self, view: &View, now: Instant) {
        for (name, count) in &view.received {
            let (last, at) = self.received.entry(name.clone()).or_insert((*count, now));
            if last != count {
                (*last, *at) = (*count, now);
            }
        }
        let mut all = Vec::new();
        for (index, (watch, sight)) in self.watches.iter_mut().zip(&view.sights).enumerate() {
            let received = self.received.get(&watch.router.post.interface);
            let (known, cut_off) = watch.look(sight, received.map(|(_, at)| *at), now);
            watch.tell(&known.findings, &self.alerts);
            if watch.cut_off != cut_off {
                watch.cut_off = cut_off;
                let change = CutOff {
                    router: index,
                    reason: cut_off,
                };
                // Nobody takes it once the node ends.
                let _ = self.changes.send(change);
            }
            all.push(known);
        }
        *self.board.lock() = all;
    }
}

impl Watch {
    fn look(
        &mut self,
        sight: &Sight,
        received_at: Option<Instant>,
        now: Instant,
    ) -> (Known, Option<&'static str>) {
        let (witness, unanswered) = self.witness(now);
        let recent = |heard: &Heard| now <= heard.last_at + sight.interval * 3 + LOOK;
        let peers = sight.nodes.iter().filter(|told| told.heard);
        let around = Surroundings {
            witness,
            unanswered,
            // An interface that cannot be asked is none that is known to be silent.
            nothing_received: received_at
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            adverts: sight.heard.iter().any(recent),
            peers: peers.map(|told| (told.witness, told.unanswered)).collect(),
        };
        let verdict = self.judge.judge(&around, now);
        let mut findings = self.evidence.look(sight, now);
        findings.extend(verdict.finding);
        let asked = !self.router.witnesses.is_empty();
        let known = Known {
            witness,
            unanswered: asked.then_some(unanswered),
            findings,
        };
        (known, verdict.cut_off)
    }

    fn witness(&self, now: Instant) -> (Option<bool>, Duration) {
        let asked = self.asked.lock();
        let own = |witness: &&witness::Witness| self.router.witnesses.contains(&witness.address);
        let own: Vec<_> = asked.iter().filter(own).collect();
        let answers: Vec<_> = own.iter().map(|witness| witness.answers()).collect();
        let any = if answers.contains(&Some(true)) {
            Some(true)
        } else {
            (!answers.is_empty() && !answers.contains(&None)).then_some(false)
        };
        let last = own.iter().map(|witness| witness.answered_at()).max();
        let unanswered = last.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (any, unanswered)
    }

    /// Says what began and what ended.
    fn tell(&mut self, findings: &[Finding], alerts: &Alerts) {
        let router = &self.router.name;
        let raise = |kind: Kind, state, reason: &str| {
            alerts.raise(alert::Event {
                kind: alert::Kind::SplitBrain,
                name: format!("{router}/{}", kind.name()),
                state,
                priority: 0,
                reason: reason.to_owned(),
                at: SystemTime::now(),
            });
        };
        for Finding { kind, text } in findings {
            if self.told.insert(*kind, text.clone()).is_none() {
                warn!(router, evidence = kind.name(), "{text}");
                raise(*kind, alert::State::Found, text);
            }
        }
        self.told.retain(|kind, text| {
            let stays = findings.iter().any(|finding| finding.kind == *kind);
            if !stays {
                info!(router, evidence = kind.name(), "no longer: {text}");
                raise(*kind, alert::State::Cleared, text);
            }
            stays
        });
    }
}
