//! What one receiver has still to be told: bounded, and the last state of each subject only.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{Event, lock};
use crate::control::AlertStatus;

/// The most subjects that can wait.
const CAPACITY: usize = 1024;

/// Changes of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The last.
    pub(super) event: Event,
    /// How many.
    pub(super) changes: u32,
}

impl Entry {
    fn concerns(&self, event: &Event) -> bool {
        self.event.kind == event.kind && self.event.name == event.name
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    receiver: &'static str,
    waiting: Mutex<VecDeque<Entry>>,
    filled: Notify,
    delivered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

impl Queue {
    pub(super) fn new(receiver: &'static str) -> Self {
        Self {
            receiver,
            waiting: Mutex::default(),
            filled: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// In the order in which the subjects changed last.
    pub(super) fn push(&self, event: Event) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.iter().position(|entry| entry.concerns(&event));
        let earlier = before
            .and_then(|at| waiting.remove(at))
            .map_or(0, |entry| entry.changes);
        if waiting.len() >= CAPACITY {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let changes = earlier.saturating_add(1);
        waiting.push_back(Entry { event, changes });
        drop(waiting);
        // A permit is kept if nobody waits just now.
        self.filled.notify_one();
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Vec<Entry> {
        lock(&self.waiting).drain(..).collect()
    }

    /// Puts back what could not be delivered, before what came meanwhile. A subject that changed
    /// again has its last state only.
    pub(super) fn put_back(&self, entries: Vec<Entry>) {
        let mut waiting = lock(&self.waiting);
        for entry in entries.into_iter().rev() {
            if let Some(newer) = waiting.iter_mut().find(|e| e.concerns(&entry.event)) {
                newer.changes = newer.changes.saturating_add(entry.changes);
            } else if waiting.len() < CAPACITY {
                waiting.push_front(entry);
            } else {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until something waits.
    pub(super) async fn filled(&self) {
        while lock(&self.waiting).is_empty() {
            self.filled.notified().await;
        }
    }

    pub(super) fn count(&self, delivered: bool) {
        let count = if delivered {
            &self.delivered
        } else {
            &self.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> AlertStatus {
        AlertStatus {
            receiver: self.receiver.to_owned(),
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            lost: self.lost(),
            waiting: lock(&self.waiting).len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::alert::{Kind, State};

    fn event(name: &str, state: State) -> Event {
        Event {
            kind: Kind::Router,
            name: name.into(),
            state,
            priority: 100,
            reason: String::new(),
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn taken(queue: &Queue) -> Vec<(String, State, u32)> {
        let entries = queue.take().into_iter();
        entries
            .map(|entry| (entry.event.name, entry.event.state, entry.changes))
            .collect()
    }

    #[test]
    fn of_several_changes_the_last_is_told_and_how_many_there_were() {
        let queue = Queue::new("x");
        queue.push(event("a", State::Backup));
        queue.push(event("b", State::Backup));
        queue.push(event("a", State::Active));

        let expected = [
            ("b".into(), State::Backup, 1),
            ("a".into(), State::Active, 2),
        ];
        assert_eq!(taken(&queue), expected);
        assert_eq!(taken(&queue), []);
    }

    #[test]
    fn what_could_not_be_told_comes_first_and_newer_states_count() {
        let queue = Queue::new("x");
        queue.push(event("a", State::Backup));
        queue.push(event("b", State::Backup));
        let failed = queue.take();
        queue.push(event("c", State::Fault));
        queue.push(event("b", State::Active));
        queue.put_back(failed);

        let expected = [
            ("a".into(), State::Backup, 1),
            ("c".into(), State::Fault, 1),
            ("b".into(), State::Active, 2),
        ];
        assert_eq!(taken(&queue), expected);
    }

    #[test]
    fn a_full_queue_counts_what_it_does_not_take() {
        let queue = Queue::new("x");
        for number in 0..CAPACITY + 3 {
            queue.push(event(&number.to_string(), State::Active));
        }
        queue.push(event("0", State::Backup));

        let status = queue.status();
        assert_eq!((status.waiting, status.lost), (CAPACITY as u64, 3));
    }
}
