//! The law of slots that move: for any sequence of changes and packets, no established connection
//! of a living backend ever changes its backend, also when another node takes over that was told the
//! plan and the entries of flows. hafw-lb's plans are carried out on tables that the packet path's own
//! choice reads.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration, vec, vec::Vec};

use hafw_common::{
    flow::{flow_hash4, slot_of},
    moved::FlowKey,
    proto::IP_TCP,
    service::ServiceKey,
    v4_mapped,
};
use hafw_lb::{Cause, FLOW_IDLE, State};
use proptest::{collection::vec as many, prelude::*};

use self::node::Node;
use crate::local::Segment;

mod node;

const SLOTS: u32 = 5;
const BACKENDS: u8 = 4;
const FLOWS: u16 = 24;
const SERVICE: ServiceKey = ServiceKey {
    address: v4_mapped([10, 0, 0, 3]),
    port: [0, 80],
    protocol: IP_TCP,
    reserved: 0,
};
/// A tick of the test's jiffies.
const TICK: Duration = Duration::from_millis(4);

/// A client gives a handshake up after this.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// A connection as its two ends know it.
#[derive(Clone, Copy, Debug)]
struct Connection {
    /// The client's first sequence number.
    isn: u32,
    /// Who has the connection; with a port that is used again, the last one's. None: nobody.
    backend: Option<SocketAddr>,
    /// Its SYN was sent while its slot was not at rest.
    embryonic: bool,
    established: bool,
    /// Of the last packet.
    at: Duration,
}

struct Site {
    active: Node,
    standby: Node,
    now: Duration,
    /// By number, with their weights.
    backends: BTreeMap<u8, u32>,
    connections: BTreeMap<u16, Connection>,
    isn: u32,
}

#[derive(Clone, Debug)]
enum Event {
    Weight(u8, u32),
    State(u8, State),
    /// What the standby's own probes find.
    Elsewhere(u8, State),
    /// Backends by number are all that there are; whether the standby knows.
    Configure(Vec<u8>, bool),
    /// The standby is told.
    Tell,
    /// The standby takes over, after it was told.
    Takeover,
    /// A client connects, or sends its SYN again.
    Syn(u16),
    /// The handshake's last packet, or later data.
    Data(u16),
    Fin(u16),
    /// Time passes, in seconds, and user space looks after the slots.
    Pass(u64),
    /// A forged SYN of somebody's flow, and noise.
    Forged(u16, u32),
}

fn key(port: u16) -> FlowKey {
    FlowKey {
        client: v4_mapped([10, 9, 0, 1]),
        vip: SERVICE.address,
        client_port: port.to_be_bytes(),
        port: SERVICE.port,
        protocol: IP_TCP,
        reserved: [0; 3],
    }
}

fn address(backend: u8) -> SocketAddr {
    ([10, 0, 1, backend], 80).into()
}

fn slot(port: u16) -> u32 {
    let port = port.to_be_bytes();
    slot_of(
        flow_hash4([10, 9, 0, 1], [10, 0, 0, 3], port, SERVICE.port, IP_TCP),
        SLOTS,
    )
}

impl Site {
    fn new() -> Self {
        let mut site = Self {
            active: Node::new(),
            standby: Node::new(),
            now: Duration::from_secs(1000),
            backends: (0..BACKENDS).map(|number| (number, 1)).collect(),
            connections: BTreeMap::new(),
            isn: 1,
        };
        site.active.configure(&site.backends);
        site.standby.configure(&site.backends);
        site
    }

    fn send(&self, port: u16, segment: Segment) -> Option<SocketAddr> {
        let jiffies = (self.now.as_nanos() / TICK.as_nanos()) as u64;
        self.active.send(port, segment, jiffies)
    }

    fn lives(&self, backend: SocketAddr) -> bool {
        self.active.lives(backend)
    }

    fn take_over(&mut self) {
        self.standby.follow(&self.active);
        let ops = self.standby.balancer.unfollow(SERVICE);
        self.standby.carry_out(&ops);
        std::mem::swap(&mut self.active, &mut self.standby);
        // Handshakes are not told, and a backend that is dead for this node has nothing any more.
        let active = &self.active;
        let goes_on = |c: &Connection| c.established && c.backend.is_some_and(|b| active.lives(b));
        self.connections.retain(|_, connection| goes_on(connection));
    }

    fn segment(sequence: u32) -> Segment {
        Segment {
            sequence,
            is_tcp: true,
            ..Segment::default()
        }
    }

    fn syn(&mut self, port: u16) {
        let known = self.connections.get(&port).copied();
        // A client uses a port again only when its connection has ended, for good measure long ago.
        let again = known.filter(|known| known.backend.is_some_and(|b| self.lives(b)));
        if again.is_some_and(|known| known.established) {
            return;
        }
        // Later it is another connection, with another number.
        let again = again.filter(|known| self.now.saturating_sub(known.at) < HANDSHAKE);
        let isn = again.map_or_else(
            || {
                self.isn = self.isn.wrapping_add(0x0100_0000);
                self.isn
            },
            |known| known.isn,
        );
        let opens = Segment {
            opens: true,
            ..Self::segment(isn)
        };
        let backend = self.send(port, opens);
        let moved = self.active.is_moved(port);
        // A handshake that began at rest is not known of: who gets the last SYN has it.
        if let Some(known) = again.filter(|known| known.embryonic && moved) {
            assert_eq!(known.backend, backend, "a SYN sent again goes elsewhere");
        }
        let connection = Connection {
            isn,
            backend,
            embryonic: moved,
            established: false,
            at: self.now,
        };
        self.connections.insert(port, connection);
    }

    fn data(&mut self, port: u16, closes: bool) {
        let Some(known) = self.connections.get(&port).copied() else {
            return;
        };
        let Some(backend) = known.backend else {
            return;
        };
        let quiet = self.now.saturating_sub(known.at);
        let given_up = if known.established {
            FLOW_IDLE
        } else {
            HANDSHAKE
        };
        if !self.lives(backend) || quiet >= given_up {
            self.connections.remove(&port);
            return;
        }
        let sequence = known
            .isn
            .wrapping_add(if known.established { 500 } else { 1 });
        let segment = Segment {
            closes,
            ..Self::segment(sequence)
        };
        let to = self.send(port, segment);
        assert_eq!(
            to,
            Some(backend),
            "port {port} at {:?}: {known:?}",
            self.now
        );
        if closes {
            self.connections.remove(&port);
        } else {
            let established = true;
            let at = self.now;
            self.connections.insert(
                port,
                Connection {
                    established,
                    at,
                    ..known
                },
            );
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Weight(backend, weight) => {
                if let Some(known) = self.backends.get_mut(backend) {
                    *known = *weight;
                    self.active.configure(&self.backends);
                }
            }
            Event::State(backend, state) => {
                self.active.set_state(*backend, *state);
                // What a dead backend had is over, and does not come back with it.
                let dead = address(*backend);
                if *state == State::Down(Cause::Failed) {
                    self.connections.retain(|_, c| c.backend != Some(dead));
                }
            }
            Event::Elsewhere(backend, state) => self.standby.set_state(*backend, *state),
            Event::Configure(backends, both) => {
                let weight = |number| self.backends.get(number).copied().unwrap_or(1);
                self.backends = backends.iter().map(|b| (*b, weight(b))).collect();
                self.active.configure(&self.backends);
                if *both {
                    self.standby.configure(&self.backends);
                }
            }
            Event::Tell => self.standby.follow(&self.active),
            Event::Takeover => self.take_over(),
            Event::Syn(port) => self.syn(*port),
            Event::Data(port) => self.data(*port, false),
            Event::Fin(port) => self.data(*port, true),
            Event::Pass(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.active.look_after(self.now);
                self.standby.look_after(self.now);
            }
            Event::Forged(port, sequence) => {
                // Far from any real one: a forger has to guess 16 of 32 bits.
                let opens = Segment {
                    opens: true,
                    ..Self::segment(sequence | 0x0080_0000)
                };
                // Only of a connection that is established: before, the forger wins the place.
                if self.connections.get(port).is_some_and(|c| c.established) {
                    let _ = self.send(*port, opens);
                }
            }
        }
    }
}

fn an_event() -> impl Strategy<Value = Event> {
    let backend = 0..BACKENDS;
    let states = prop::sample::select(vec![
        State::Up,
        State::Down(Cause::TimedOut),
        State::Down(Cause::Failed),
    ]);
    let all: Vec<_> = (0..BACKENDS).collect();
    prop_oneof![
        3 => (backend.clone(), 0..3u32).prop_map(|(b, w)| Event::Weight(b, w)),
        3 => (backend.clone(), states.clone()).prop_map(|(b, s)| Event::State(b, s)),
        1 => (backend, states).prop_map(|(b, s)| Event::Elsewhere(b, s)),
        1 => (prop::sample::subsequence(all, 1..=usize::from(BACKENDS)), any::<bool>())
            .prop_map(|(backends, both)| Event::Configure(backends, both)),
        2 => Just(Event::Tell),
        1 => Just(Event::Takeover),
        12 => (0..FLOWS).prop_map(Event::Syn),
        24 => (0..FLOWS).prop_map(Event::Data),
        2 => (0..FLOWS).prop_map(Event::Fin),
        6 => prop_oneof![3 => 0..5u64, 2 => 30..300u64, 1 => 600..1000u64].prop_map(Event::Pass),
        3 => (0..FLOWS, any::<u32>()).prop_map(|(port, seq)| Event::Forged(port, seq)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_established_flow_of_a_living_backend_changes_backend(
        events in many(an_event(), 1..300),
    ) {
        let mut site = Site::new();
        for event in &events {
            site.happen(event);
        }
    }
}
