//! Time limits of one worker: one table of deadlines, swept once per tick while any is set. To set
//! a deadline is a store; there is no clock read and no allocation on the path of a request.
//!
//! Deadlines are coarse: they pass at most two ticks late, never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::retry::Millis;

const TICK: Duration = Duration::from_millis(100);
const TICK_MILLIS: Millis = 100;
const NEVER: Millis = Millis::MAX;

/// The clock and the deadlines of a worker.
#[derive(Debug)]
pub(crate) struct Timers {
    epoch: Instant,
    /// Behind the true time by at most a tick while the ticker runs.
    now: Cell<Millis>,
    /// No deadline is before this; `NEVER` = none is set, and the ticker sleeps.
    next_due: Cell<Millis>,
    table: RefCell<Table>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Table {
    deadlines: Vec<Millis>,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// One deadline, of the task that registered.
#[derive(Debug)]
pub(crate) struct Timer {
    timers: Rc<Timers>,
    slot: usize,
    deadline: Cell<Millis>,
}

impl Timers {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            epoch: Instant::now(),
            // Not zero, so that "never yet" in the past is before everything.
            now: Cell::new(1),
            next_due: Cell::new(NEVER),
            table: RefCell::default(),
            woken: Notify::new(),
        })
    }

    /// Milliseconds since the worker started, as of the last tick.
    pub(crate) fn now(&self) -> Millis {
        if self.next_due.get() == NEVER {
            self.refresh();
        }
        self.now.get()
    }

    /// A timer for the task that `waker` wakes, not set.
    pub(crate) fn timer(self: &Rc<Self>, waker: Waker) -> Timer {
        let mut table = self.table.borrow_mut();
        let slot = table.free.pop().unwrap_or_else(|| {
            table.deadlines.push(NEVER);
            table.wakers.push(None);
            table.deadlines.len() - 1
        });
        if let Some(place) = table.wakers.get_mut(slot) {
            *place = Some(waker);
        }
        Timer {
            timers: Rc::clone(self),
            slot,
            deadline: Cell::new(NEVER),
        }
    }

    /// Wakes every task that has a timer, to look at what has changed.
    pub(crate) fn wake_all(&self) {
        for waker in self.table.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Moves the clock and wakes the tasks whose deadline has passed, for ever.
    pub(crate) async fn run(&self) {
        loop {
            while self.next_due.get() == NEVER {
                self.woken.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.refresh();
            if self.now.get() >= self.next_due.get() {
                self.sweep();
            }
        }
    }

    fn refresh(&self) {
        let elapsed = self.epoch.elapsed().as_millis();
        self.now
            .set(1 + Millis::try_from(elapsed).unwrap_or(NEVER - 1));
    }

    fn sweep(&self) {
        let now = self.now.get();
        let mut next_due = NEVER;
        let mut table = self.table.borrow_mut();
        let Table {
            deadlines, wakers, ..
        } = &mut *table;
        for (slot, deadline) in deadlines.iter_mut().enumerate() {
            if *deadline > now {
                next_due = next_due.min(*deadline);
                continue;
            }
            *deadline = NEVER;
            if let Some(Some(waker)) = wakers.get(slot) {
                waker.wake_by_ref();
            }
        }
        self.next_due.set(next_due);
    }

    fn set(&self, slot: usize, deadline: Millis) {
        if let Some(place) = self.table.borrow_mut().deadlines.get_mut(slot) {
            *place = deadline;
        }
        let next_due = self.next_due.get();
        if deadline < next_due {
            self.next_due.set(deadline);
            if next_due == NEVER {
                self.woken.notify_one();
            }
        }
    }
}

impl Timer {
    /// The time that is `after` milliseconds from now.
    pub(crate) fn deadline(&self, after: Millis) -> Millis {
        // The clock may be a tick behind.
        self.timers
            .now()
            .saturating_add(after)
            .saturating_add(TICK_MILLIS)
    }

    /// Sets the deadline to `after` milliseconds from now.
    pub(crate) fn arm(&self, after: Millis) {
        self.arm_at(self.deadline(after));
    }

    /// Sets the deadline to a time that [`Self::deadline`] gave.
    pub(crate) fn arm_at(&self, deadline: Millis) {
        if self.deadline.replace(deadline) != deadline {
            self.timers.set(self.slot, deadline);
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn has_expired(&self) -> bool {
        self.has_passed(self.deadline.get())
    }

    /// Whether a time that [`Self::deadline`] gave has passed.
    pub(crate) fn has_passed(&self, deadline: Millis) -> bool {
        self.timers.now.get() >= deadline
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut table = self.timers.table.borrow_mut();
        let slot = self.slot;
        if let Some(deadline) = table.deadlines.get_mut(slot) {
            *deadline = NEVER;
        }
        if let Some(waker) = table.wakers.get_mut(slot) {
            *waker = None;
        }
        table.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        task::{Context, Poll},
    };

    use super::*;

    /// Waits until `timer`, which belongs to this task, has expired.
    async fn expiry(timer: &Timer) {
        poll_fn(|_: &mut Context<'_>| {
            if timer.has_expired() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    async fn own_waker() -> Waker {
        poll_fn(|context| Poll::Ready(context.waker().clone())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_late_by_at_most_two_ticks() {
        let timers = Timers::new();
        let timer = timers.timer(own_waker().await);
        let start = Instant::now();

        timer.arm(1000);
        tokio::select! {
            () = timers.run() => unreachable!("the ticker never ends"),
            () = expiry(&timer) => {}
        }

        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
        assert!(elapsed <= Duration::from_millis(1200), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_can_be_moved_both_ways() {
        let timers = Timers::new();
        let timer = timers.timer(own_waker().await);
        let start = Instant::now();

        timer.arm(500);
        timer.arm(60_000);
        timer.arm(3000);
        tokio::select! {
            () = timers.run() => unreachable!("the ticker never ends"),
            () = expiry(&timer) => {}
        }

        assert!(start.elapsed() >= Duration::from_secs(3));
        assert!(start.elapsed() <= Duration::from_millis(3200));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_right_after_a_rest() {
        let timers = Timers::new();
        let before = timers.now();

        tokio::time::advance(Duration::from_secs(50)).await;

        assert_eq!(timers.now() - before, 50_000);
    }

    #[tokio::test]
    async fn slots_are_used_again() {
        let timers = Timers::new();
        let waker = own_waker().await;

        drop(timers.timer(waker.clone()));
        let second = timers.timer(waker);

        assert_eq!(second.slot, 0);
        assert!(!second.has_expired());
    }
}
