//! One node of the law of slots that move: its balancer, and its maps as the packet path reads them.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, time::Duration, vec, vec::Vec};

use hafw_common::{
    backend::{BACKEND_DEAD, Backend},
    moved::{EMBRYOS, FLOW_CLOSING, FlowEntry, FlowKey},
    service::{MODE_DSR, NO_BACKEND, Slot},
};
use hafw_lb::{
    BackendSpec, Balancer, Capacity, Change, Evidence, FLOW_CLOSED, FLOW_IDLE, FlowVerdict, MapOp,
    ServiceSpec, State, Sweep,
};

use super::{FLOWS, SERVICE, SLOTS, TICK, address, key, slot};
use crate::{
    flows::{FlowTables, FlowWords, choose},
    local::Segment,
    tables::BackendWords,
    word::Word,
};

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

/// See the module.
pub(super) struct Node {
    maps: Maps,
    pub(super) balancer: Balancer,
    sweep: Option<Sweep>,
}

impl Node {
    pub(super) fn new() -> Self {
        let empty = || [Word::new(0), Word::new(0)];
        let places = (0..FLOWS).map(|port| (key(port).fingerprint().index, empty()));
        Self {
            maps: Maps {
                slots: vec![0; SLOTS as usize],
                backends: BTreeMap::new(),
                flows: RefCell::default(),
                embryos: places.collect(),
                base_seen: (0..SLOTS).map(|_| Word::new(0)).collect(),
            },
            balancer: Balancer::new(Capacity::with_slots(SLOTS)),
            sweep: None,
        }
    }

    pub(super) fn configure(&mut self, backends: &BTreeMap<u8, u32>) {
        let backends = backends.iter().map(|(number, weight)| BackendSpec {
            address: address(*number),
            weight: *weight,
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

    pub(super) fn set_state(&mut self, backend: u8, state: State) {
        let change = Change::State {
            service: SERVICE,
            backend: address(backend),
            state,
        };
        let ops = self.balancer.update(&[change]);
        self.carry_out(&ops);
    }

    pub(super) fn carry_out(&mut self, ops: &[MapOp]) {
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
    pub(super) fn send(&self, port: u16, segment: Segment, jiffies: u64) -> Option<SocketAddr> {
        let index = slot(port);
        let word = Slot(self.maps.slots[index as usize]);
        let chosen = if word.is_moved() {
            choose(&self.maps, (index, word), &key(port), segment, jiffies)
        } else {
            word.current()
        };
        let (_, address) = self.maps.backends.get(&chosen)?;
        (chosen != NO_BACKEND).then_some(*address)
    }

    pub(super) fn lives(&self, backend: SocketAddr) -> bool {
        let mut entries = self.maps.backends.values();
        entries.any(|(words, address)| *address == backend && words[0].load() & BACKEND_DEAD == 0)
    }

    pub(super) fn is_moved(&self, port: u16) -> bool {
        Slot(self.maps.slots[slot(port) as usize]).is_moved()
    }

    fn entries(&self) -> Vec<(FlowKey, FlowEntry)> {
        let flows = self.maps.flows.borrow();
        let entry = |(key, [backend, seen_at]): (&FlowKey, &&[Word; 2])| {
            let (backend, seen_at) = (backend.load(), seen_at.load());
            (*key, FlowEntry { backend, seen_at })
        };
        flows.iter().map(entry).collect()
    }

    /// Goes through the entries of flows, and brings slots nearer to rest.
    pub(super) fn look_after(&mut self, now: Duration) {
        let mut sweep = Sweep {
            began: now,
            ..Sweep::default()
        };
        for (key, entry) in self.entries() {
            let idle = now.saturating_sub(time(entry.seen_at));
            let closed = entry.backend & FLOW_CLOSING != 0 && idle >= FLOW_CLOSED;
            let backend = backend_of(entry);
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
            now,
            base_seen: &|slot| Some(time(self.maps.base_seen[slot as usize].load())),
            sweep: self.sweep.as_ref(),
        });
        self.carry_out(&ops);
    }

    /// Takes over what another node has, as user space does.
    pub(super) fn follow(&mut self, other: &Self) {
        let plan = other.balancer.plan_of(SERVICE).expect("it has the service");
        let ops = self
            .balancer
            .follow(&plan)
            .expect("they have the same slots");
        self.carry_out(&ops);
        let index_of = |address: SocketAddr| {
            let mut entries = self.maps.backends.iter();
            let found = entries.find(|(_, (_, known))| *known == address);
            *found.expect("all backends of the plan are here").0
        };
        let mut flows = BTreeMap::new();
        for (key, entry) in other.entries() {
            let backend = backend_of(entry);
            if other.balancer.judge(&key, backend) == FlowVerdict::Drop {
                continue;
            }
            let (_, address) = other.maps.backends[&backend];
            let flags = entry.backend & !u64::from(NO_BACKEND);
            flows.insert(key, (flags | u64::from(index_of(address)), entry.seen_at));
        }
        self.maps.flows.borrow_mut().clear();
        for (key, (backend, seen_at)) in flows {
            self.maps.put_flow(&key, FlowEntry { backend, seen_at });
        }
    }
}

fn backend_of(entry: FlowEntry) -> u32 {
    entry.backend as u32 & NO_BACKEND
}

fn time(jiffies: u64) -> Duration {
    TICK * u32::try_from(jiffies).expect("days at most")
}
