//! Every BPF map, and what the packet path asks of them. Layouts, capacities and who writes what:
//! [`hafw_common::maps`].

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use aya_ebpf::{
    Global,
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_TCP_LISTEN,
        bpf_fib_lookup as FibQuery, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::{
        bpf_check_mtu, bpf_fib_lookup, bpf_jiffies64, bpf_ktime_get_ns, bpf_sk_release,
        bpf_skc_lookup_tcp, bpf_xdp_load_bytes,
    },
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie},
};

use aya_log_ebpf::warn;
use hafw_common::{
    Node, as_v4,
    backend::{Backend, Traffic},
    blocked::Source,
    counters::Counter,
    event::{
        ADVERT_EVENT_HEADER, AdvertEvent, ClaimEvent, MAX_UNRESOLVED_DATAGRAM, UnresolvedEvent,
    },
    guard::{Guard, SourceKey},
    iface::Iface,
    lease::{Lease, Seen},
    mac_to_word,
    maps::{
        EVENTS_BYTES, MAX_BACKENDS, MAX_BLOCKED, MAX_FLOWS, MAX_GUARDS, MAX_IFACES, MAX_NEIGHBOURS,
        MAX_PEERS, MAX_ROUTERS, MAX_ROUTES, MAX_SERVICES, MAX_SOURCES, MAX_VIPS, UNRESOLVED_BYTES,
        VIP_FILTER_WORDS, VRID_ENTRIES, vrid_index,
    },
    moved::{self, FlowEntry, FlowKey},
    nat::{NatKey, NatSource},
    proto::VRRP_MAX_LEN,
    route::{NeighbourKey, Route},
    router::{PeerKey, PeerSeen, RouterConfig},
    service::{Service, ServiceKey, Slot},
    vip::{Vip, VipKey},
};
use hafw_ebpf::{
    flows::{FlowTables, FlowWords},
    tables::{BackendWords, Ends, Hop, LeaseWords, Query, SeenWords, Tables},
    word::Word,
};
use network_types::eth::EthHdr;

use crate::ctx::{bounded, clamped};

/// include/linux/socket.h.
const AF_INET: u8 = 2;
/// As [`AF_INET`].
const AF_INET6: u8 = 10;

/// Slot of the interface that this instance of the programs is attached to; set when it is loaded.
#[unsafe(no_mangle)]
static IFACE_SLOT: Global<u32> = Global::new(0);

#[map]
static NODE: Array<Node> = Array::with_max_entries(1, 0);
#[map]
static IFACES: Array<Iface> = Array::with_max_entries(MAX_IFACES, 0);
#[map]
static VRIDS: Array<u32> = Array::with_max_entries(VRID_ENTRIES, 0);
#[map]
static ROUTERS: Array<RouterConfig> = Array::with_max_entries(MAX_ROUTERS, 0);
#[map]
static LEASES: Array<[Word; size_of::<Lease>() / 8]> =
    Array::with_max_entries(MAX_ROUTERS, BPF_F_MMAPABLE);
#[map]
static SEEN: Array<[Word; size_of::<Seen>() / 8]> =
    Array::with_max_entries(MAX_ROUTERS, BPF_F_MMAPABLE);
#[map]
static PEERS: LruHashMap<PeerKey, PeerSeen> = LruHashMap::with_max_entries(MAX_PEERS, 0);
#[map]
static VIP_FILTER: Array<u64> = Array::with_max_entries(VIP_FILTER_WORDS, 0);
#[map]
static VIPS: HashMap<VipKey, Vip> = HashMap::with_max_entries(MAX_VIPS, 0);
#[map]
static SERVICES: HashMap<ServiceKey, Service> = HashMap::with_max_entries(MAX_SERVICES, 0);
/// User space sets the real number of entries when it makes the map.
#[map]
static SLOTS: Array<Word> = Array::with_max_entries(65_537, BPF_F_MMAPABLE);
/// As many as SLOTS.
#[map]
static BASE_SEEN: Array<Word> = Array::with_max_entries(65_537, BPF_F_MMAPABLE);
#[map]
static FLOWS: HashMap<FlowKey, FlowEntry> = HashMap::with_max_entries(MAX_FLOWS, BPF_F_NO_PREALLOC);
#[map]
static EMBRYOS: Array<[Word; 2]> = Array::with_max_entries(moved::EMBRYOS, 0);
#[map]
static BACKENDS: Array<[Word; size_of::<Backend>() / 8]> =
    Array::with_max_entries(MAX_BACKENDS, BPF_F_MMAPABLE);
#[map]
static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_BACKENDS, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
#[map]
static NAT_FILTER: Array<u64> = Array::with_max_entries(VIP_FILTER_WORDS, 0);
#[map]
static NAT_SOURCES: HashMap<NatKey, NatSource> = HashMap::with_max_entries(MAX_BACKENDS, 0);
#[map]
static ROUTES: LpmTrie<[u8; 16], Route> = LpmTrie::with_max_entries(MAX_ROUTES, 0);
#[map]
static NEIGHBOURS: HashMap<NeighbourKey, u64> = HashMap::with_max_entries(MAX_NEIGHBOURS, 0);
#[map]
static BLOCKED: HashMap<Source, u64> = HashMap::with_max_entries(MAX_BLOCKED, BPF_F_NO_PREALLOC);
#[map]
static UNRESOLVED: RingBuf = RingBuf::with_byte_size(UNRESOLVED_BYTES, 0);
#[map]
static GUARDS: LpmTrie<[u32; 5], Guard> = LpmTrie::with_max_entries(MAX_GUARDS, BPF_F_NO_PREALLOC);
#[map]
static SOURCES: LruHashMap<SourceKey, u64> = LruHashMap::with_max_entries(MAX_SOURCES, 0);
/// Where keys of guards are put together: beneath the deepest functions, the stack has no room.
#[map]
static GUARD_KEYS: PerCpuArray<GuardKeys> = PerCpuArray::with_max_entries(1, 0);
/// Where an advert is put together: it is larger than a program's stack. Private to the programs.
#[map]
static SCRATCH: PerCpuArray<AdvertEvent> = PerCpuArray::with_max_entries(1, 0);

/// See [`GUARD_KEYS`].
#[repr(C)]
struct GuardKeys {
    source: SourceKey,
    due: u64,
    prefix: lpm_trie::Key<[u32; 5]>,
}

/// The maps, for one run of a program.
pub(crate) struct Maps {
    ctx: *mut c_void,
}

impl Maps {
    /// `ctx`: what the program was called with.
    pub(crate) const fn new(ctx: *mut c_void) -> Self {
        Self { ctx }
    }
}

impl FlowTables for Maps {
    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowWords<'_>> {
        let entry = FLOWS.get_ptr(key)?;
        // SAFETY: a FlowEntry is two words. An element that is removed meanwhile may become another
        // flow's: this packet then goes to that one's backend.
        Some(FlowWords::new(unsafe { &*entry.cast::<[Word; 2]>() }))
    }

    #[inline(always)]
    fn put_flow(&self, key: &FlowKey, entry: FlowEntry) {
        // Full, or out of memory: as documented.
        let _ = FLOWS.insert(key, entry, 0);
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) {
        // Another CPU may have done it.
        let _ = FLOWS.remove(key);
    }

    #[inline(always)]
    fn embryo(&self, index: u32) -> Option<&[Word; 2]> {
        EMBRYOS.get(index)
    }

    #[inline(always)]
    fn backend(&self, index: u32) -> Option<BackendWords<'_>> {
        BACKENDS.get(index).map(BackendWords::new)
    }

    #[inline(always)]
    fn base_seen(&self, slot: u32) -> Option<&Word> {
        BASE_SEEN.get(slot)
    }
}

impl Tables for Maps {
    type Record = Record;

    #[inline(always)]
    fn iface(&self) -> Iface {
        // No MAC is all ones above 48 bits, so that nothing is addressed to a slot without entry.
        const NONE: Iface = Iface {
            mac: u64::MAX,
            ifindex: 0,
            reserved: 0,
        };
        IFACES.get(self.iface_slot()).copied().unwrap_or(NONE)
    }

    #[inline(always)]
    fn iface_slot(&self) -> u32 {
        IFACE_SLOT.load()
    }

    #[inline(always)]
    fn filter_word(&self, index: u32) -> u64 {
        VIP_FILTER.get(index).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn vip(&self, address: [u8; 16]) -> Option<Vip> {
        // SAFETY: copied out at once. An element that is removed meanwhile may be reused for
        // another VIP; the frame is then treated as one to that VIP.
        unsafe { VIPS.get(VipKey { address }) }.copied()
    }

    #[inline(always)]
    fn blocked_until(&self, source: [u8; 16]) -> u64 {
        // SAFETY: as in `vip`.
        unsafe { BLOCKED.get(Source { address: source }) }
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        // SAFETY: as in `vip`.
        unsafe { SERVICES.get(key) }.copied()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        SLOTS.get(index).map(|word| Slot(word.load()))
    }

    #[inline(always)]
    fn guard(&self, first_slot: u32, source: [u64; 2]) -> Option<&Guard> {
        // SAFETY: this CPU's own, and used by one program run at a time.
        let keys = unsafe { &mut *GUARD_KEYS.get_ptr_mut(0)? };
        let [first, second] = source;
        // As `guard_key` has it, but in words.
        let data = [
            first_slot.to_be(),
            first as u32,
            (first >> 32) as u32,
            second as u32,
            (second >> 32) as u32,
        ];
        keys.prefix = lpm_trie::Key::new(160, data);
        GUARDS.get(&keys.prefix)
    }

    #[inline(always)]
    fn source_due(&self, first_slot: u32, source: [u64; 2]) -> Option<&Word> {
        // SAFETY: as in `guard`.
        let keys = unsafe { &mut *GUARD_KEYS.get_ptr_mut(0)? };
        keys.source = SourceKey::new(first_slot, source);
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it is on the stack"
        )]
        let due = SOURCES.get_ptr(&keys.source)?;
        // SAFETY: a word. An entry that is evicted meanwhile may become another source's, which is
        // then counted once more, or less.
        Some(unsafe { &*due.cast::<Word>() })
    }

    #[inline(always)]
    fn put_source_due(&self, first_slot: u32, source: [u64; 2], due: u64) {
        if let Some(keys) = GUARD_KEYS.get_ptr_mut(0) {
            // SAFETY: as in `guard`.
            let keys = unsafe { &mut *keys };
            (keys.source, keys.due) = (SourceKey::new(first_slot, source), due);
            // It fails only where another CPU has the bucket's lock: the source goes uncounted once.
            #[expect(clippy::needless_borrows_for_generic_args, reason = "as above")]
            let _ = SOURCES.insert(&keys.source, &keys.due, 0);
        }
    }

    #[inline(always)]
    fn nat_filter_word(&self, index: u32) -> u64 {
        NAT_FILTER.get(index).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn nat_source(&self, key: &NatKey) -> Option<NatSource> {
        // SAFETY: as in `vip`.
        unsafe { NAT_SOURCES.get(key) }.copied()
    }

    #[inline(always)]
    fn route(&self, address: [u8; 16]) -> Option<Route> {
        ROUTES.get(lpm_trie::Key::new(128, address)).copied()
    }

    #[inline(always)]
    fn neighbour(&self, key: &NeighbourKey) -> Option<u64> {
        // SAFETY: as in `vip`.
        unsafe { NEIGHBOURS.get(key) }.copied()
    }

    #[inline(always)]
    fn mtu(&self, ifindex: u32) -> Option<u32> {
        let mut mtu = 0;
        // SAFETY: the context is the program's, and the number is valid.
        let answer = unsafe { bpf_check_mtu(self.ctx, ifindex, &raw mut mtu, 0, 0) };
        // BPF_MTU_CHK_RET_FRAG_NEEDED speaks of the frame as it is; the number is what counts.
        (answer >= 0).then_some(mtu)
    }

    #[inline(always)]
    fn ask_kernel(&self, query: &Query) -> Option<Hop> {
        // SAFETY: numbers alone, for which 0 is a value.
        let mut fib: FibQuery = unsafe { MaybeUninit::zeroed().assume_init() };
        fib.l4_protocol = query.protocol;
        fib.__bindgen_anon_1.tot_len = query.length;
        fib.ifindex = query.ifindex;
        match (as_v4(query.source), as_v4(query.destination)) {
            (Some(source), Some(destination)) => {
                fib.family = AF_INET;
                fib.__bindgen_anon_2.tos = query.tos;
                fib.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source);
                fib.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination);
            }
            (Some(_) | None, _) => {
                fib.family = AF_INET6;
                fib.__bindgen_anon_3.ipv6_src = words(query.source);
                fib.__bindgen_anon_4.ipv6_dst = words(query.destination);
            }
        }
        let size = size_of::<FibQuery>() as i32;
        // SAFETY: the context is the program's, and the query is valid for `size` bytes.
        let answer = unsafe { bpf_fib_lookup(self.ctx, &raw mut fib, size, 0) };
        // BPF_FIB_LKUP_RET_SUCCESS.
        (answer == 0).then(|| Hop {
            next_hop: mac_to_word(fib.dmac),
            source: mac_to_word(fib.smac),
            ifindex: fib.ifindex,
        })
    }

    #[inline(always)]
    fn router_of(&self, vrid: u8, ipv6: bool) -> Option<u32> {
        VRIDS
            .get(vrid_index(self.iface_slot(), ipv6, vrid))?
            .checked_sub(1)
    }

    #[inline(always)]
    fn router(&self, index: u32) -> Option<&RouterConfig> {
        ROUTERS.get(index)
    }

    #[inline(always)]
    fn lease(&self, router: u32) -> Option<LeaseWords<'_>> {
        LEASES.get(router).map(LeaseWords::new)
    }

    #[inline(always)]
    fn seen(&self, router: u32) -> Option<SeenWords<'_>> {
        SEEN.get(router).map(SeenWords::new)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn jiffies(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn has_connection(&self, ends: &Ends) -> bool {
        let (sport, dport) = (
            u16::from_ne_bytes(ends.source_port),
            u16::from_ne_bytes(ends.destination_port),
        );
        let (tuple, size) = match (as_v4(ends.source), as_v4(ends.destination)) {
            (Some(source), Some(destination)) => {
                let ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                    saddr: u32::from_ne_bytes(source),
                    daddr: u32::from_ne_bytes(destination),
                    sport,
                    dport,
                };
                (
                    bpf_sock_tuple__bindgen_ty_1 { ipv4 },
                    size_of_val(&ipv4) as u32,
                )
            }
            (Some(_) | None, _) => {
                let ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
                    saddr: words(ends.source),
                    daddr: words(ends.destination),
                    sport,
                    dport,
                };
                (
                    bpf_sock_tuple__bindgen_ty_1 { ipv6 },
                    size_of_val(&ipv6) as u32,
                )
            }
        };
        let mut tuple = bpf_sock_tuple {
            __bindgen_anon_1: tuple,
        };
        let netns = BPF_F_CURRENT_NETNS as i64 as u64;
        // SAFETY: the context is the program's, and the tuple is valid for `size` bytes.
        let sock = unsafe { bpf_skc_lookup_tcp(self.ctx, &raw mut tuple, size, netns, 0) };
        let Some(sock) = NonNull::new(sock) else {
            return false;
        };
        // SAFETY: the reference just taken keeps the socket.
        let state = unsafe { (*sock.as_ptr()).state };
        // SAFETY: it is given back once, and the socket is not touched after.
        unsafe { bpf_sk_release(sock.as_ptr().cast()) };
        state != BPF_TCP_LISTEN
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
            // SAFETY: this CPU's own word, and a program is not interrupted by another on its CPU.
            unsafe { *value += 1 };
        }
    }

    #[inline(always)]
    fn note_traffic(&self, backend: u32, bytes: u64) {
        if let Some(traffic) = TRAFFIC.get_ptr_mut(backend) {
            // SAFETY: as in `count`.
            let traffic = unsafe { &mut *traffic };
            traffic.packets += 1;
            traffic.bytes += bytes;
        }
    }

    #[inline(always)]
    fn note_peer(&self, peer: &PeerKey, priority: u8, mac: u64, at: u64) -> bool {
        let seen = PeerSeen {
            adverts: 1,
            last_at: at,
            priority: priority.into(),
            mac,
        };
        let Some(entry) = PEERS.get_ptr_mut(peer) else {
            return PEERS.insert(peer, seen, 0).is_ok();
        };
        // SAFETY: a PeerSeen is four words. Other CPUs may be writing the same ones; an evicted
        // entry that is reused meanwhile gets one peer's advert noted on another.
        let [adverts, last_at, priority, last_mac] =
            unsafe { &*entry.cast::<[Word; size_of::<PeerSeen>() / 8]>() };
        adverts.increment();
        last_at.store(seen.last_at);
        priority.store(seen.priority);
        last_mac.store(seen.mac);
        true
    }

    #[inline(always)]
    fn record(&self) -> Option<Record> {
        // SAFETY: this CPU's own, and used by one program run at a time.
        SCRATCH
            .get_ptr_mut(0)
            .map(|event| Record(unsafe { &mut *event }))
    }

    #[inline(always)]
    fn push_advert(&self, event: &AdvertEvent) -> bool {
        let message = clamped::<{ VRRP_MAX_LEN as i32 }>(event.length.into());
        let length = ADVERT_EVENT_HEADER + message;
        bytemuck::bytes_of(event)
            .get(..length)
            .is_some_and(|bytes| EVENTS.output::<[u8]>(bytes, 0).is_ok())
    }

    #[inline(always)]
    fn push_claim(&self, event: &ClaimEvent) -> bool {
        EVENTS.output::<[u8]>(bytemuck::bytes_of(event), 0).is_ok()
    }

    #[inline(always)]
    fn hand_up(&self, destination: [u8; 16], datagram: usize) -> bool {
        if datagram >= MAX_UNRESOLVED_DATAGRAM {
            return false;
        }
        let Some(mut event) = UNRESOLVED.reserve::<UnresolvedEvent>(0) else {
            return false;
        };
        let length = EthHdr::LEN + bounded::<0x7ff>(datagram);
        let record = event.as_mut_ptr();
        // SAFETY: the record is reserved, and larger than all that is written.
        let loaded = unsafe {
            (&raw mut (*record).destination).write(destination);
            (&raw mut (*record).length).write(length as u32);
            (&raw mut (*record).reserved).write(0);
            let frame = (&raw mut (*record).frame).cast::<c_void>();
            bpf_xdp_load_bytes(self.ctx.cast(), 0, frame, length as u32)
        };
        if loaded == 0 {
            event.submit(0);
        } else {
            event.discard(0);
        }
        loaded == 0
    }

    #[inline(always)]
    fn tell_lease_lost(&self, peer: &PeerKey, priority: u8) {
        let PeerKey { source, router } = *peer;
        match as_v4(source) {
            Some(source) => warn!(
                self,
                "router {}: lease lost to {:i}, priority {}", router, source, priority
            ),
            // By words: LLVM 22 crashes over the copy that the format for addresses of 16 bytes makes.
            None => {
                let [a, b, c, d] = words(source).map(u32::from_be);
                warn!(
                    self,
                    "router {}: lease lost to {:x}:{:x}:{:x}:{:x}, priority {}",
                    router,
                    a,
                    b,
                    c,
                    d,
                    priority
                );
            }
        }
    }
}

/// An address as the kernel's structures have it.
#[inline(always)]
fn words(address: [u8; 16]) -> [u32; 4] {
    bytemuck::cast(address)
}

/// One [`AdvertEvent`] of this CPU.
pub(crate) struct Record(&'static mut AdvertEvent);

impl Deref for Record {
    type Target = AdvertEvent;

    #[inline(always)]
    fn deref(&self) -> &AdvertEvent {
        self.0
    }
}

impl DerefMut for Record {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut AdvertEvent {
        self.0
    }
}
