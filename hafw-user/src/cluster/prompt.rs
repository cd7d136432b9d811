//! What a peer is told out of turn, between two heartbeats.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::{Heartbeat, Message};

/// What is due to one peer. What is due twice is said once: the last word counts.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    wake: Notify,
    due: Mutex<Due>,
}

/// See [`Prompt`].
#[derive(Debug, Default)]
pub(super) struct Due {
    question: Option<u64>,
    answer: Option<u64>,
}

impl Prompt {
    /// Something changed: a heartbeat at once.
    pub(super) fn beat(&self) {
        self.wake.notify_one();
    }

    /// Asks the peer for its state of now.
    pub(super) fn ask(&self, nonce: u64) {
        self.lock().question = Some(nonce);
        self.wake.notify_one();
    }

    /// Answers its question.
    pub(super) fn answer(&self, nonce: u64) {
        self.lock().answer = Some(nonce);
        self.wake.notify_one();
    }

    /// Waits until something is due. May be given up and called again.
    pub(super) async fn wait(&self) -> Due {
        self.wake.notified().await;
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Due {
    /// What to send; `state` is that of now.
    pub(super) fn messages(self, state: Heartbeat) -> impl Iterator<Item = Message> {
        let beat = Message::Heartbeat(Heartbeat {
            answers: self.answer,
            ..state
        });
        let question = self.question.map(|nonce| Message::Ask { nonce });
        [beat].into_iter().chain(question)
    }
}
