//! Telling people and programs what has changed: by mail, webhook and hook commands.
//!
//! [`Alerts::raise`] puts an event into a bounded queue of each receiver and returns. Receivers work
//! on their queues by themselves, each at its pace: what changes meanwhile is told together, and of
//! what changed several times only the last state and how often. A receiver that is dead keeps its
//! queue and is tried again; nobody else notices.

mod event;
mod hook;
mod mail;
mod queue;
mod receiver;
mod webhook;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{sync::watch, task::JoinHandle, time::timeout_at};
use tracing::warn;

pub use event::{Event, Kind, State};
pub use mail::{Mail, MailError, Mailer};
pub use webhook::{InvalidUrl, Webhook};

use crate::{
    command::{InvalidCommand, UserCommand},
    config::Alerting,
    control::AlertStatus,
};
use queue::Queue;
use receiver::{Pace, Receiver};

/// How long hooks wait for one another: no router's hook runs more often than this.
const HOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What changes together is told together.
const SETTLE: Duration = Duration::from_millis(500);

/// Alerts cannot be sent as configured.
#[derive(Debug, Error)]
pub enum AlertError {
    /// The hook command.
    #[error("alerts: exec: {0}")]
    Exec(#[from] InvalidCommand),
    /// The mail server or an address.
    #[error("alerts: email: {0}")]
    Email(#[from] MailError),
}

/// The receivers of a node, and what they were told last.
#[derive(Debug, Default)]
pub struct Alerts {
    wanted: Vec<Kind>,
    queues: Vec<Arc<Queue>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// The last known state of each subject.
    known: Mutex<BTreeMap<(Kind, String), State>>,
    /// Dropping it ends the workers, after one last attempt.
    open: Mutex<Option<watch::Sender<()>>>,
}

impl Alerts {
    /// Starts the receivers, on the current tokio runtime. Without a configuration there are none.
    ///
    /// # Errors
    /// See [`AlertError`].
    pub fn start(config: Option<&Alerting>, node: &str) -> Result<Self, AlertError> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let paced = Pace {
            settle: SETTLE,
            interval: config.interval,
        };
        let mut receivers = Vec::new();
        if let Some(mail) = &config.email {
            let mailer = Mailer::new(mail, node)?;
            receivers.push((Receiver::Email(Box::new(mailer)), paced));
        }
        if let Some(webhook) = &config.webhook {
            let webhook = webhook.clone();
            let node = node.to_owned();
            receivers.push((Receiver::Webhook { webhook, node }, paced));
        }
        if let Some(exec) = &config.exec {
            let (command, user) = &exec.value;
            let pace = Pace {
                settle: Duration::ZERO,
                interval: HOOK_INTERVAL,
            };
            let command = UserCommand::new(command, user)?;
            receivers.push((Receiver::Exec(command), pace));
        }
        let (open, closing) = watch::channel(());
        let mut alerts = Self {
            wanted: config.events.clone(),
            open: Mutex::new(Some(open)),
            ..Self::default()
        };
        let mut workers = Vec::new();
        for (receiver, pace) in receivers {
            let queue = Arc::new(Queue::new(receiver.name()));
            alerts.queues.push(Arc::clone(&queue));
            workers.push(tokio::spawn(receiver.work(queue, pace, closing.clone())));
        }
        alerts.workers = Mutex::new(workers);
        Ok(alerts)
    }

    /// Tells all receivers, later. A state that is no news is not told: the one that was told last,
    /// and that something is up of which nothing else was ever said.
    pub fn raise(&self, event: Event) {
        if self.queues.is_empty() || !self.wanted.contains(&event.kind) {
            return;
        }
        let subject = (event.kind, event.name.clone());
        let before = lock(&self.known).insert(subject, event.state);
        let news = match before {
            Some(before) => before != event.state,
            None => event.state != State::Up,
        };
        if news {
            for queue in &self.queues {
                queue.push(event.clone());
            }
        }
    }

    /// What the receivers have come to.
    #[must_use]
    pub fn status(&self) -> Vec<AlertStatus> {
        self.queues.iter().map(|queue| queue.status()).collect()
    }

    /// Lets the receivers tell what waits, each once more, and ends them; after `limit` in any case.
    pub async fn finish(&self, limit: Duration) {
        drop(lock(&self.open).take());
        let workers = std::mem::take(&mut *lock(&self.workers));
        let deadline = tokio::time::Instant::now() + limit;
        for mut worker in workers {
            if timeout_at(deadline, &mut worker).await.is_err() {
                worker.abort();
                warn!("alerts that still wait are not sent any more");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
