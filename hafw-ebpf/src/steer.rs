//! L4 services: flow, slot, backend, rewrite.

use hafw_common::{
    counters::Counter,
    flow::{flow_hash4, flow_hash6, slot_of},
    guard::source_words,
    iface::Iface,
    lease::LEASE_GRACE,
    moved::FlowKey,
    service::{
        MODE_DSR, MODE_GUE, MODE_IPIP, MODE_NAT, NO_BACKEND, SERVICE_GUARDED, SERVICE_MODE,
        Service, ServiceKey,
    },
    v4_mapped,
};
use network_types::eth::EthHdr;

use crate::{
    flows, guard,
    local::Segment,
    next_hop::{self, Way},
    packet::PacketMut,
    path::Outcome,
    tables::{BackendWords, Tables},
    tunnel,
};

/// One flow of a service, with addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A> {
    /// The client's address.
    pub client: A,
    /// The client's port.
    pub client_port: [u8; 2],
    /// The service.
    pub key: ServiceKey,
}

/// What picks the slot, and the backend where the slot has moved.
pub trait Hashed {
    /// The hash by which every node finds the same slot.
    fn hash(&self) -> u32;

    /// The flow's key in the table of flows.
    fn key(&self) -> FlowKey;
}

impl<A> Flow<A> {
    #[inline(always)]
    const fn flow_key(&self, client: [u8; 16]) -> FlowKey {
        FlowKey {
            client,
            vip: self.key.address,
            client_port: self.client_port,
            port: self.key.port,
            protocol: self.key.protocol,
            reserved: [0; 3],
        }
    }
}

impl Hashed for Flow<[u8; 4]> {
    #[inline(always)]
    fn hash(&self) -> u32 {
        let ServiceKey {
            address: [.., a, b, c, d],
            port,
            protocol,
            ..
        } = self.key;
        flow_hash4(self.client, [a, b, c, d], self.client_port, port, protocol)
    }

    #[inline(always)]
    fn key(&self) -> FlowKey {
        self.flow_key(v4_mapped(self.client))
    }
}

impl Hashed for Flow<[u8; 16]> {
    #[inline(always)]
    fn hash(&self) -> u32 {
        let ServiceKey {
            address,
            port,
            protocol,
            ..
        } = self.key;
        flow_hash6(self.client, address, self.client_port, port, protocol)
    }

    #[inline(always)]
    fn key(&self) -> FlowKey {
        self.flow_key(self.client)
    }
}

/// The datagram in a frame, as far as its family matters.
pub trait Datagram {
    /// Its bytes, headers included.
    fn length(&self) -> usize;

    /// Makes the backend its destination, as `nat` mode does.
    ///
    /// # Errors
    /// Why it cannot be: the frame is to be dropped.
    fn rewrite<P: PacketMut + ?Sized>(
        &self,
        packet: &mut P,
        backend: BackendWords<'_>,
    ) -> Result<(), Counter>;

    /// As payload of another datagram, its protocol number.
    const PROTOCOL: u8;

    /// Time to live, or hop limit.
    fn hop_limit(&self) -> u8;

    /// Type of service, or traffic class; 0 if the frame lacks it.
    fn traffic_class<P: PacketMut + ?Sized>(&self, packet: &P) -> u8;

    /// Takes one hop of it in the frame. Its hop limit must be above 0.
    ///
    /// # Errors
    /// The frame lacks its header.
    fn lower_hop_limit<P: PacketMut + ?Sized>(&self, packet: &mut P) -> Result<(), Counter>;

    /// Makes of the frame an answer that tells its sender of the longest that can be taken, if there
    /// can be one.
    fn too_big<P: PacketMut + ?Sized, T: Tables>(
        &self,
        packet: &mut P,
        tables: &T,
        mtu: usize,
    ) -> Outcome;
}

/// Sends a frame of a flow, whose headers are sound, to its backend. `segment`: the default where it
/// is no TCP segment.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    service: &Service,
    flow: &impl Hashed,
    segment: Segment,
    datagram: &impl Datagram,
) -> Outcome {
    let Some(lease) = tables.lease(service.router) else {
        return Counter::DropTable.into();
    };
    let jiffies = tables.jiffies();
    if jiffies >= lease.serve_until() {
        return Counter::DropNotServing.into();
    }
    if lease.flags() & LEASE_GRACE != 0
        && let Some(seen) = tables.seen(service.router)
    {
        seen.set_served_at(jiffies);
    }

    if service.mode & SERVICE_GUARDED != 0
        && let Some(counter) = guard::judge(
            tables,
            service.first_slot,
            source_words(flow.key().client),
            segment.opens,
        )
    {
        return counter.into();
    }

    let hash = flow.hash();
    let index = service
        .first_slot
        .wrapping_add(slot_of(hash, service.slots));
    let Some(slot) = tables.slot(index) else {
        return Counter::DropTable.into();
    };
    let chosen = if slot.is_moved() {
        flows::choose(tables, (index, slot), &flow.key(), segment, jiffies)
    } else {
        slot.current()
    };
    if chosen == NO_BACKEND {
        return Counter::DropNoBackend.into();
    }
    let Some(backend) = tables.backend(chosen) else {
        return Counter::DropTable.into();
    };
    let mut length = datagram.length();
    match service.mode & SERVICE_MODE {
        MODE_DSR => {}
        MODE_NAT => {
            if let Err(counter) = datagram.rewrite(packet, backend) {
                return counter.into();
            }
        }
        mode @ (MODE_IPIP | MODE_GUE) => {
            match tunnel::encapsulate(packet, tables, datagram, mode, backend, hash) {
                Ok(added) => length += added,
                Err(outcome) => return outcome,
            }
        }
        _ => return Counter::DropTable.into(),
    }
    let hop = match next_hop::to_backend(backend) {
        Way::Known(hop) => hop,
        Way::Unresolved | Way::Nowhere | Way::Local => {
            return next_hop::hand_up(tables, backend.mapped_address(), length);
        }
    };
    tables.note_traffic(chosen, (EthHdr::LEN + length) as u64);
    let counters = (Counter::TxSteer, Counter::RedirectSteer);
    next_hop::send(packet, iface, hop, counters)
}
