//! The thread itself: wait for the ring, a command or the next deadline; run the engine; publish
//! what came of it.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        mpsc::{self, TryRecvError},
    },
    thread,
    time::Duration,
};

use hafw_vrrp::{Engine, Instant, Priority, VirtualRouter};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::OwnedFd,
};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::error;

use super::{
    driver::{Driver, DriverParts, RouterSpec},
    realtime::{Granted, Wanted},
    wire::Wire,
};
use crate::sys::clock;

/// How often a router in its grace is looked at.
const GRACE_TICK: Duration = Duration::from_millis(200);
/// Between two publications, unless a state changed: with hundreds of routers they cost more than
/// the adverts.
const PUBLISH_GAP: Duration = Duration::from_millis(20);
/// When a reader stands in the way of one.
const PUBLISH_AGAIN: Duration = Duration::from_millis(1);

/// How one router starts.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// As Active, with the lease that a former controller left.
    Adopt {
        /// When that lease ends.
        lease_ends: Instant,
        /// The priority last advertised.
        priority: Priority,
    },
    /// When told to, by [`Handle::start`].
    Wait,
}

/// What the thread says of one router.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The state machine.
    pub router: VirtualRouter,
    /// Adverts sent.
    pub sent: u64,
    /// Adverts that could not be sent, and the last reason.
    pub failed: u64,
    /// See `failed`.
    pub failure: String,
    /// Adverts that XDP let pass and the state machine refused: none, unless the two disagree.
    pub refused: u64,
    /// Rounds of gratuitous ARP.
    pub announced: u64,
    /// It stepped down and serves its grace.
    pub in_grace: bool,
    /// VRRP packets that came through netfilter on the router's interface.
    pub through_netfilter: u64,
}

/// The thread or its wake-up could not be made.
#[derive(Debug, Error)]
#[error("cannot start the VRRP thread: {0}")]
pub struct StartError(#[from] io::Error);

enum Command {
    Start(usize),
    Priority(usize, Priority),
    Fault {
        router: usize,
        local: bool,
    },
    Recover(usize),
    Source(usize, IpAddr),
    Succeed {
        router: usize,
        source: IpAddr,
        asked_at: Instant,
    },
    Wire {
        interface: usize,
        wire: Option<Box<Wire>>,
    },
    Shutdown,
    Echo(oneshot::Sender<()>),
}

/// The way to the thread. Commands are carried out in their order, at once.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
    board: Arc<Board>,
}

/// What the thread says, for others. It never waits for them: one that is preempted while it reads
/// must not delay an advert.
#[derive(Debug)]
struct Board {
    snapshots: Mutex<Arc<Vec<Snapshot>>>,
    realtime: Mutex<Granted>,
}

impl Handle {
    /// A router takes part from now on.
    pub fn start(&self, router: usize) {
        self.send(Command::Start(router));
    }

    /// A router's effective priority changed.
    pub fn set_priority(&self, router: usize, priority: Priority) {
        self.send(Command::Priority(router, priority));
    }

    /// A router must give its VIPs up. `local`: connections that the proxy has go on.
    pub fn fault(&self, router: usize, local: bool) {
        self.send(Command::Fault { router, local });
    }

    /// The Active of a router, at this address, is in fault, as it answered a question of then.
    pub fn succeed(&self, router: usize, source: IpAddr, asked_at: Instant) {
        self.send(Command::Succeed {
            router,
            source,
            asked_at,
        });
    }

    /// A router may take part again.
    pub fn recover(&self, router: usize) {
        self.send(Command::Recover(router));
    }

    /// The adverts of a router, which is in a fault or has not started, leave from this address.
    pub fn set_source(&self, router: usize, source: IpAddr) {
        self.send(Command::Source(router, source));
    }

    /// An interface is another device now, or has another MAC; None: there is none. Who is Active on
    /// it announces its VIPs again.
    pub fn set_wire(&self, interface: usize, wire: Option<Wire>) {
        let wire = wire.map(Box::new);
        self.send(Command::Wire { interface, wire });
    }

    /// Every router is released in order; the thread goes on, so that graces are served.
    pub fn shutdown(&self) {
        self.send(Command::Shutdown);
    }

    /// Is answered by the thread as soon as it runs.
    pub fn echo(&self) -> oneshot::Receiver<()> {
        let (answer, echo) = oneshot::channel();
        self.send(Command::Echo(answer));
        echo
    }

    /// The routers as they were a moment ago; a change of state shows at once.
    #[must_use]
    pub fn snapshots(&self) -> Arc<Vec<Snapshot>> {
        Arc::clone(&lock(&self.board.snapshots))
    }

    /// How the thread is scheduled.
    #[must_use]
    pub fn realtime(&self) -> Granted {
        lock(&self.board.realtime).now()
    }

    fn send(&self, command: Command) {
        // The thread ends only when the last handle is gone.
        let _ = self.commands.send(command);
        // Fails only when 2^64 wake-ups are pending.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// Starts the thread.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(
    parts: DriverParts,
    routers: Vec<(RouterSpec, Start)>,
    realtime: Wanted,
) -> Result<Handle, StartError> {
    let (commands, queue) = mpsc::channel();
    let wake = Arc::new(
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?,
    );
    let mut engine = engine(routers.iter().map(|(spec, _)| spec));
    let starts: Vec<Start> = routers.iter().map(|(_, start)| *start).collect();
    let mut driver = Driver::new(parts, routers.into_iter().map(|(spec, _)| spec).collect());
    for (router, start) in starts.into_iter().enumerate() {
        if let Start::Adopt {
            lease_ends,
            priority,
        } = start
        {
            engine.adopt(router, lease_ends, priority, &mut driver);
        }
    }
    let board = Arc::new(Board {
        snapshots: Mutex::new(Arc::new(driver.snapshots(&engine))),
        realtime: Mutex::default(),
    });
    let handle = Handle {
        commands,
        wake: Arc::clone(&wake),
        board: Arc::clone(&board),
    };
    thread::Builder::new().name("vrrp".into()).spawn(move || {
        let granted = realtime.ask();
        lock(&board.realtime).clone_from(&granted);
        let mut vrrp = Thread {
            engine,
            driver,
            queue,
            wake,
            board,
            granted,
            published: Published::default(),
        };
        while vrrp.step() {}
    })?;
    Ok(handle)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn engine<'a>(specs: impl Iterator<Item = &'a RouterSpec>) -> Engine {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut routers = Vec::new();
    for (index, spec) in specs.enumerate() {
        routers.push(VirtualRouter::new(spec.router.clone()));
        if let Some(group) = &spec.sync_group {
            groups.entry(group).or_default().push(index);
        }
    }
    groups.values().fold(Engine::new(routers), |engine, group| {
        engine.with_group(group)
    })
}

struct Thread {
    engine: Engine,
    driver: Driver,
    queue: mpsc::Receiver<Command>,
    wake: Arc<OwnedFd>,
    board: Arc<Board>,
    granted: Granted,
    published: Published,
}

/// The last publication.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    at: Option<Instant>,
    transitions: u64,
}

impl Thread {
    /// One round. False once nobody can send commands any more.
    fn step(&mut self) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(command) => self.carry_out(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        let deadline = self.engine.run(&mut self.driver);
        let now = clock::now();
        let announcements = self.driver.tend_announcements(now);
        let graces = self.driver.tend_graces(now).then(|| now + GRACE_TICK);
        self.granted.notice();
        let publication = self.publish(now);
        let next = [deadline, announcements, graces, publication]
            .into_iter()
            .flatten()
            .min();
        self.wait(next);
        true
    }

    /// Returns when to try again, where the publication had to wait.
    fn publish(&mut self, now: Instant) -> Option<Instant> {
        let transitions = self.engine.routers().iter().map(VirtualRouter::transitions);
        let transitions = transitions.sum();
        let moved = transitions != self.published.transitions;
        let due = self.published.at.map_or(now, |at| at + PUBLISH_GAP);
        if !moved && now < due {
            return Some(due);
        }
        let mut place = match self.board.snapshots.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Some(now + PUBLISH_AGAIN),
        };
        let before = std::mem::replace(&mut *place, Arc::new(self.driver.snapshots(&self.engine)));
        drop(place);
        drop(before);
        self.published = Published {
            at: Some(now),
            transitions,
        };
        self.driver.tell_changes();
        None
    }

    fn carry_out(&mut self, command: Command) {
        let Self { engine, driver, .. } = self;
        match command {
            Command::Start(router) => engine.startup(router, driver),
            Command::Priority(router, priority) => {
                driver.set_priority(router, priority);
                engine.set_priority(router, priority);
            }
            Command::Fault { router, local } => {
                for member in engine.group_of(router) {
                    driver.set_local_in_fault(*member, local);
                }
                engine.fault(router, driver);
            }
            Command::Recover(router) => engine.recover(router, driver),
            Command::Succeed {
                router,
                source,
                asked_at,
            } => engine.succeed(router, source, asked_at, driver),
            Command::Source(router, source) => {
                driver.set_source(router, source);
                engine.set_source(router, source);
            }
            Command::Wire { interface, wire } => {
                for router in driver.set_wire(interface, wire.map(|wire| *wire)) {
                    engine.moved(router, driver);
                }
            }
            Command::Shutdown => engine.shutdown(driver),
            // Nobody may be there any more to hear it.
            Command::Echo(answer) => drop(answer.send(())),
        }
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(clock::now());
            // A Duration's nanoseconds are below 10^9, and no deadline is 292 years away.
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let woken = {
            let mut fds = vec![
                PollFd::new(&*self.wake, PollFlags::IN),
                PollFd::from_borrowed_fd(self.driver.ring_fd(), PollFlags::IN),
            ];
            let sockets = self.driver.sockets();
            fds.extend(sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => fds[0].revents().contains(PollFlags::IN),
                Err(error) => {
                    // Only a lack of memory; the deadline must not be missed by much for it.
                    error!(%error, "poll");
                    thread::sleep(Duration::from_millis(1));
                    false
                }
            }
        };
        if woken {
            let mut count = [0u8; 8];
            let _ = rustix::io::read(&*self.wake, &mut count);
        }
        self.driver.drain_sockets();
    }
}
