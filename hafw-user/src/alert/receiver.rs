//! A receiver and its pace.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    hook, mail,
    queue::{Entry, Queue},
    webhook::Webhook,
};
use crate::command::UserCommand;

/// The longest that one post may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest between two attempts at a receiver that is dead.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Who is told.
#[derive(Debug)]
pub(super) enum Receiver {
    Email(Box<mail::Mailer>),
    Webhook { webhook: Webhook, node: String },
    Exec(UserCommand),
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From the first change to the message that tells it.
    pub(super) settle: Duration,
    /// From one message to the next, at least.
    pub(super) interval: Duration,
}

impl Receiver {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Webhook { .. } => "webhook",
            Self::Exec(_) => "exec",
        }
    }

    /// Tells what is in the queue, until `closing` is closed; then once more.
    pub(super) async fn work(
        self,
        queue: Arc<Queue>,
        pace: Pace,
        mut closing: watch::Receiver<()>,
    ) {
        let mut failures = 0u32;
        let mut next = Instant::now();
        loop {
            // Nothing is ever sent on it: the only change is its end.
            let closed = tokio::select! {
                () = async {
                    queue.filled().await;
                    sleep(pace.settle).await;
                    sleep_until(next).await;
                } => false,
                _ = closing.changed() => true,
            };
            let entries = queue.take();
            if !entries.is_empty() {
                let told = self.tell(&queue, &entries).await;
                self.note(told, &queue, entries, &mut failures);
            }
            if closed {
                return;
            }
            next = Instant::now() + wait(pace.interval, failures);
        }
    }

    async fn tell(&self, queue: &Queue, entries: &[Entry]) -> Result<(), String> {
        let lost = queue.lost();
        let telling = async {
            match self {
                Self::Email(mailer) => mailer.send(entries, lost).await,
                Self::Webhook { webhook, node } => webhook.post(node, entries, lost).await,
                Self::Exec(command) => {
                    for entry in entries {
                        // A hook that failed is not run again: nobody can say how far it came.
                        queue.count(hook::run(command, &entry.event).await);
                    }
                    Ok(())
                }
            }
        };
        let patience = match self {
            // Each hook has its own.
            Self::Exec(_) => return telling.await,
            Self::Email(mailer) => mailer.patience(),
            Self::Webhook { .. } => PATIENCE,
        };
        timeout(patience, telling)
            .await
            .unwrap_or_else(|_| Err(format!("it took longer than {patience:?}")))
    }

    /// One line when a receiver fails, and one when it is back.
    fn note(
        &self,
        told: Result<(), String>,
        queue: &Queue,
        entries: Vec<Entry>,
        failures: &mut u32,
    ) {
        let receiver = self.name();
        if !matches!(self, Self::Exec(_)) {
            queue.count(told.is_ok());
        }
        match told {
            Ok(()) if *failures > 0 => {
                info!(receiver, failures, "alerts are delivered again");
                *failures = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if *failures == 0 {
                    warn!(receiver, error, "alerts cannot be delivered: trying again");
                } else {
                    debug!(receiver, error, "alerts cannot be delivered");
                }
                *failures = failures.saturating_add(1);
                queue.put_back(entries);
            }
        }
    }
}

/// Twice as long after each failure.
fn wait(interval: Duration, failures: u32) -> Duration {
    let longest = LONGEST_WAIT.max(interval);
    let least = if failures > 0 {
        interval.max(Duration::from_secs(1))
    } else {
        interval
    };
    least.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_receiver_is_tried_ever_more_seldom() {
        let second = Duration::from_secs(1);
        let waits = [0, 1, 2, 9, 1000].map(|failures| wait(second, failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 300, 300]);
        let hour = Duration::from_secs(3600);
        assert_eq!(wait(hour, 5), hour);
    }
}
