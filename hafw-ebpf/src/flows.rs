//! Flows of slots that have moved (invariant 7): none that is established changes its backend while
//! that one lives, and new ones go to the slot's new backend.
//!
//! A SYN leaves an embryonic entry in a table that is overwritten at random; the packet that ends
//! the handshake makes it a lasting one. So neither a flood of SYNs nor a forged one touches the
//! entry of an established connection. What has no entry was there before the slot moved.

use hafw_common::{
    backend::BACKEND_DEAD,
    moved::{Embryo, FLOW_CLOSING, FLOW_RECENT, FlowEntry, FlowKey},
    proto::IP_TCP,
    service::{NO_BACKEND, Slot},
};

use crate::{local::Segment, tables::BackendWords, word::Word};

/// The tables of such flows.
pub trait FlowTables {
    /// The entry of a flow.
    fn flow(&self, key: &FlowKey) -> Option<FlowWords<'_>>;
    /// Makes an entry, or replaces one. Without effect if there is no room.
    fn put_flow(&self, key: &FlowKey, entry: FlowEntry);
    /// Removes an entry.
    fn remove_flow(&self, key: &FlowKey);
    /// A place in the table of embryonic connections.
    fn embryo(&self, index: u32) -> Option<&[Word; 2]>;
    /// The backend with this index.
    fn backend(&self, index: u32) -> Option<BackendWords<'_>>;
    /// When the base of this slot was last used, in jiffies.
    fn base_seen(&self, slot: u32) -> Option<&Word>;
}

/// The words of a [`FlowEntry`] that another CPU may be changing.
#[derive(Clone, Copy, Debug)]
pub struct FlowWords<'a>(&'a [Word; 2]);

impl<'a> FlowWords<'a> {
    /// A view of the words of one entry.
    #[must_use]
    #[inline(always)]
    pub const fn new(words: &'a [Word; 2]) -> Self {
        Self(words)
    }

    #[inline(always)]
    fn read(self) -> FlowEntry {
        FlowEntry {
            backend: self.0[0].load(),
            seen_at: self.0[1].load(),
        }
    }

    /// Notes a packet of the flow. The time is written once a jiffy, not once a packet.
    #[inline(always)]
    fn note(self, entry: FlowEntry, closes: bool, jiffies: u64) {
        if closes && entry.backend & FLOW_CLOSING == 0 {
            self.0[0].store(entry.backend | FLOW_CLOSING);
        }
        if entry.seen_at != jiffies {
            self.0[1].store(jiffies);
        }
    }
}

/// The backend, or [`NO_BACKEND`], for a packet in a slot that has moved. `segment` is the default
/// where the packet is no TCP segment but speaks of one, as an ICMP error does.
#[inline(always)]
pub fn choose<T: FlowTables>(
    tables: &T,
    (index, slot): (u32, Slot),
    key: &FlowKey,
    segment: Segment,
    jiffies: u64,
) -> u32 {
    if key.protocol != IP_TCP {
        return base(tables, index, slot, jiffies);
    }
    let known = tables.flow(key).map(|words| (words, words.read()));
    let known = known.filter(|(_, entry)| {
        let lives = lives(tables, backend_of(*entry));
        if !lives {
            // It must not come to life again with its backend.
            tables.remove_flow(key);
        }
        lives
    });
    if segment.opens {
        return open(tables, slot, key, segment, known, jiffies);
    }
    // A connection that is closing or silent may have a successor with the same ports.
    if let Some((words, entry)) = known
        && (is_current(entry, jiffies) || !segment.is_tcp)
    {
        words.note(entry, segment.closes, jiffies);
        return backend_of(entry);
    }
    if segment.is_tcp
        && let Some(backend) = established(
            tables,
            (index, slot),
            key,
            segment,
            known.is_some(),
            jiffies,
        )
    {
        return backend;
    }
    if let Some((words, entry)) = known {
        words.note(entry, segment.closes, jiffies);
        return backend_of(entry);
    }
    base(tables, index, slot, jiffies)
}

/// A SYN: again one of a connection, or of a handshake, that is known; else a new connection.
#[inline(always)]
fn open<T: FlowTables>(
    tables: &T,
    slot: Slot,
    key: &FlowKey,
    segment: Segment,
    known: Option<(FlowWords<'_>, FlowEntry)>,
    jiffies: u64,
) -> u32 {
    let known = match known {
        Some((_, entry)) if is_current(entry, jiffies) => backend_of(entry),
        Some(_) | None => NO_BACKEND,
    };
    let flow = key.fingerprint();
    let Some(place) = tables.embryo(flow.index) else {
        return if known == NO_BACKEND {
            slot.current()
        } else {
            known
        };
    };
    let mut backend = slot.current();
    if let Some(embryo) = Embryo::of(flow, [place[0].load(), place[1].load()])
        && embryo.sequence == segment.sequence
        && lives(tables, embryo.backend)
    {
        backend = embryo.backend;
    }
    if known != NO_BACKEND {
        // If it is a new connection after all, its next SYN may come when the entry is not current
        // any more.
        backend = known;
    }
    if backend != NO_BACKEND {
        let sequence = segment.sequence;
        let [first, second] = Embryo {
            flow,
            sequence,
            backend,
        }
        .to_words();
        place[0].store(first);
        place[1].store(second);
    }
    backend
}

/// The backend of a handshake that this segment goes on with. The connection gets an entry, unless
/// it is where it would be without one.
#[inline(always)]
fn established<T: FlowTables>(
    tables: &T,
    (index, slot): (u32, Slot),
    key: &FlowKey,
    segment: Segment,
    has_entry: bool,
    jiffies: u64,
) -> Option<u32> {
    let flow = key.fingerprint();
    let place = tables.embryo(flow.index)?;
    let embryo = Embryo::of(flow, [place[0].load(), place[1].load()])?;
    if !embryo.is_followed_by(segment.sequence) || !lives(tables, embryo.backend) {
        return None;
    }
    if embryo.backend != slot.base() {
        let closing = if segment.closes { FLOW_CLOSING } else { 0 };
        let entry = FlowEntry {
            backend: u64::from(embryo.backend) | closing,
            seen_at: jiffies,
        };
        tables.put_flow(key, entry);
        return Some(embryo.backend);
    }
    if has_entry {
        tables.remove_flow(key);
    }
    // Noted as any flow of the base: it must not be taken for ended while this one goes on.
    Some(base(tables, index, slot, jiffies))
}

/// The backend of what was there before the slot moved, while that one lives.
#[inline(always)]
fn base<T: FlowTables>(tables: &T, index: u32, slot: Slot, jiffies: u64) -> u32 {
    let base = slot.base();
    if !lives(tables, base) {
        return slot.current();
    }
    if let Some(seen) = tables.base_seen(index)
        && seen.load() != jiffies
    {
        seen.store(jiffies);
    }
    base
}

#[inline(always)]
fn lives<T: FlowTables>(tables: &T, backend: u32) -> bool {
    backend != NO_BACKEND
        && tables
            .backend(backend)
            .is_some_and(|words| words.next_hop() & BACKEND_DEAD == 0)
}

#[inline(always)]
const fn backend_of(entry: FlowEntry) -> u32 {
    entry.backend as u32 & NO_BACKEND
}

/// Neither closing nor silent.
#[inline(always)]
const fn is_current(entry: FlowEntry, jiffies: u64) -> bool {
    entry.backend & FLOW_CLOSING == 0 && jiffies.wrapping_sub(entry.seen_at) < FLOW_RECENT
}
