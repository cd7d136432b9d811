//! A model of the maps, which checks after every single store that no packet could be led astray.

use super::*;

/// The maps. At first the slots hold garbage: nothing may rely on what a region held before.
pub(super) struct Maps {
    pub(super) services: BTreeMap<ServiceKey, Service>,
    slots: Vec<u64>,
    pub(super) backends: BTreeMap<u32, Backend>,
}

impl Maps {
    pub(super) fn new() -> Self {
        Self {
            services: BTreeMap::new(),
            slots: vec![0xdead_beef; SLOTS as usize],
            backends: BTreeMap::new(),
        }
    }

    pub(super) fn carry_out(&mut self, ops: &[MapOp]) {
        for op in ops {
            match op {
                MapOp::PutBackend {
                    index,
                    next_hop,
                    source,
                    ifindex,
                    identity,
                    service: _,
                    backend,
                    dead,
                } => {
                    let hop = Hop {
                        next_hop: *next_hop,
                        source: *source,
                        ifindex: *ifindex,
                    };
                    let backend = Backend {
                        identity: *identity,
                        ..entry(hop, *backend, !dead)
                    };
                    let before = self.backends.insert(*index, backend);
                    let same = before.is_none_or(|before| before.identity == *identity);
                    assert!(same, "index {index} becomes another backend in one step");
                    assert_ne!(before, Some(backend), "nothing changed");
                }
                MapOp::SetSlots { first, words } => {
                    let live = self
                        .services
                        .values()
                        .any(|service| service.first_slot == *first);
                    for (offset, word) in words {
                        let slot = &mut self.slots[(first + offset) as usize];
                        assert!(!live || *slot != *word, "nothing changed");
                        *slot = *word;
                        self.check();
                    }
                }
                MapOp::PutService { key, service } => {
                    assert_ne!(self.services.insert(*key, *service), Some(*service));
                }
                MapOp::RemoveService { key } => {
                    assert!(self.services.remove(key).is_some(), "there is none");
                }
                MapOp::RemoveBackend { index } => {
                    assert!(self.backends.remove(index).is_some(), "there is none");
                }
            }
            self.check();
        }
    }

    /// Every slot that a packet can come by leads to a backend of its service, or to none.
    fn check(&self) {
        for (key, service) in &self.services {
            let ours: Vec<_> = (0..BACKENDS)
                .map(|b| entry_identity(*key, address(b)))
                .collect();
            let words = self.region(service).iter().map(|word| Slot(*word));
            for index in words.flat_map(|word| [word.current(), word.base()]) {
                let identity = self.backends.get(&index).map(|backend| backend.identity);
                assert!(
                    index == NO_BACKEND || identity.is_some_and(|id| ours.contains(&id)),
                    "a slot of {key:?} leads to {index}, which is {identity:?}"
                );
            }
        }
    }

    fn region(&self, service: &Service) -> &[u64] {
        let first = service.first_slot as usize;
        &self.slots[first..first + service.slots as usize]
    }

    pub(super) fn found(&self) -> Found {
        let service = |(key, service): (&ServiceKey, &Service)| FoundService {
            key: *key,
            service: *service,
            words: self.region(service).to_vec(),
        };
        Found {
            services: self.services.iter().map(service).collect(),
            backends: self
                .backends
                .iter()
                .map(|(index, backend)| (*index, *backend))
                .collect(),
        }
    }

    /// What the balancer says of itself is in the maps, and nothing else.
    pub(super) fn assert_settled(&self, balancer: &Balancer) {
        let mut backends = BTreeMap::new();
        let mut services = BTreeMap::new();
        for status in balancer.services() {
            services.insert(status.key, status.service);
            let counts = |state| matches!(state, State::Unknown | State::Up);
            let any = status
                .backends
                .iter()
                .any(|b| b.weight > 0 && counts(b.state));
            let shares: Vec<_> = status
                .backends
                .iter()
                .map(|b| {
                    let timed_out = b.state == State::Down(Cause::TimedOut);
                    let chosen = if any { counts(b.state) } else { timed_out };
                    let key = backend_key(b.address);
                    Weighted {
                        key,
                        weight: if chosen { b.weight } else { 0 },
                    }
                })
                .collect();
            let index = |chosen: Option<u32>| {
                chosen.map_or(NO_BACKEND, |i| status.backends[i as usize].index)
            };
            let words: Vec<_> = build(&shares, status.service.slots)
                .into_iter()
                .map(index)
                .collect();
            let current = |word: &u64| Slot(*word).current();
            let currents: Vec<_> = self.region(&status.service).iter().map(current).collect();
            assert_eq!(currents, words);
            for b in status.backends {
                let lives = b.state != State::Down(Cause::Failed);
                let backend = Backend {
                    identity: entry_identity(status.key, b.address),
                    ..entry(b.hop, b.address, lives)
                };
                backends.insert(b.index, backend);
            }
        }
        assert_eq!(self.services, services);
        assert_eq!(self.backends, backends);
    }
}

/// A backend's entry, its identity left out.
fn entry(hop: Hop, address: SocketAddr, lives: bool) -> Backend {
    let Hop {
        next_hop,
        source,
        ifindex,
    } = hop;
    let resolved = next_hop.map_or(0, |mac| mac_to_word(mac) | BACKEND_RESOLVED);
    let bytes = u128::from_le_bytes(hafw_common::mapped(address.ip()));
    let port = address.port().to_be_bytes();
    let delta = Delta { ip: 0, l4: 0 };
    Backend {
        next_hop: resolved | if lives { 0 } else { BACKEND_DEAD },
        source: mac_to_word(source),
        ifindex: ifindex.into(),
        identity: 0,
        address: bytes as u64,
        address_end: (bytes >> 64) as u64,
        rewrite: Rewrite { port, delta }.to_word(),
        reserved: 0,
    }
}
