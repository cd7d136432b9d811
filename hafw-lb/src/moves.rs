//! Slots that move while flows are on them (invariant 7): what becomes of a slot's word when it is
//! to lead elsewhere, and how it comes to rest again.
//!
//! ```text
//!              elsewhere                     base's flows ended
//!   at rest ──────────────> current != base ────────────────────> current == base ──> at rest
//!      ^                     │  ^      elsewhere: current alone      │   ^   handshakes are over, and
//!      └── base is dead ─────┘  └────────────────────────────────────┘   no flow has an entry
//! ```

use std::{collections::BTreeSet, time::Duration};

use hafw_common::{
    flow::{flow_hash4, flow_hash6, slot_of},
    moved::FlowKey,
    proto::IP_UDP,
    service::{NO_BACKEND, ServiceKey, Slot},
};

use crate::{
    balancer::Balancer,
    plan::MapOp,
    service::{Entry, Placed},
};

/// The flows on a base have ended when none was heard of for so long: IPVS's time for established
/// TCP connections.
const BASE_IDLE_TCP: Duration = Duration::from_secs(15 * 60);
/// However much is heard of them, they have after this: one forged packet now and then must not
/// keep a slot for good.
const BASE_CEILING_TCP: Duration = Duration::from_secs(12 * 60 * 60);
/// Datagrams have no handshake that would tell new flows from old ones: all stay on the base until
/// the slot was silent for so long,
const BASE_IDLE_UDP: Duration = Duration::from_secs(30);
/// or until so long after the move.
const BASE_CEILING_UDP: Duration = Duration::from_secs(120);
/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// A flow with an entry has ended when it was silent for so long; see [`BASE_IDLE_TCP`].
pub const FLOW_IDLE: Duration = BASE_IDLE_TCP;
/// A flow has ended so long after its client's FIN or RST: IPVS's FIN_WAIT.
pub const FLOW_CLOSED: Duration = Duration::from_secs(120);

/// One look through all entries of flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// When it began.
    pub began: Duration,
    /// Slots, by index in the SLOTS map, that have entries.
    pub slots: BTreeSet<u32>,
    /// Backends, by index, that entries name.
    pub backends: BTreeSet<u32>,
}

/// What is known of the flows in slots that have moved.
pub struct Evidence<'a> {
    /// Now. All times are of one clock that does not jump.
    pub now: Duration,
    /// When a packet last went to the base of a slot, by index in the SLOTS map.
    pub base_seen: &'a dyn Fn(u32) -> Option<Duration>,
    /// The last complete look.
    pub sweep: Option<&'a Sweep>,
}

/// What is to become of an entry of a flow that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowVerdict {
    /// It is needed; its slot, by index in the SLOTS map.
    Keep(u32),
    /// It says nothing that the slot does not say, or leads nowhere.
    Drop,
}

/// How far a slot that has moved is on its way to rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// When it came to where it is; `None` until a look notes it.
    since: Option<Duration>,
}

/// The word of a slot that is to send new flows to `current`.
pub(crate) fn next(word: Slot, current: u32, lives: impl Fn(u32) -> bool) -> Slot {
    let (before, base) = (word.current(), word.base());
    if !word.is_moved() {
        return if before == current || !lives(before) {
            Slot::at_rest(current)
        } else {
            Slot::moved(current, before)
        };
    }
    if lives(base) {
        return Slot::moved(current, base);
    }
    // The base's flows died with it. Whoever had the new ones is the base from now on.
    Slot::moved(current, if lives(before) { before } else { current })
}

impl Placed {
    /// Makes a slot's word this one.
    pub(crate) fn set_word(&mut self, offset: u32, word: Slot) {
        let before = std::mem::replace(&mut self.words[offset as usize], word);
        if !word.is_moved() {
            self.progress.remove(&offset);
        } else if !before.is_moved()
            || before.base() != word.base()
            || (before.base() == before.current()) != (word.base() == word.current())
        {
            self.progress.insert(offset, Progress::default());
        }
    }

    /// Slots that may come nearer to rest do.
    fn settle(&mut self, evidence: &Evidence<'_>) -> Vec<(u32, u64)> {
        let is_udp = self.key.protocol == IP_UDP;
        let mut changed = Vec::new();
        for (offset, progress) in &mut self.progress {
            let index = self.service.first_slot + offset;
            let since = *progress.since.get_or_insert(evidence.now);
            let word = self.words[*offset as usize];
            let after = if word.base() == word.current() {
                let over = is_udp || is_over(evidence, since, |sweep| sweep.slots.contains(&index));
                over.then(|| Slot::at_rest(word.current()))
            } else {
                let last = (evidence.base_seen)(index).map_or(since, |seen| seen.max(since));
                let (idle, ceiling) = if is_udp {
                    (BASE_IDLE_UDP, BASE_CEILING_UDP)
                } else {
                    (BASE_IDLE_TCP, BASE_CEILING_TCP)
                };
                let ended = evidence.now.saturating_sub(last) >= idle
                    || evidence.now.saturating_sub(since) >= ceiling;
                ended.then(|| {
                    if is_udp {
                        Slot::at_rest(word.current())
                    } else {
                        Slot::moved(word.current(), word.current())
                    }
                })
            };
            changed.extend(after.map(|word| (*offset, word)));
        }
        for (offset, word) in &changed {
            self.set_word(*offset, *word);
        }
        changed
            .into_iter()
            .map(|(offset, word)| (offset, word.0))
            .collect()
    }

    /// Takes out the entries of backends that are no longer configured and that nothing leads to.
    fn let_go(&mut self, evidence: &Evidence<'_>) -> Vec<u32> {
        if !self.backends.iter().any(|entry| entry.leaving) {
            return Vec::new();
        }
        let named: BTreeSet<_> = self
            .words
            .iter()
            .flat_map(|word| [word.current(), word.base()])
            .collect();
        let is_udp = self.key.protocol == IP_UDP;
        let mut gone = Vec::new();
        self.backends.retain_mut(|entry| {
            let told = entry.told.is_some_and(|told| told.state.is_some());
            if !entry.leaving || told || named.contains(&entry.index) {
                return true;
            }
            let since = *entry.left.get_or_insert(evidence.now);
            let index = entry.index;
            let kept =
                !is_udp && !is_over(evidence, since, |sweep| sweep.backends.contains(&index));
            if !kept {
                gone.push(index);
            }
            kept
        });
        gone
    }
}

/// Handshakes that were under way are over, and a look that began then found nothing.
fn is_over(evidence: &Evidence<'_>, since: Duration, found: impl Fn(&Sweep) -> bool) -> bool {
    evidence
        .sweep
        .is_some_and(|sweep| sweep.began >= since + HANDSHAKE && !found(sweep))
}

impl Balancer {
    /// Brings slots that have moved nearer to rest, as far as their flows have ended, and takes
    /// backends out that are no longer configured and that no flow is on any more.
    #[must_use]
    pub fn settle(&mut self, evidence: &Evidence<'_>) -> Vec<MapOp> {
        let mut ops = Vec::new();
        for placed in self.services.values_mut() {
            // Who is followed says when its slots are at rest.
            let words = if placed.follows {
                Vec::new()
            } else {
                placed.settle(evidence)
            };
            if !words.is_empty() {
                let first = placed.service.first_slot;
                ops.push(MapOp::SetSlots { first, words });
            }
            for index in placed.let_go(evidence) {
                ops.push(MapOp::RemoveBackend { index });
                self.indices.release(index);
            }
        }
        ops
    }

    /// Whether any slot has moved: [`Self::settle`] has something to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.services.values().all(|placed| {
            placed.progress.is_empty() && !placed.backends.iter().any(|entry| entry.leaving)
        })
    }

    /// What is to become of the entry of a flow that names this backend. An entry that names its
    /// slot's base goes: without one the flow is there too.
    #[must_use]
    pub fn judge(&self, key: &FlowKey, backend: u32) -> FlowVerdict {
        let service = ServiceKey {
            address: key.vip,
            port: key.port,
            protocol: key.protocol,
            reserved: 0,
        };
        let found = self.services.get(&service).and_then(|placed| {
            let offset = slot_of(hash(key), placed.service.slots);
            let word = placed.words.get(offset as usize)?;
            let needed = word.is_moved() && word.base() != backend && placed.lives(backend);
            needed.then_some(placed.service.first_slot + offset)
        });
        found.map_or(FlowVerdict::Drop, FlowVerdict::Keep)
    }
}

impl Placed {
    /// Whether a backend is one of the service's, and flows on it go on.
    pub(crate) fn lives(&self, index: u32) -> bool {
        index != NO_BACKEND
            && self
                .backends
                .iter()
                .any(|entry| entry.index == index && entry.lives())
    }

    /// Which backends live.
    pub(crate) fn living(&self) -> Vec<u32> {
        let living = self.backends.iter().filter(|entry| entry.lives());
        living.map(|entry| entry.index).collect()
    }
}

impl Entry {
    /// A backend that merely times out may serve, and only the probes be lost.
    pub(crate) fn lives(&self) -> bool {
        use crate::health::{Cause, State};
        match self.state() {
            State::Unknown | State::Up | State::Down(Cause::TimedOut) => true,
            State::Down(Cause::Failed) => false,
        }
    }
}

fn hash(key: &FlowKey) -> u32 {
    let FlowKey {
        client,
        vip,
        client_port,
        port,
        protocol,
        reserved: _,
    } = *key;
    match (hafw_common::as_v4(client), hafw_common::as_v4(vip)) {
        (Some(client), Some(vip)) => flow_hash4(client, vip, client_port, port, protocol),
        (Some(_) | None, _) => flow_hash6(client, vip, client_port, port, protocol),
    }
}
