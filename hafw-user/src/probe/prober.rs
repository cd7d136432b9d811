//! Many probes, each at its interval.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hafw_common::service::ServiceKey;
use hafw_lb::{Health, State, service_name};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, sleep_until},
};
use tracing::{debug, info};

use super::{Probe, Report};

/// First probes are spread over this, or over the interval where that is shorter.
const SPREAD: Duration = Duration::from_millis(250);
/// Probes of backends come up to this part of an interval early: those of thousands do not go on
/// falling together because they once did.
const JITTER: u32 = 16;
/// A shorter interval counts as this: no configuration may make a probe a busy loop.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// Who is probed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetId {
    /// A `[[check]]`, by name.
    Check(String),
    /// A backend of a service.
    Backend {
        /// The service.
        service: ServiceKey,
        /// The backend.
        backend: SocketAddr,
    },
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(name) => write!(f, "check {name}"),
            Self::Backend { service, backend } => {
                write!(f, "backend {backend} of {}", service_name(service))
            }
        }
    }
}

/// What is probed, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who it is.
    pub id: TargetId,
    /// How to look.
    pub probe: Probe,
    /// From the start of one probe to the start of the next, which waits for the end of the first.
    pub interval: Duration,
    /// The longest that one probe may take.
    pub timeout: Duration,
    /// See [`Health`].
    pub rise: u32,
    /// See [`Health`].
    pub fall: u32,
    /// What is thought of a target that was not probed before: [`State::Unknown`], or what a
    /// former controller found.
    pub initial: State,
}

/// A target's state changed, or its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeEvent {
    /// Whose.
    pub target: TargetId,
    /// To what.
    pub state: State,
    /// Its number, where it has one: a change of that is an event too.
    pub number: Option<i32>,
    /// What the probe said that changed it.
    pub reason: String,
    /// When that probe ended.
    pub at: Instant,
}

impl ProbeEvent {
    /// Whether it is up now.
    #[must_use]
    pub fn up(&self) -> bool {
        self.state == State::Up
    }
}

/// What is known of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// What is thought of it.
    pub state: State,
    /// What its last probe said; `None` before the first has ended.
    pub report: Option<Report>,
    /// When that probe ended, and how long it took.
    pub at: Option<(Instant, Duration)>,
}

/// The probes of a node. Dropping it ends them all.
#[derive(Debug)]
pub struct Prober {
    events: mpsc::UnboundedSender<ProbeEvent>,
    running: BTreeMap<TargetId, Running>,
}

impl Prober {
    /// Changes go to `events`, which need not be bounded: each target waits for its interval.
    #[must_use]
    pub fn new(events: mpsc::UnboundedSender<ProbeEvent>) -> Self {
        Self {
            events,
            running: BTreeMap::new(),
        }
    }

    /// Makes the targets these. One that stays as it is goes on undisturbed; one that is probed
    /// otherwise from now on keeps its state; of two with one id the last counts.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn set_targets(&mut self, targets: impl IntoIterator<Item = Target>) {
        let mut before = std::mem::take(&mut self.running);
        for (number, target) in (0u32..).zip(targets) {
            let id = target.id.clone();
            let running = match before.remove(&id) {
                Some(running) if running.target.same_but_initial(&target) => running,
                Some(running) => {
                    let latest = running.latest.borrow().clone();
                    Running::start(target, latest, number, self.events.clone())
                }
                None => {
                    let latest = Latest {
                        state: target.initial,
                        report: None,
                        at: None,
                    };
                    Running::start(target, latest, number, self.events.clone())
                }
            };
            self.running.insert(id, running);
        }
    }

    /// What is known of a target; `None` if it is not probed.
    #[must_use]
    pub fn latest(&self, id: &TargetId) -> Option<Latest> {
        self.running
            .get(id)
            .map(|running| running.latest.borrow().clone())
    }

    /// Whether a probe of the target has ended since it is probed. False if it is not.
    #[must_use]
    pub fn reported(&self, id: &TargetId) -> bool {
        self.running
            .get(id)
            .is_some_and(|running| running.latest.borrow().report.is_some())
    }
}

impl Target {
    fn same_but_initial(&self, other: &Self) -> bool {
        *self
            == Self {
                initial: self.initial,
                ..other.clone()
            }
    }
}

/// A target's task, ended with this.
#[derive(Debug)]
struct Running {
    target: Target,
    latest: watch::Receiver<Latest>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(
        target: Target,
        latest: Latest,
        number: u32,
        events: mpsc::UnboundedSender<ProbeEvent>,
    ) -> Self {
        let (publish, latest) = watch::channel(latest);
        let task = tokio::spawn(probe_forever(target.clone(), number, publish, events));
        Self {
            target,
            latest,
            task,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn probe_forever(
    target: Target,
    number: u32,
    latest: watch::Sender<Latest>,
    events: mpsc::UnboundedSender<ProbeEvent>,
) {
    let Target {
        id,
        probe,
        interval,
        timeout,
        rise,
        fall,
        initial: _,
    } = target;
    let interval = interval.max(LEAST_INTERVAL);
    let mut health = Health::new(rise, fall, latest.borrow().state);
    let mut last_number = None;
    let jitter = match id {
        TargetId::Check(_) => Duration::ZERO,
        TargetId::Backend { .. } => interval / JITTER,
    };
    let mut round = number;
    sleep(offset(number, interval.min(SPREAD))).await;
    loop {
        let started = tokio::time::Instant::now();
        let report = probe.run(timeout).await;
        let took = started.elapsed();
        let at = (started + took).into_std();
        debug!(%id, outcome = ?report.outcome, reason = report.reason, ?took, "probe");

        let before = health.state();
        let changed = health.observe(report.outcome).is_some() || report.number != last_number;
        last_number = report.number;
        let reason = report.reason.clone();
        latest.send_replace(Latest {
            state: health.state(),
            report: Some(report),
            at: Some((at, took)),
        });
        if changed {
            let state = health.state();
            info!(%id, ?state, ?before, reason, "changed");
            let event = ProbeEvent {
                target: id.clone(),
                state,
                number: last_number,
                reason,
                at,
            };
            if events.send(event).is_err() {
                return;
            }
        }
        round = round.wrapping_add(1);
        let next = started + interval - offset(round, jitter);
        tokio::select! {
            () = sleep_until(next) => {}
            () = probe.stirred() => sleep_until(started + LEAST_INTERVAL).await,
        }
    }
}

/// Where in `window` the probes of the target with this number begin: multiples of the golden
/// ratio, which spread evenly however many there are.
fn offset(number: u32, window: Duration) -> Duration {
    let fraction = number.wrapping_mul(0x9e37_79b9);
    window.mul_f64(f64::from(fraction) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
