//! The engine's world: the ring, the wires and the lease words.

mod announcing;

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hafw_common::{event::AdvertEvent, unmapped};
use hafw_vrrp::{
    Effects, Engine, Event, Instant, Missed, Priority, Refusal, Revocation, RouterConfig,
    StateKind, Transition, wire::Advertisement,
};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use self::announcing::Announcing;
use super::{
    handoff::Handoff,
    thread::Snapshot,
    wire::{Wire, group_of},
};
use crate::{
    datapath::{EventRing, LeaseTable, PeerTable, Record},
    sys::clock,
};

/// How much of a grace may be left when it is looked at whether something still arrives.
const GRACE_MARGIN: Duration = Duration::from_secs(1);
/// How much a grace is prolonged by, when something does.
const GRACE_MORE: Duration = Duration::from_secs(10);

/// One virtual router of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSpec {
    /// Name, for the log.
    pub name: String,
    /// The protocol's part.
    pub router: RouterConfig,
    /// Index of its interface among [`DriverParts::wires`].
    pub interface: usize,
    /// The MAC that the router goes by, if it is not the interface's own. Nodes share it: a peer has no
    /// grace at it.
    pub virtual_mac: Option<[u8; 6]>,
    /// To whom adverts go by unicast; none: to the group.
    pub unicast_peers: Vec<IpAddr>,
    /// Routers with the same one move together.
    pub sync_group: Option<String>,
}

/// What the driver works with.
pub struct DriverParts {
    /// Interfaces of the routers; None where there is none now.
    pub wires: Vec<Option<Wire>>,
    /// The lease words.
    pub leases: Arc<LeaseTable>,
    /// The ring.
    pub events: EventRing,
    /// Peers as XDP saw them: asked when the ring overflowed.
    pub peers: Arc<PeerTable>,
    /// Told of every change of state. Never waited for: what finds it full is not told.
    pub changes: mpsc::Sender<Change>,
}

/// A router's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub router: String,
    /// What changed.
    pub transition: Transition,
    /// The effective priority.
    pub priority: Priority,
    /// When.
    pub at: SystemTime,
}

/// See the module.
pub(super) struct Driver {
    lanes: Vec<Lane>,
    leases: Arc<LeaseTable>,
    events: EventRing,
    peers: Arc<PeerTable>,
    changes: mpsc::Sender<Change>,
    /// Changes that are told once the snapshots show them.
    untold: Vec<Change>,
    routers: Vec<Router>,
    announcing: Announcing,
}

/// An interface of the node: the device that it is now, and what was counted over it, whichever it
/// was.
struct Lane {
    wire: Option<Wire>,
    /// VRRP packets that came through netfilter on devices that are gone, of IPv4 and IPv6.
    before: [u64; 2],
}

struct Router {
    spec: RouterSpec,
    /// After tracking.
    priority: Priority,
    /// The priority of the last renewal, while Active.
    active_with: Option<u8>,
    handoff: Handoff,
    /// When the virtual MAC was last shown to the switches, where adverts do not do that.
    shown_at: Option<Instant>,
    /// The peer whose release makes us Active: it is in its grace once the lease is ours.
    took_over_from: Option<[u8; 6]>,
    grace: Option<Grace>,
    /// Ethernet source of the advert that was last taken from the ring, unless it was 0's.
    heard_from: Option<[u8; 6]>,
    /// In a fault, whether the proxy still works.
    local_in_fault: bool,
    /// SEEN's count of adverts without room in the ring, as last looked at.
    overflow: u64,
    sent: u64,
    failed: u64,
    failure: String,
    announced: u64,
}

/// What is still served after stepping down.
#[derive(Clone, Copy)]
struct Grace {
    until: Instant,
    /// The proxy's connections too.
    local: bool,
    /// To whom new connections are handed.
    owner: Option<[u8; 6]>,
}

impl Driver {
    pub(super) fn new(parts: DriverParts, routers: Vec<RouterSpec>) -> Self {
        let DriverParts {
            wires,
            leases,
            events,
            peers,
            changes,
        } = parts;
        let lane = |wire| Lane {
            wire,
            before: [0; 2],
        };
        let routers = routers.into_iter().enumerate().map(|(index, spec)| Router {
            priority: spec.router.priority,
            spec,
            active_with: None,
            handoff: Handoff::default(),
            shown_at: None,
            took_over_from: None,
            grace: None,
            heard_from: None,
            local_in_fault: true,
            overflow: leases.seen(index).overflow,
            sent: 0,
            failed: 0,
            failure: String::new(),
            announced: 0,
        });
        Self {
            lanes: wires.into_iter().map(lane).collect(),
            routers: routers.collect(),
            leases,
            events,
            peers,
            changes,
            untold: Vec::new(),
            announcing: Announcing::default(),
        }
    }

    /// An interface is another device now, or none. Returns the routers that live on it.
    pub(super) fn set_wire(&mut self, interface: usize, wire: Option<Wire>) -> Vec<usize> {
        let Some(lane) = self.lanes.get_mut(interface) else {
            return Vec::new();
        };
        lane.before = [false, true].map(|ipv6| lane.through_netfilter(ipv6));
        lane.wire = wire;
        let here = |(_, router): &(usize, &Router)| router.spec.interface == interface;
        let routers = self.routers.iter().enumerate().filter(here);
        routers.map(|(index, _)| index).collect()
    }

    pub(super) fn set_source(&mut self, router: usize, source: IpAddr) {
        if let Some(router) = self.routers.get_mut(router) {
            router.spec.router.source = source;
        }
    }

    /// Tells of the changes of state since.
    pub(super) fn tell_changes(&mut self) {
        for change in self.untold.drain(..) {
            if let Err(error) = self.changes.try_send(change) {
                debug!(%error, "nobody takes changes of state");
            }
        }
    }

    /// As what changes of state are told.
    pub(super) fn set_priority(&mut self, router: usize, priority: Priority) {
        if let Some(router) = self.routers.get_mut(router) {
            router.priority = priority;
        }
    }

    pub(super) fn set_local_in_fault(&mut self, router: usize, local: bool) {
        if let Some(router) = self.routers.get_mut(router) {
            router.local_in_fault = local;
        }
    }

    pub(super) fn ring_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.wires().flat_map(Wire::vrrp_fds)
    }

    pub(super) fn drain_sockets(&mut self) {
        let wires = self.lanes.iter_mut().filter_map(|lane| lane.wire.as_mut());
        wires.for_each(Wire::drain);
    }

    pub(super) fn snapshots(&self, engine: &Engine) -> Vec<Snapshot> {
        let refused = |index| {
            let of_router = engine
                .refused()
                .iter()
                .filter(|((router, _), _)| *router == index);
            of_router.map(|(_, count)| count).sum()
        };
        self.routers
            .iter()
            .zip(engine.routers())
            .enumerate()
            .map(|(index, (router, machine))| Snapshot {
                router: machine.clone(),
                sent: router.sent,
                failed: router.failed,
                failure: router.failure.clone(),
                refused: refused(index),
                announced: router.announced,
                in_grace: router.grace.is_some(),
                through_netfilter: self.lanes[router.spec.interface]
                    .through_netfilter(router.spec.router.source.is_ipv6()),
            })
            .collect()
    }

    /// Prolongs graces in which something still arrives. True while there is one.
    pub(super) fn tend_graces(&mut self, now: Instant) -> bool {
        for (index, router) in self.routers.iter_mut().enumerate() {
            let Some(grace) = &mut router.grace else {
                continue;
            };
            if now + GRACE_MARGIN < grace.until {
                continue;
            }
            if self.leases.idle_in_grace(index, now) < GRACE_MORE {
                warn!(
                    router = router.spec.name,
                    "neighbours still send here: serving on for {GRACE_MORE:?}"
                );
                grace.until = now + GRACE_MORE;
                self.leases.extend_grace(index, grace.until, grace.local);
                if let Some(owner) = grace.owner {
                    self.leases.hand_off(index, owner, grace.until);
                }
            } else if now >= grace.until {
                router.grace = None;
            }
        }
        self.routers.iter().any(|router| router.grace.is_some())
    }

    fn wires(&self) -> impl Iterator<Item = &Wire> {
        self.lanes.iter().filter_map(|lane| lane.wire.as_ref())
    }

    fn advert(&mut self, event: &AdvertEvent) -> Option<(usize, Event)> {
        let index = event.router as usize;
        let at = Instant::from_nanos(event.at);
        let source = unmapped(event.source);
        let message = event.message.get(..usize::from(event.length))?;
        // The third byte of either version: the message was judged by XDP.
        let priority = *message.get(2)?;
        let router = self.routers.get_mut(index)?;
        if let Some(mac) = router
            .handoff
            .saw(event.mac, priority, at, router.active_with)
            && router.spec.virtual_mac.is_none()
        {
            self.leases
                .hand_off(index, mac, at + router.spec.router.grace);
        }
        // Priority 0 gives the VIPs up: whoever sends it does not own them.
        router.heard_from = (priority != 0).then_some(event.mac);
        if let (Some(grace), Some(owner)) = (&mut router.grace, router.heard_from)
            && grace.owner != Some(owner)
        {
            grace.owner = Some(owner);
            self.leases.hand_off(index, owner, grace.until);
        }
        // XDP took it for one of these.
        let destination = if router.spec.unicast_peers.is_empty() {
            group_of(source)
        } else {
            router.spec.router.source
        };
        Some((
            index,
            Event::Advert {
                at,
                source,
                destination,
                message: message.to_vec(),
            },
        ))
    }

    fn send_from(&mut self, index: usize, mac: Option<[u8; 6]>, advert: &Advertisement) -> bool {
        let router = &mut self.routers[index];
        let spec = &router.spec;
        let sent = match &mut self.lanes[spec.interface].wire {
            None => Err(no_interface()),
            Some(wire) if spec.unicast_peers.is_empty() => {
                wire.advertise(mac, &spec.router, advert)
            }
            Some(wire) => wire.advertise_to(&spec.unicast_peers, &spec.router, advert),
        };
        match sent {
            Ok(()) => {
                router.sent += 1;
                if !router.failure.is_empty() {
                    info!(router = router.spec.name, "adverts leave again");
                    router.failure.clear();
                }
                true
            }
            Err(error) => {
                router.failed += 1;
                let text = error.to_string();
                // Once for each reason, not once for each advert.
                if router.failure != text {
                    warn!(
                        router = router.spec.name,
                        %error,
                        "cannot send adverts: the lease runs out unless this ends"
                    );
                    router.failure = text;
                }
                false
            }
        }
    }
}

impl Lane {
    fn through_netfilter(&self, ipv6: bool) -> u64 {
        let now = self.wire.as_ref();
        self.before[usize::from(ipv6)] + now.map_or(0, |wire| wire.through_netfilter(ipv6))
    }
}

fn no_interface() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}

impl Effects for Driver {
    fn now(&mut self) -> Instant {
        clock::now()
    }

    fn next_event(&mut self) -> Option<(usize, Event)> {
        loop {
            let event = match self.events.take()? {
                Record::Advert { event } => self.advert(&event),
                Record::Claim { event } => {
                    let at = Instant::from_nanos(event.at);
                    Some((event.router as usize, Event::Claim { at }))
                }
            };
            // A record of a router that a former controller had is skipped.
            if let Some((index, _)) = &event
                && *index < self.routers.len()
            {
                return event;
            }
        }
    }

    fn missed(&mut self, index: usize) -> Vec<Missed> {
        let overflow = self.leases.seen(index).overflow;
        let Some(router) = self.routers.get_mut(index) else {
            return Vec::new();
        };
        if overflow == router.overflow {
            return Vec::new();
        }
        warn!(
            router = router.spec.name,
            "the event ring overflowed: asking for the peers"
        );
        router.overflow = overflow;
        router.heard_from = None;
        let peers = match self.peers.of(index) {
            Ok(peers) => peers,
            Err(error) => {
                error!(%error, "cannot read the peers");
                return Vec::new();
            }
        };
        let missed = peers.into_iter().map(|(key, seen)| Missed {
            at: Instant::from_nanos(seen.last_at),
            source: unmapped(key.source),
            priority: Priority::from(u8::try_from(seen.priority).unwrap_or(u8::MAX)),
        });
        missed.collect()
    }

    fn send(&mut self, index: usize, advert: &Advertisement) -> bool {
        self.send_from(index, self.routers[index].spec.virtual_mac, advert)
    }

    /// From the interface's own MAC: a switch that saw the virtual one here would send to this port
    /// what is for the new owner, until that sends again.
    fn say(&mut self, index: usize, advert: &Advertisement) {
        self.send_from(index, None, advert);
    }

    fn renew(&mut self, index: usize, t: Instant, attract_until: Instant, priority: Priority) {
        self.leases.renew(index, t, attract_until, priority.get());
        let router = &mut self.routers[index];
        if router.grace.take().is_some() {
            self.leases.end_handoff(index);
        }
        if let Some(mac) = router.took_over_from.take() {
            let until = t + router.spec.router.grace;
            self.leases.hand_off(index, mac, until);
        }
        router.active_with = Some(priority.get());
        self.show_virtual_mac(index, t);
    }

    fn revoke(&mut self, index: usize, revocation: Revocation, now: Instant) {
        let router = &mut self.routers[index];
        let (grace, local) = match revocation {
            Revocation::Orderly { grace }
            | Revocation::Preempted { grace }
            | Revocation::Superseded { grace } => (grace, true),
            Revocation::Fault { grace } => (grace, router.local_in_fault),
        };
        let until = now + grace;
        self.leases.step_down(index, until, local);
        let owner = match revocation {
            Revocation::Preempted { .. } | Revocation::Superseded { .. } => router.heard_from,
            Revocation::Orderly { .. } | Revocation::Fault { .. } => None,
        };
        if let Some(owner) = owner {
            self.leases.hand_off(index, owner, until);
        }
        router.grace = Some(Grace {
            until,
            local,
            owner,
        });
    }

    fn announce(&mut self, index: usize, now: Instant) {
        self.announcing.begin(index);
        self.tend_announcements(now);
    }

    fn transition(&mut self, index: usize, transition: Transition, now: Instant) {
        let Transition { from, to, cause } = transition;
        let router = &mut self.routers[index];
        let change = Change {
            router: router.spec.name.clone(),
            transition,
            priority: router.priority,
            at: SystemTime::now(),
        };
        self.untold.push(change);
        info!(
            router = router.spec.name,
            from = from.name(),
            to = to.name(),
            "{}",
            cause.text()
        );
        if to != StateKind::Active {
            router.active_with = None;
        } else {
            let interval = router.spec.router.interval.as_duration();
            router.took_over_from = router.handoff.took_over(now, interval, cause);
        }
    }

    fn refused(&mut self, index: usize, error: Refusal) {
        let router = &self.routers[index].spec.name;
        error!(router, %error, "an advert that XDP let pass was refused");
    }
}
