//! Sources that exceed limits again and again, for whoever can keep them out (`enforce = "xdp"`):
//! the proxy decides, and XDP drops. Only refusals cost anything here.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::retry::Millis;

/// The time within which refusals of a source count together.
const WINDOW: Millis = 10_000;
/// The most sources that are counted, and that wait to be told.
const MAX_SOURCES: usize = 65_536;

/// What all workers share.
#[derive(Debug, Default)]
pub struct Offenders {
    refusals: Mutex<HashMap<IpAddr, Refusals>>,
    untold: Mutex<BTreeSet<IpAddr>>,
    news: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    since: Millis,
    count: u32,
}

impl Offenders {
    /// A source was refused something at `now`; with `after` refusals it is an offender.
    pub fn note(&self, source: IpAddr, after: u32, now: Millis) {
        let source = source.to_canonical();
        let mut refusals = lock(&self.refusals);
        if refusals.len() >= MAX_SOURCES && !refusals.contains_key(&source) {
            refusals.retain(|_, refusals| refusals.is_current(now));
            if refusals.len() >= MAX_SOURCES {
                return;
            }
        }
        let new = Refusals {
            since: now,
            count: 0,
        };
        let entry = refusals.entry(source).or_insert(new);
        if !entry.is_current(now) {
            *entry = new;
        }
        entry.count += 1;
        if entry.count < after {
            return;
        }
        refusals.remove(&source);
        drop(refusals);
        let mut untold = lock(&self.untold);
        if untold.len() < MAX_SOURCES {
            untold.insert(source);
            self.news.notify_one();
        }
    }

    /// The offenders since the last call. Waits for one, but not longer than `patience`.
    pub async fn next(&self, patience: Duration) -> Vec<IpAddr> {
        let come = async {
            loop {
                let untold = std::mem::take(&mut *lock(&self.untold));
                if !untold.is_empty() {
                    return untold.into_iter().collect();
                }
                self.news.notified().await;
            }
        };
        tokio::time::timeout(patience, come)
            .await
            .unwrap_or_default()
    }
}

impl Refusals {
    const fn is_current(&self, now: Millis) -> bool {
        now.saturating_sub(self.since) < WINDOW
    }
}

/// What a worker that broke left is still a table.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn a_source_is_told_of_once_when_it_was_refused_often_enough() {
        let offenders = Offenders::default();

        for at in [0, 1, 2] {
            assert!(offenders.next(NOW).await.is_empty());
            offenders.note(source(1), 3, at);
        }
        offenders.note(source(2), 3, 2);

        assert_eq!(offenders.next(NOW).await, [source(1)]);
        assert!(offenders.next(NOW).await.is_empty());
    }

    #[tokio::test]
    async fn refusals_of_long_ago_do_not_count() {
        let offenders = Offenders::default();

        for at in [0, 1, WINDOW, WINDOW + 1] {
            offenders.note(source(1), 3, at);
        }
        assert!(offenders.next(NOW).await.is_empty());
        offenders.note("::ffff:10.0.0.1".parse().unwrap(), 3, WINDOW + 2);

        assert_eq!(offenders.next(NOW).await, [source(1)]);
    }
}
