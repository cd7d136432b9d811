//! The maps as the packet path sees them: look-ups in domain words.

use core::{mem::offset_of, ops::DerefMut};

use hafw_common::{
    backend::Backend,
    counters::Counter,
    event::{AdvertEvent, ClaimEvent},
    guard::Guard,
    iface::Iface,
    lease::{Lease, Seen},
    nat::{NatKey, NatSource},
    route::{NeighbourKey, Route},
    router::{PeerKey, RouterConfig},
    service::{Service, ServiceKey, Slot},
    vip::Vip,
};

use crate::{flows::FlowTables, word::Word};

/// What the packet path looks up, notes and asks.
///
/// An index that no entry has gives `None`; the path then drops and counts, or passes.
pub trait Tables: FlowTables {
    /// Memory for one [`AdvertEvent`], too large for the stack of a BPF program.
    type Record: DerefMut<Target = AdvertEvent>;

    /// The interface that the frame came in by.
    fn iface(&self) -> Iface;
    /// Its slot, the number by which routers name it.
    fn iface_slot(&self) -> u32;

    /// One word of the filter of VIPs, see [`hafw_common::vip::filter_bit`].
    fn filter_word(&self, index: u32) -> u64;
    /// The VIP with this address, see [`hafw_common::vip::VipKey`].
    fn vip(&self, address: [u8; 16]) -> Option<Vip>;
    /// jiffies64 until which a source is kept out; 0 if it is not.
    fn blocked_until(&self, source: [u8; 16]) -> u64;
    /// The service with this key.
    fn service(&self, key: &ServiceKey) -> Option<Service>;
    /// The slot with this index.
    fn slot(&self, index: u32) -> Option<Slot>;

    /// What holds for a source, see [`hafw_common::guard::source_words`], of a guarded service.
    fn guard(&self, first_slot: u32, source: [u64; 2]) -> Option<&Guard>;
    /// When a source is due for a new connection, in ns of [`Self::now`].
    fn source_due(&self, first_slot: u32, source: [u64; 2]) -> Option<&Word>;
    /// Notes that of a source that is new.
    fn put_source_due(&self, first_slot: u32, source: [u64; 2], due: u64);

    /// One word of the filter of `nat` backends, see [`hafw_common::vip::filter_bit`].
    fn nat_filter_word(&self, index: u32) -> u64;
    /// What replies from here are to come from.
    fn nat_source(&self, key: &NatKey) -> Option<NatSource>;
    /// The route to this address, IPv4 as [`hafw_common::v4_mapped`].
    fn route(&self, address: [u8; 16]) -> Option<Route>;
    /// The MAC of a neighbour, as a word.
    fn neighbour(&self, key: &NeighbourKey) -> Option<u64>;
    /// The MTU of the interface with this kernel index, if there is one.
    fn mtu(&self, ifindex: u32) -> Option<u32>;
    /// The kernel's answer to where such a datagram goes.
    fn ask_kernel(&self, query: &Query) -> Option<Hop>;

    /// The router that has this VRID on this interface.
    fn router_of(&self, vrid: u8, ipv6: bool) -> Option<u32>;
    /// What is known of a router.
    fn router(&self, index: u32) -> Option<&RouterConfig>;
    /// User space's words of a router.
    fn lease(&self, router: u32) -> Option<LeaseWords<'_>>;
    /// XDP's words of a router.
    fn seen(&self, router: u32) -> Option<SeenWords<'_>>;

    /// CLOCK_MONOTONIC in ns.
    fn now(&self) -> u64;
    /// jiffies64.
    fn jiffies(&self) -> u64;
    /// Whether this host has a TCP connection (a listener is none) with these ends.
    fn has_connection(&self, ends: &Ends) -> bool;

    /// Adds one to a counter.
    fn count(&self, counter: Counter);
    /// Adds one frame of `bytes` to what a backend was sent.
    fn note_traffic(&self, backend: u32, bytes: u64);
    /// Adds one valid advert to what is known of a peer. False if there was no room.
    fn note_peer(&self, peer: &PeerKey, priority: u8, mac: u64, at: u64) -> bool;

    /// Memory for an event; its contents are arbitrary.
    fn record(&self) -> Option<Self::Record>;
    /// Puts an event with its first `length` bytes of message into the ring. False if it is full.
    fn push_advert(&self, event: &AdvertEvent) -> bool;
    /// Puts an event into the ring. False if it is full.
    fn push_claim(&self, event: &ClaimEvent) -> bool;
    /// Puts the frame as it is now, with a datagram of so many bytes, into the ring of frames whose
    /// next hop is not resolved. False if it is full, or the datagram too long.
    fn hand_up(&self, destination: [u8; 16], datagram: usize) -> bool;
    /// An advert from this peer, of this priority, ended the live lease of a router: tell.
    fn tell_lease_lost(&self, peer: &PeerKey, priority: u8);
}

/// Where a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// MAC of the next hop, as a word.
    pub next_hop: u64,
    /// MAC of the interface, as a word.
    pub source: u64,
    /// The interface's kernel index.
    pub ifindex: u32,
}

/// A datagram whose route is asked for. IPv4 addresses are [`hafw_common::v4_mapped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Kernel index of the interface that it came in by.
    pub ifindex: u32,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Type of service; 0 over IPv6.
    pub tos: u8,
    /// Protocol.
    pub protocol: u8,
    /// Bytes of the datagram.
    pub length: u16,
}

/// The ends of a TCP connection, in network order, as a frame to this node names them. IPv4
/// addresses are [`hafw_common::v4_mapped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The other end's address.
    pub source: [u8; 16],
    /// The address here.
    pub destination: [u8; 16],
    /// The other end's port.
    pub source_port: [u8; 2],
    /// The port here.
    pub destination_port: [u8; 2],
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident of $record:ty { $($(#[$field_doc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(&'a [Word; size_of::<$record>() / 8]);

        impl<'a> $name<'a> {
            /// A view of the words of one entry.
            #[must_use]
            #[inline(always)]
            pub const fn new(words: &'a [Word; size_of::<$record>() / 8]) -> Self {
                Self(words)
            }

            $($(#[$field_doc])*
            #[must_use]
            #[inline(always)]
            pub fn $field(self) -> u64 {
                self.0[offset_of!($record, $field) / 8].load()
            })+
        }
    };
}

words! {
    /// A [`Lease`] that user space may be changing: each word is read in one load.
    LeaseWords of Lease {
        /// [`Lease::renewed_at`].
        renewed_at,
        /// [`Lease::attract_until`].
        attract_until,
        /// [`Lease::serve_until`].
        serve_until,
        /// [`Lease::local_until`].
        local_until,
        /// [`Lease::priority`].
        priority,
        /// [`Lease::handoff`].
        handoff,
        /// [`Lease::handoff_until`].
        handoff_until,
        /// [`Lease::flags`].
        flags,
    }
}

words! {
    /// A [`Backend`] that user space may be changing.
    BackendWords of Backend {
        /// [`Backend::next_hop`].
        next_hop,
        /// [`Backend::source`].
        source,
        /// [`Backend::ifindex`].
        ifindex,
        /// [`Backend::address`].
        address,
        /// [`Backend::address_end`].
        address_end,
        /// [`Backend::rewrite`].
        rewrite,
    }
}

impl BackendWords<'_> {
    /// The backend's address, IPv4 as [`hafw_common::v4_mapped`].
    #[must_use]
    #[inline(always)]
    pub fn mapped_address(self) -> [u8; 16] {
        let (start, end) = (self.address(), self.address_end());
        u128::to_le_bytes(u128::from(end) << 64 | u128::from(start))
    }

    /// Whether its address is one of IPv4.
    #[must_use]
    #[inline(always)]
    pub fn is_v4(self) -> bool {
        // As v4_mapped has it, the lowest byte first.
        self.address() == 0 && self.address_end() as u32 == 0xffff_0000
    }

    /// The backend's IPv4 address.
    #[must_use]
    #[inline(always)]
    pub fn v4_address(self) -> [u8; 4] {
        ((self.address_end() >> 32) as u32).to_le_bytes()
    }
}

words! {
    /// A [`Seen`]: written here, on any CPU, and read by user space.
    SeenWords of Seen {
        /// [`Seen::lost_at`].
        lost_at,
        /// [`Seen::claim_at`].
        claim_at,
        /// [`Seen::served_at`].
        served_at,
    }
}

impl SeenWords<'_> {
    /// Notes when an advert ended the lease.
    #[inline(always)]
    pub fn set_lost_at(self, now: u64) {
        self.0[offset_of!(Seen, lost_at) / 8].store(now);
    }

    /// Notes the last valid advert.
    #[inline(always)]
    pub fn set_advert_at(self, now: u64) {
        self.0[offset_of!(Seen, advert_at) / 8].store(now);
    }

    /// Counts an advert that found the ring full.
    #[inline(always)]
    pub fn add_overflow(self) {
        self.0[offset_of!(Seen, overflow) / 8].increment();
    }

    /// Counts a claim.
    #[inline(always)]
    pub fn add_claim(self) {
        self.0[offset_of!(Seen, claims) / 8].increment();
    }

    /// Notes a claim that was reported.
    #[inline(always)]
    pub fn set_claim_at(self, now: u64) {
        self.0[offset_of!(Seen, claim_at) / 8].store(now);
    }

    /// Notes that something was served in a grace. The line is shared by all CPUs: it is written
    /// once a jiffy, not once a packet.
    #[inline(always)]
    pub fn set_served_at(self, jiffies: u64) {
        if self.served_at() != jiffies {
            self.0[offset_of!(Seen, served_at) / 8].store(jiffies);
        }
    }
}
