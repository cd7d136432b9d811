//! The proxy around the pure parts: worker threads, client connections, upstream connections.
//!
//! ```text
//! main thread: signals, control socket ──commands──> worker 0..n (thread, own runtime and listeners)
//! worker: acceptor per listener ──> one task per client connection (session)
//!         session: read head ─> route ─> exchange: server's turn ─> send ─> answer ─> relay
//! ```
//! A worker shares nothing with the others; inside it there is one thread, so `Rc` and `Cell` do.

mod acceptor;
mod account;
mod arrival;
mod attempt;
mod buffers;
mod dial;
mod duplex;
mod exchange;
mod generation;
mod http2;
mod ids;
mod intake;
mod judge;
mod own;
mod pages;
mod session;
pub(crate) mod sink;
mod timers;
mod tunnel;
mod wire;
pub(crate) mod worker;

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use buffers::Buffers;
use generation::Generation;
use ids::Ids;
use timers::Timers;
use tokio::sync::Notify;

use crate::{counters::Totals, limits, retry::Millis};

/// What the tasks of one worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    timers: Rc<Timers>,
    buffers: Rc<Buffers>,
    totals: RefCell<Totals>,
    generation: RefCell<Rc<Generation>>,
    /// No new requests: connections close once the one under way is answered.
    stopping: Cell<bool>,
    /// Told when the last connection has closed.
    emptied: Notify,
    date: RefCell<Date>,
    ids: Ids,
    limits: Arc<limits::Shared>,
}

/// The value of Date, made once per second.
#[derive(Debug, Default)]
struct Date {
    second: Millis,
    text: String,
}

impl Shared {
    fn new(generation: Generation, limits: Arc<limits::Shared>) -> Rc<Self> {
        Rc::new(Self {
            timers: Timers::new(),
            buffers: Rc::default(),
            totals: RefCell::default(),
            generation: RefCell::new(Rc::new(generation)),
            stopping: Cell::new(false),
            emptied: Notify::new(),
            date: RefCell::default(),
            ids: Ids::new(),
            limits,
        })
    }

    fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.borrow_mut());
    }

    /// A limit was exceeded by whoever has this address, if that is a source of packets.
    fn note_offence(&self, source: Option<IpAddr>) {
        let after = self.generation.borrow().plan.block_after;
        if let (Some(source), Some(after)) = (source, after) {
            let offenders = &self.limits.offenders;
            offenders.note(source, after, limits::now());
        }
    }

    fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation.borrow())
    }

    /// Calls `with` with the value of Date for now.
    fn with_date<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        let second = self.timers.now() / 1000 + 1;
        let mut date = self.date.borrow_mut();
        if date.second != second {
            date.second = second;
            date.text = httpdate::fmt_http_date(SystemTime::now());
        }
        with(date.text.as_bytes())
    }
}
