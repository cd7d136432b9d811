//! The way to the clients of `nat` services, and to anybody else whose MAC the packet path lacks:
//! the mirror of routes and neighbours is kept here, and frames that wait for a neighbour are sent
//! once it is known, as the kernel would.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use rtnetlink::Handle;
use tracing::{debug, warn};

use super::mirror::{Mirror, Step};
use crate::{
    datapath::{NatTables, TableError, Unresolved},
    net::{NetEvent, NextHop, WatchError, resolve, routes, solicit},
    sys::packet::FrameSender,
};

/// How long a frame waits for its neighbour: three ARP requests, a second apart.
const PATIENCE: Duration = Duration::from_secs(3);
/// Frames that wait for one neighbour, at most: more than the kernel keeps by default on a small
/// machine (`unres_qlen_bytes`), and no burst worth speaking of.
const WAITING_FOR_ONE: usize = 64;
/// Neighbours that are waited for, at most.
const WAITED_FOR: usize = 1024;
/// Look-ups in a second, at most. Beyond, the ring fills, and XDP counts what it drops.
const LOOKUPS_A_SECOND: u32 = 4000;
const SECOND: Duration = Duration::from_secs(1);
/// Neighbours confirmed in one go, so that a MAC that changed silently is found out.
const CONFIRMED_AT_ONCE: usize = 64;

/// See the module.
pub(super) struct Clients {
    tables: NatTables,
    mirror: Mirror,
    waiting: BTreeMap<NextHop, Vec<Waiting>>,
    senders: BTreeMap<u32, FrameSender>,
    lookups: Lookups,
    confirmed: Option<NextHop>,
    /// Frames that were sent on, and that were not.
    pub(super) sent: u64,
    /// See `sent`.
    pub(super) lost: u64,
}

struct Waiting {
    since: Instant,
    frame: Vec<u8>,
}

/// How many look-ups were made in the second that began then.
struct Lookups {
    since: Instant,
    made: u32,
}

impl Clients {
    /// Goes on with what the tables have. `snapshot`: links and neighbours as they are.
    pub(super) async fn open(
        tables: NatTables,
        handle: &Handle,
        snapshot: &[NetEvent],
    ) -> anyhow::Result<Self> {
        let mirror = Mirror::over(tables.routes()?, tables.neighbours()?);
        let mut clients = Self {
            tables,
            mirror,
            waiting: BTreeMap::new(),
            senders: BTreeMap::new(),
            lookups: Lookups {
                since: Instant::now(),
                made: 0,
            },
            confirmed: None,
            sent: 0,
            lost: 0,
        };
        clients.mirror.note(snapshot);
        clients.follow_routes(handle).await?;
        clients.write()?;
        Ok(clients)
    }

    /// Asks for the routes anew.
    pub(super) async fn follow_routes(&mut self, handle: &Handle) -> Result<(), WatchError> {
        self.mirror.set_ways(routes(handle).await?);
        Ok(())
    }

    /// Takes changes in, and sends what waited for them.
    pub(super) fn note(&mut self, events: &[NetEvent]) -> Result<(), TableError> {
        self.mirror.note(events);
        for event in events {
            match *event {
                NetEvent::Neighbour {
                    ifindex, address, ..
                } => self.release(NextHop {
                    ifindex,
                    neighbour: address,
                }),
                NetEvent::LinkGone { ifindex } => {
                    self.senders.remove(&ifindex);
                }
                NetEvent::Link { .. }
                | NetEvent::NeighbourGone { .. }
                | NetEvent::Routes
                | NetEvent::Lost => {}
            }
        }
        self.write()
    }

    /// Brings the tables to what the mirror says.
    pub(super) fn write(&mut self) -> Result<(), TableError> {
        for step in self.mirror.steps() {
            match step {
                Step::Route(prefix, route) => self.tables.set_route(prefix, route)?,
                Step::Neighbour(key, mac) => self.tables.set_neighbour(key, mac)?,
            }
        }
        Ok(())
    }

    /// Sends a frame that XDP handed up, now or when its neighbour is known.
    pub(super) async fn send(&mut self, handle: &Handle, unresolved: Unresolved) {
        let Unresolved { destination, frame } = unresolved;
        let Lookups { since, made } = &mut self.lookups;
        if since.elapsed() >= SECOND {
            (*since, *made) = (Instant::now(), 0);
        }
        *made += 1;
        let hop = match resolve(handle, destination).await {
            Ok(hop) => hop,
            Err(error) => {
                self.lost += 1;
                return debug!(%error, "a frame cannot be sent on");
            }
        };
        if self.mirror.macs(hop).is_some() {
            return self.transmit(hop, frame);
        }
        let known = self.waiting.contains_key(&hop);
        if !known && self.waiting.len() == WAITED_FOR {
            self.lost += 1;
            return;
        }
        let queue = self.waiting.entry(hop).or_default();
        if queue.len() == WAITING_FOR_ONE {
            self.lost += 1;
            return;
        }
        queue.push(Waiting {
            since: Instant::now(),
            frame,
        });
        if !known && let Err(error) = solicit(handle, hop).await {
            debug!(?hop, %error, "a neighbour cannot be asked for");
        }
    }

    /// Whether another frame may be taken from the ring now.
    pub(super) fn may_look_up(&self) -> bool {
        let Lookups { since, made } = &self.lookups;
        *made < LOOKUPS_A_SECOND || since.elapsed() >= SECOND
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self) {
        let mut late = 0;
        self.waiting.retain(|_, queue| {
            let before = queue.len();
            queue.retain(|waiting| waiting.since.elapsed() < PATIENCE);
            late += before - queue.len();
            !queue.is_empty()
        });
        self.lost += late as u64;
    }

    /// Has gateways, and some of the neighbours in turn, confirmed: nothing passes through the
    /// kernel that would tell it that they are in use.
    pub(super) async fn confirm(&mut self, handle: &Handle) {
        let after = |hop: &NextHop| self.confirmed.is_none_or(|last| *hop > last);
        let mut hops: Vec<_> = self.mirror.neighbours().filter(after).collect();
        hops.truncate(CONFIRMED_AT_ONCE);
        self.confirmed = hops.last().copied();
        hops.extend(self.mirror.gateways());
        for hop in hops {
            if let Err(error) = solicit(handle, hop).await {
                debug!(?hop, %error, "a neighbour cannot be asked for");
            }
        }
    }

    /// The tables, for what `nat` services are.
    pub(super) const fn tables(&mut self) -> &mut NatTables {
        &mut self.tables
    }

    fn release(&mut self, hop: NextHop) {
        for Waiting { frame, .. } in self.waiting.remove(&hop).unwrap_or_default() {
            self.transmit(hop, frame);
        }
    }

    fn transmit(&mut self, hop: NextHop, mut frame: Vec<u8>) {
        let sent = self.mirror.macs(hop).is_some_and(|(neighbour, own)| {
            let Some([destination, source]) = frame
                .first_chunk_mut::<12>()
                .map(|macs| macs.as_chunks_mut::<6>().0)
                .and_then(|macs| <&mut [[u8; 6]; 2]>::try_from(macs).ok())
            else {
                return false;
            };
            (*destination, *source) = (neighbour, own);
            self.transmit_by(hop.ifindex, &frame)
        });
        if sent {
            self.sent += 1;
        } else {
            self.lost += 1;
        }
    }

    fn transmit_by(&mut self, ifindex: u32, frame: &[u8]) -> bool {
        let sender = match self.senders.entry(ifindex) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => match FrameSender::open(ifindex) {
                Ok(sender) => entry.insert(sender),
                Err(error) => {
                    warn!(ifindex, %error, "no socket to send frames by");
                    return false;
                }
            },
        };
        sender.clear_error();
        sender
            .send(frame)
            .inspect_err(|error| debug!(%error, "a frame was not sent on"))
            .is_ok()
    }
}
