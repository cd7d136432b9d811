//! L4 services: flow, slot, backend, rewrite.

use hafw_common::{
    backend::BACKEND_RESOLVED,
    counters::Counter,
    flow::{flow_hash4, flow_hash6, slot_of},
    iface::Iface,
    lease::LEASE_GRACE,
    mac_from_word,
    service::{MODE_DSR, NO_BACKEND, Service, ServiceKey},
};
use network_types::eth::EthHdr;

use crate::{packet::PacketMut, path::Outcome, tables::Tables};

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

/// What picks the slot.
pub trait Hashed {
    /// The hash by which every node finds the same slot.
    fn hash(&self) -> u32;
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
}

/// Sends a frame of a flow to its backend. `datagram`: bytes of the IP datagram.
#[inline(always)]
pub fn process<P: PacketMut + ?Sized, T: Tables>(
    packet: &mut P,
    tables: &T,
    iface: &Iface,
    service: &Service,
    flow: &impl Hashed,
    datagram: usize,
) -> Outcome {
    let (Some(lease), MODE_DSR) = (tables.lease(service.router), service.mode) else {
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

    let index = service
        .first_slot
        .wrapping_add(slot_of(flow.hash(), service.slots));
    let Some(slot) = tables.slot(index) else {
        return Counter::DropTable.into();
    };
    let chosen = slot.current();
    if chosen == NO_BACKEND {
        return Counter::DropNoBackend.into();
    }
    let Some(backend) = tables.backend(chosen) else {
        return Counter::DropTable.into();
    };
    let next_hop = backend.next_hop();
    if next_hop & BACKEND_RESOLVED == 0 {
        return Counter::DropUnresolved.into();
    }

    let Some(ethernet) = packet.header_mut::<EthHdr>(0) else {
        return Counter::DropTable.into();
    };
    ethernet.dst_addr = mac_from_word(next_hop);
    ethernet.src_addr = mac_from_word(backend.source());
    tables.note_traffic(chosen, (EthHdr::LEN + datagram) as u64);
    let ifindex = backend.ifindex() as u32;
    if ifindex == iface.ifindex {
        return Counter::TxSteer.into();
    }
    Outcome {
        counter: Counter::RedirectSteer,
        ifindex,
    }
}
