//! The loaded programs with maps of their own: a [`World`] goes in, frames run through
//! `BPF_PROG_TEST_RUN`, and what they left behind comes out.

use std::collections::BTreeMap;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, lpm_trie::Key},
    programs::{
        SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, Xdp, XdpMode, tc, xdp::XdpLink,
    },
};
use bytemuck::Zeroable as _;
use hafw_common::{
    backend::{Backend, Traffic},
    blocked::Source,
    counters::{Counter, Verdict},
    event::{
        ADVERT_EVENT_HEADER, AdvertEvent, ClaimEvent, EVENT_ADVERT, EVENT_CLAIM, UnresolvedEvent,
    },
    guard::{Guard, SourceKey},
    iface::Iface,
    lease::{Lease, Seen},
    maps,
    moved::{FlowEntry, FlowKey},
    nat::{NatKey, NatSource},
    route::{NeighbourKey, Route},
    router::{PeerKey, PeerSeen, RouterConfig},
    service::{Service, ServiceKey},
    vip::{Vip, VipKey, filter_bit_of},
};
use hafw_ebpf::fixtures::{
    Clock, Event, Observed, SeenDelta, World, cases::moved_flow, world::IFACE,
};

/// What the XDP program answers: include/uapi/linux/bpf.h, enum xdp_action.
const XDP_ACTIONS: [(u32, Verdict); 4] = [
    (1, Verdict::Drop),
    (2, Verdict::Pass),
    (3, Verdict::Tx),
    (4, Verdict::Redirect),
];
/// Slots: two services of the usual size.
const SLOT_CAPACITY: u32 = 2 * 65_537;
/// What the egress program answers for a frame that must not leave: TC_ACT_SHOT.
const TC_SHOT: u32 = 2;

/// The programs, loaded.
pub struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    installed: Option<World>,
    counters: BTreeMap<Counter, u64>,
    traffic: BTreeMap<u32, Traffic>,
}

struct Tables {
    ifaces: Array<MapData, Iface>,
    vrids: Array<MapData, u32>,
    routers: Array<MapData, RouterConfig>,
    leases: Array<MapData, Lease>,
    seen: Array<MapData, Seen>,
    peers: HashMap<MapData, PeerKey, PeerSeen>,
    vip_filter: Array<MapData, u64>,
    vips: HashMap<MapData, VipKey, Vip>,
    services: HashMap<MapData, ServiceKey, Service>,
    slots: Array<MapData, u64>,
    backends: Array<MapData, Backend>,
    traffic: PerCpuArray<MapData, Traffic>,
    counters: PerCpuArray<MapData, u64>,
    events: RingBuf<MapData>,
    nat_filter: Array<MapData, u64>,
    nat_sources: HashMap<MapData, NatKey, NatSource>,
    routes: LpmTrie<MapData, [u8; 16], Route>,
    neighbours: HashMap<MapData, NeighbourKey, u64>,
    blocked: HashMap<MapData, Source, u64>,
    unresolved: RingBuf<MapData>,
    flows: HashMap<MapData, FlowKey, FlowEntry>,
    embryos: Array<MapData, [u64; 2]>,
    base_seen: Array<MapData, u64>,
    guards: LpmTrie<MapData, [u8; 20], Guard>,
    sources: HashMap<MapData, SourceKey, u64>,
}

impl Kernel {
    /// Loads the programs of an object.
    ///
    /// # Panics
    /// The kernel refuses them; the verifier's log is in the message.
    #[must_use]
    pub fn load(object: &[u8]) -> Self {
        let mut ebpf = EbpfLoader::new()
            .override_global("IFACE_SLOT", &IFACE, true)
            .map_max_entries(maps::SLOTS, SLOT_CAPACITY)
            .map_max_entries(maps::BASE_SEEN, SLOT_CAPACITY)
            .load(object)
            .unwrap_or_else(|error| panic!("cannot load the object: {error:?}"));
        for name in ["hafw", "hafw_pass", "hafw_clock"] {
            let program = xdp_mut(&mut ebpf, name);
            program
                .load()
                .unwrap_or_else(|error| panic!("cannot load {name}: {error}"));
        }
        egress_mut(&mut ebpf)
            .load()
            .unwrap_or_else(|error| panic!("cannot load hafw_egress: {error}"));
        let tables = Tables::take(&mut ebpf);
        Self {
            ebpf,
            tables,
            installed: None,
            counters: BTreeMap::new(),
            traffic: BTreeMap::new(),
        }
    }

    /// The loaded packet path.
    #[must_use]
    pub fn xdp(&self) -> &Xdp {
        self.program("hafw")
    }

    /// One of the loaded XDP programs.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn program(&self, name: &str) -> &Xdp {
        self.ebpf
            .program(name)
            .expect("the object has it")
            .try_into()
            .expect("an XDP program")
    }

    /// Attaches an XDP program in native mode, until this is dropped.
    ///
    /// # Panics
    /// The kernel refuses it.
    pub fn attach(&mut self, program: &str, interface: &str) {
        xdp_mut(&mut self.ebpf, program)
            .attach(interface, XdpMode::Driver)
            .unwrap_or_else(|error| panic!("cannot attach {program} to {interface}: {error:?}"));
    }

    /// As [`Self::attach`], until what is returned is dropped.
    ///
    /// # Panics
    /// The kernel refuses it.
    #[must_use]
    pub fn attach_link(&mut self, program: &str, interface: &str) -> XdpLink {
        attach_link(xdp_mut(&mut self.ebpf, program), interface)
    }

    /// Attaches the egress program, until this is dropped.
    ///
    /// # Panics
    /// The kernel refuses it.
    pub fn attach_egress(&mut self, interface: &str) {
        // Kernels before 6.6 have no TCX links, but filters, which need the qdisc.
        let _ = tc::qdisc_add_clsact(interface);
        egress_mut(&mut self.ebpf)
            .attach(interface, TcAttachType::Egress)
            .unwrap_or_else(|error| panic!("cannot attach hafw_egress to {interface}: {error:?}"));
    }

    /// Both clocks, as the programs read them.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let (_, frame) = run(self.program("hafw_clock"), &[0; 64]);
        let word = |at: usize| u64::from_ne_bytes(frame[at..at + 8].try_into().expect("8 bytes"));
        Clock {
            jiffies: word(0),
            now: word(8),
        }
    }

    /// Puts a world into the maps, in place of the last one.
    pub fn install(&mut self, world: &World) {
        if let Some(last) = self.installed.take() {
            self.tables.put(&last, true);
        }
        self.tables.put(world, false);
        self.installed = Some(world.clone());
        self.forget();
    }

    /// Makes [`Self::observed`] start from here, and undoes what runs changed in the tables.
    pub fn forget(&mut self) {
        let world = self.installed.as_ref().expect("a world is installed");
        for (index, router) in &world.routers {
            self.tables
                .seen
                .set(*index, router.seen, 0)
                .expect("the index is in range");
        }
        let peers: Vec<PeerKey> = self
            .tables
            .peers
            .keys()
            .map(|key| key.expect("a key"))
            .collect();
        for peer in peers {
            self.tables.peers.remove(&peer).expect("the key was there");
        }
        self.tables.reset_flows(world);
        self.tables.drain();
        self.counters = self.tables.counters();
        self.traffic = self.tables.traffic(world);
    }

    /// Runs the packet path over a received frame: its verdict, and the frame after.
    #[must_use]
    pub fn receive(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (action, frame) = run(self.xdp(), frame);
        let verdict = XDP_ACTIONS.iter().find(|(number, _)| *number == action);
        let (_, verdict) = verdict.unwrap_or_else(|| panic!("action {action}"));
        (*verdict, frame)
    }

    /// Runs the egress program; false if the frame must not leave.
    ///
    /// # Panics
    /// The kernel cannot run it, or it changed the frame.
    #[must_use]
    pub fn send(&self, frame: &[u8]) -> bool {
        let program: &SchedClassifier = self
            .ebpf
            .program("hafw_egress")
            .expect("the object has it")
            .try_into()
            .expect("a classifier");
        let mut out = vec![0; frame.len()];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("cannot run hafw_egress: {error}"));
        assert_eq!(out, frame);
        result.return_value != TC_SHOT
    }

    /// What the runs since [`Self::install`] or [`Self::forget`] changed.
    #[must_use]
    pub fn observed(&mut self) -> Observed {
        let world = self.installed.as_ref().expect("a world is installed");
        let mut observed = Observed::default();
        for (counter, value) in self.tables.counters() {
            let more = value - self.counters[&counter];
            if more != 0 {
                observed.counters.insert(counter, more);
            }
        }
        for (backend, after) in self.tables.traffic(world) {
            let before = self.traffic[&backend];
            let (packets, bytes) = (after.packets - before.packets, after.bytes - before.bytes);
            if packets != 0 || bytes != 0 {
                observed.add_traffic(backend, Traffic { packets, bytes });
            }
        }
        for (index, router) in &world.routers {
            let after = self
                .tables
                .seen
                .get(index, 0)
                .expect("the index is in range");
            if let Some(delta) = SeenDelta::between(&router.seen, &after) {
                observed.seen.insert(*index, delta);
            }
        }
        for entry in self.tables.peers.iter() {
            let (key, peer) = entry.expect("an entry");
            let noted = (peer.adverts, peer.priority, peer.mac);
            observed.peers.insert((key.router, key.source), noted);
        }
        observed.events = self.tables.drain();
        let flows = self
            .tables
            .flows
            .iter()
            .map(|entry| entry.expect("an entry"));
        observed.flows = flows.map(|(key, entry)| (key, entry.backend)).collect();
        let used = |slot: &&u32| self.tables.base_seen.get(slot, 0).is_ok_and(|at| at != 0);
        observed.bases = world.slots.keys().filter(used).copied().collect();
        observed
    }
}

/// Runs an XDP program once over a frame: its answer, and the frame after.
///
/// # Panics
/// The kernel cannot run it.
#[must_use]
pub fn run(program: &Xdp, frame: &[u8]) -> (u32, Vec<u8>) {
    // It may grow.
    let mut out = vec![0; frame.len() + 64];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        })
        .unwrap_or_else(|error| panic!("cannot run over {} bytes: {error:?}", frame.len()));
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

/// Attaches a loaded program in native mode, until what is returned is dropped.
pub(crate) fn attach_link(program: &mut Xdp, interface: &str) -> XdpLink {
    let attached = program.attach(interface, XdpMode::Driver);
    let link = attached.and_then(|id| program.take_link(id));
    link.unwrap_or_else(|error| panic!("cannot attach to {interface}: {error:?}"))
}

pub(crate) fn xdp_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    ebpf.program_mut(name)
        .expect("the object has it")
        .try_into()
        .expect("an XDP program")
}

fn egress_mut(ebpf: &mut Ebpf) -> &mut SchedClassifier {
    ebpf.program_mut("hafw_egress")
        .expect("the object has it")
        .try_into()
        .expect("a classifier")
}

impl Tables {
    fn take(ebpf: &mut Ebpf) -> Self {
        Self {
            ifaces: typed(ebpf, maps::IFACES),
            vrids: typed(ebpf, maps::VRIDS),
            routers: typed(ebpf, maps::ROUTERS),
            leases: typed(ebpf, maps::LEASES),
            seen: typed(ebpf, maps::SEEN),
            peers: typed(ebpf, maps::PEERS),
            vip_filter: typed(ebpf, maps::VIP_FILTER),
            vips: typed(ebpf, maps::VIPS),
            services: typed(ebpf, maps::SERVICES),
            slots: typed(ebpf, maps::SLOTS),
            backends: typed(ebpf, maps::BACKENDS),
            traffic: typed(ebpf, maps::TRAFFIC),
            counters: typed(ebpf, maps::COUNTERS),
            events: typed(ebpf, maps::EVENTS),
            nat_filter: typed(ebpf, maps::NAT_FILTER),
            nat_sources: typed(ebpf, maps::NAT_SOURCES),
            routes: typed(ebpf, maps::ROUTES),
            neighbours: typed(ebpf, maps::NEIGHBOURS),
            blocked: typed(ebpf, maps::BLOCKED),
            unresolved: typed(ebpf, maps::UNRESOLVED),
            flows: typed(ebpf, maps::FLOWS),
            embryos: typed(ebpf, maps::EMBRYOS),
            base_seen: typed(ebpf, maps::BASE_SEEN),
            guards: typed(ebpf, maps::GUARDS),
            sources: typed(ebpf, maps::SOURCES),
        }
    }

    /// Writes a world's entries, or takes them away.
    fn put(&mut self, world: &World, away: bool) {
        let kept = !away;
        for (slot, iface) in &world.ifaces {
            self.ifaces
                .set(*slot, if_kept(kept, *iface), 0)
                .expect("in range");
        }
        for (index, router) in &world.routers {
            self.routers
                .set(*index, if_kept(kept, router.config), 0)
                .expect("in range");
            self.leases
                .set(*index, if_kept(kept, router.lease), 0)
                .expect("in range");
            self.seen
                .set(*index, if_kept(kept, router.seen), 0)
                .expect("in range");
            let vrid = maps::vrid_index(router.config.iface, router.is_ipv6(), router.config.vrid);
            self.vrids
                .set(vrid, if_kept(kept, index + 1), 0)
                .expect("in range");
        }
        for (address, vip) in &world.vips {
            let key = VipKey { address: *address };
            put(&mut self.vips, &key, vip, kept);
        }
        put_filter(&mut self.vip_filter, world.vips.keys().copied(), kept);
        for (key, source) in &world.nat_sources {
            put(&mut self.nat_sources, key, source, kept);
        }
        let addresses = world.nat_sources.keys().map(|key| key.address);
        put_filter(&mut self.nat_filter, addresses, kept);
        for ((prefix, length), route) in &world.routes {
            let key = Key::new(*length, *prefix);
            if kept {
                self.routes.insert(&key, route, 0).expect("there is room");
            } else {
                self.routes.remove(&key).expect("it was put there");
            }
        }
        for ((prefix, bits), guard) in &world.guards {
            let key = Key::new(*bits, *prefix);
            if kept {
                self.guards.insert(&key, guard, 0).expect("there is room");
            } else {
                self.guards.remove(&key).expect("it was put there");
            }
        }
        for (key, mac) in &world.neighbours {
            put(&mut self.neighbours, key, mac, kept);
        }
        for (address, until) in &world.blocked {
            let key = Source { address: *address };
            put(&mut self.blocked, &key, until, kept);
        }
        for (key, service) in &world.services {
            put(&mut self.services, key, service, kept);
        }
        for (index, slot) in &world.slots {
            self.slots
                .set(*index, if_kept(kept, slot.0), 0)
                .expect("in range");
        }
        for (index, backend) in &world.backends {
            self.backends
                .set(*index, if_kept(kept, *backend), 0)
                .expect("in range");
        }
    }

    /// Makes the flows, and the sources that began some, those of a world.
    fn reset_flows(&mut self, world: &World) {
        let sources: Vec<SourceKey> = self.sources.keys().map(|key| key.expect("a key")).collect();
        for key in sources {
            self.sources.remove(&key).expect("the key was there");
        }
        for (key, due) in &world.sources {
            self.sources.insert(key, due, 0).expect("there is room");
        }
        let keys: Vec<FlowKey> = self.flows.keys().map(|key| key.expect("a key")).collect();
        for key in keys {
            self.flows.remove(&key).expect("the key was there");
            // A SYN of the flow may have been seen.
            let place = key.fingerprint().index;
            self.embryos.set(place, [0; 2], 0).expect("in range");
        }
        for (key, entry) in &world.flows {
            self.flows.insert(key, entry, 0).expect("there is room");
        }
        for index in world.slots.keys() {
            // Slots beyond the table are part of the fixture.
            let _ = self.base_seen.set(*index, 0, 0);
        }
        self.embryos
            .set(moved_flow().fingerprint().index, [0; 2], 0)
            .expect("in range");
        for embryo in &world.embryos {
            self.embryos
                .set(embryo.flow.index, embryo.to_words(), 0)
                .expect("in range");
        }
    }

    fn counters(&self) -> BTreeMap<Counter, u64> {
        let value = |counter: Counter| -> u64 {
            self.counters
                .get(&(counter as u32), 0)
                .expect("in range")
                .iter()
                .sum()
        };
        Counter::ALL
            .iter()
            .map(|counter| (*counter, value(*counter)))
            .collect()
    }

    fn traffic(&self, world: &World) -> BTreeMap<u32, Traffic> {
        let value = |index: u32| {
            let cpus = self.traffic.get(&index, 0).expect("in range");
            cpus.iter().fold(Traffic::default(), |sum, cpu| Traffic {
                packets: sum.packets + cpu.packets,
                bytes: sum.bytes + cpu.bytes,
            })
        };
        world
            .backends
            .keys()
            .map(|index| (*index, value(*index)))
            .collect()
    }

    fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(record) = self.events.next() {
            events.push(parse(&record));
        }
        while let Some(record) = self.unresolved.next() {
            let event: UnresolvedEvent = bytemuck::pod_read_unaligned(&record);
            events.push(Event::from(&event));
        }
        events
    }
}

fn parse(record: &[u8]) -> Event {
    let kind = u32::from_ne_bytes(record[..4].try_into().expect("4 bytes"));
    match kind {
        EVENT_ADVERT => {
            let mut event = AdvertEvent::zeroed();
            bytemuck::bytes_of_mut(&mut event)[..record.len()].copy_from_slice(record);
            assert_eq!(
                record.len(),
                ADVERT_EVENT_HEADER + usize::from(event.length)
            );
            Event::from(&event)
        }
        EVENT_CLAIM => Event::from(&bytemuck::pod_read_unaligned::<ClaimEvent>(record)),
        other => panic!("a record of kind {other}"),
    }
}

fn if_kept<T: bytemuck::Zeroable>(kept: bool, value: T) -> T {
    if kept { value } else { T::zeroed() }
}

fn put<K: aya::Pod, V: aya::Pod>(map: &mut HashMap<MapData, K, V>, key: &K, value: &V, kept: bool) {
    if kept {
        map.insert(key, value, 0).expect("there is room");
    } else {
        map.remove(key).expect("it was put there");
    }
}

/// Sets the bits of addresses in a filter, or clears their words.
fn put_filter(
    filter: &mut Array<MapData, u64>,
    addresses: impl Iterator<Item = [u8; 16]>,
    kept: bool,
) {
    let mut words = BTreeMap::new();
    for (word, bit) in addresses.map(filter_bit_of) {
        *words.entry(word).or_insert(0) |= bit;
    }
    for (word, bits) in words {
        filter.set(word, if_kept(kept, bits), 0).expect("in range");
    }
}

fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> T {
    let map = ebpf
        .take_map(name)
        .unwrap_or_else(|| panic!("the object has no map {name}"));
    T::try_from(map).unwrap_or_else(|error| panic!("map {name}: {error}"))
}
