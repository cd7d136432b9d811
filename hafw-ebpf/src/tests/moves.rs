//! The law of slots that move: for any sequence of changes and packets, no established connection
//! of a living backend ever changes its backend. hafw-lb's plans are carried out on tables that the
//! packet path's own choice reads.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, time::Duration, vec, vec::Vec};

use hafw_common::{
    backend::{BACKEND_DEAD, Backend},
    flow::{flow_hash4, slot_of},
    moved::{EMBRYOS, FLOW_CLOSING, FlowEntry, FlowKey},
    proto::IP_TCP,
    service::{MODE_DSR, NO_BACKEND, ServiceKey, Slot},
    v4_mapped,
};
use hafw_lb::{
    BackendSpec, Balancer, Capacity, Cause, Change, Evidence, FLOW_CLOSED, FLOW_IDLE, FlowVerdict,
    MapOp, ServiceSpec, State, Sweep,
};
use proptest::{collection::vec as many, prelude::*};

use crate::{
    flows::{FlowTables, FlowWords, choose},
    local::Segment,
    tables::BackendWords,
    word::Word,
};

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

/// What the maps hold.
struct Maps {
    slots: Vec<u64>,
    backends: BTreeMap<u32, ([Word; size_of::<Backend>() / 8], SocketAddr)>,
    flows: RefCell<BTreeMap<FlowKey, &'static [Word; 2]>>,
    embryos: BTreeMap<u32, [Word; 2]>,
    base_seen: Vec<Word>,
}

impl FlowTables for Maps {
    fn flow(&self, key: &FlowKey) -> Option<FlowWords<'_>> {
        self.flows
            .borrow()
            .get(key)
            .map(|words| FlowWords::new(words))
    }

    fn put_flow(&self, key: &FlowKey, entry: FlowEntry) {
        let words = [Word::new(entry.backend), Word::new(entry.seen_at)];
        // Some hundred per case; an entry that is replaced may still be looked at.
        let words = std::boxed::Box::leak(std::boxed::Box::new(words));
        self.flows.borrow_mut().insert(*key, words);
    }

    fn remove_flow(&self, key: &FlowKey) {
        self.flows.borrow_mut().remove(key);
    }

    fn embryo(&self, index: u32) -> Option<&[Word; 2]> {
        assert!(index < EMBRYOS);
        self.embryos.get(&index)
    }

    fn backend(&self, index: u32) -> Option<BackendWords<'_>> {
        self.backends
            .get(&index)
            .map(|(words, _)| BackendWords::new(words))
    }

    fn base_seen(&self, slot: u32) -> Option<&Word> {
        self.base_seen.get(slot as usize)
    }
}

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
    maps: Maps,
    balancer: Balancer,
    now: Duration,
    weights: BTreeMap<u8, u32>,
    connections: BTreeMap<u16, Connection>,
    isn: u32,
    sweep: Option<Sweep>,
}

#[derive(Clone, Debug)]
enum Event {
    Weight(u8, u32),
    State(u8, State),
    /// Backends by number are all that there are.
    Configure(Vec<u8>),
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
        let empty = || [Word::new(0), Word::new(0)];
        let places = (0..FLOWS).map(|port| (key(port).fingerprint().index, empty()));
        let mut site = Self {
            maps: Maps {
                slots: vec![0; SLOTS as usize],
                backends: BTreeMap::new(),
                flows: RefCell::default(),
                embryos: places.collect(),
                base_seen: (0..SLOTS).map(|_| Word::new(0)).collect(),
            },
            balancer: Balancer::new(Capacity::with_slots(SLOTS)),
            now: Duration::from_secs(1000),
            weights: BTreeMap::new(),
            connections: BTreeMap::new(),
            isn: 1,
            sweep: None,
        };
        site.configure(&(0..BACKENDS).collect::<Vec<_>>());
        site
    }

    fn jiffies(&self) -> u64 {
        (self.now.as_nanos() / TICK.as_nanos()) as u64
    }

    fn configure(&mut self, backends: &[u8]) {
        let backends = backends.iter().map(|number| BackendSpec {
            address: address(*number),
            weight: self.weights.get(number).copied().unwrap_or(1),
            probed: true,
        });
        let spec = ServiceSpec {
            key: SERVICE,
            router: 0,
            mode: MODE_DSR,
            slots: SLOTS,
            backends: backends.collect(),
        };
        let ops = self.balancer.configure(&[spec]).expect("there is room");
        self.carry_out(&ops);
    }

    fn carry_out(&mut self, ops: &[MapOp]) {
        for op in ops {
            match op {
                MapOp::PutBackend {
                    index,
                    dead,
                    backend,
                    ..
                } => {
                    let words = [const { Word::new(0) }; size_of::<Backend>() / 8];
                    words[0].store(if *dead { BACKEND_DEAD } else { 0 });
                    self.maps.backends.insert(*index, (words, *backend));
                }
                MapOp::RemoveBackend { index } => {
                    self.maps.backends.remove(index);
                }
                MapOp::SetSlots { first, words } => {
                    for (offset, word) in words {
                        self.maps.slots[(first + offset) as usize] = *word;
                    }
                }
                MapOp::PutService { .. } | MapOp::RemoveService { .. } => {}
            }
        }
    }

    /// Where the packet path sends a segment.
    fn send(&self, port: u16, segment: Segment) -> Option<SocketAddr> {
        let index = slot(port);
        let word = Slot(self.maps.slots[index as usize]);
        let chosen = if word.is_moved() {
            choose(
                &self.maps,
                (index, word),
                &key(port),
                segment,
                self.jiffies(),
            )
        } else {
            word.current()
        };
        let (_, address) = self.maps.backends.get(&chosen)?;
        (chosen != NO_BACKEND).then_some(*address)
    }

    fn lives(&self, backend: SocketAddr) -> bool {
        let mut entries = self.maps.backends.values();
        entries.any(|(words, address)| *address == backend && words[0].load() & BACKEND_DEAD == 0)
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
        let moved = Slot(self.maps.slots[slot(port) as usize]).is_moved();
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

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        let mut sweep = Sweep {
            began: self.now,
            ..Sweep::default()
        };
        let entries: Vec<_> = self
            .maps
            .flows
            .borrow()
            .iter()
            .map(|(key, [backend, at])| (*key, backend.load(), at.load()))
            .collect();
        for (key, backend, at) in entries {
            let idle = TICK * u32::try_from(self.jiffies() - at).expect("days at most");
            let closed = backend & FLOW_CLOSING != 0 && idle >= FLOW_CLOSED;
            let backend = backend as u32 & NO_BACKEND;
            match self.balancer.judge(&key, backend) {
                FlowVerdict::Keep(slot) if idle < FLOW_IDLE && !closed => {
                    sweep.slots.insert(slot);
                    sweep.backends.insert(backend);
                }
                FlowVerdict::Keep(_) | FlowVerdict::Drop => self.maps.remove_flow(&key),
            }
        }
        self.sweep = Some(sweep);
        let ops = self.balancer.settle(&Evidence {
            now: self.now,
            base_seen: &|slot| {
                let at = self.maps.base_seen[slot as usize].load();
                Some(TICK * u32::try_from(at).expect("days at most"))
            },
            sweep: self.sweep.as_ref(),
        });
        self.carry_out(&ops);
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Weight(backend, weight) => {
                self.weights.insert(*backend, *weight);
                let change = Change::Weight {
                    service: SERVICE,
                    backend: address(*backend),
                    weight: *weight,
                };
                let ops = self.balancer.update(&[change]);
                self.carry_out(&ops);
            }
            Event::State(backend, state) => {
                let change = Change::State {
                    service: SERVICE,
                    backend: address(*backend),
                    state: *state,
                };
                let ops = self.balancer.update(&[change]);
                self.carry_out(&ops);
                // What a dead backend had is over, and does not come back with it.
                let dead = address(*backend);
                if *state == State::Down(Cause::Failed) {
                    self.connections.retain(|_, c| c.backend != Some(dead));
                }
            }
            Event::Configure(backends) => self.configure(backends),
            Event::Syn(port) => self.syn(*port),
            Event::Data(port) => self.data(*port, false),
            Event::Fin(port) => self.data(*port, true),
            Event::Pass(seconds) => self.pass(*seconds),
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
        3 => (backend, states).prop_map(|(b, s)| Event::State(b, s)),
        1 => prop::sample::subsequence(all, 1..=usize::from(BACKENDS)).prop_map(Event::Configure),
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
