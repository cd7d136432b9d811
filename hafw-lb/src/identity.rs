//! Stable hashes of what a backend is. They are the same on every node and in every version, so
//! that all nodes build the same tables and a restarted controller finds its entries again.

use std::net::SocketAddr;

use hafw_common::{mapped, service::ServiceKey};

/// The key that a backend's Maglev permutation comes from: 64-bit FNV-1a over its address (16
/// bytes, IPv4 in the v4-mapped form) and port, in network order, then [`mix`]. The service is
/// not in it: services with the same backends and slots have the same table.
#[must_use]
pub fn backend_key(address: SocketAddr) -> u64 {
    mix(fnv1a(FNV_OFFSET, &bytes(address)))
}

/// What marks a backend's entry in the map: like [`backend_key`], after the service's address,
/// port and protocol. Never 0, which marks an entry that is free.
pub(crate) fn entry_identity(service: ServiceKey, backend: SocketAddr) -> u64 {
    let ServiceKey {
        address,
        port,
        protocol,
        reserved: _,
    } = service;
    let hash = fnv1a(FNV_OFFSET, &address);
    let hash = fnv1a(hash, &port);
    let hash = fnv1a(hash, &[protocol]);
    mix(fnv1a(hash, &bytes(backend))).max(1)
}

/// The 64-bit finalizer of MurmurHash3: every input bit changes every output bit with a
/// probability of about one half, which FNV-1a alone does not give for the last bytes.
pub(crate) const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

fn bytes(address: SocketAddr) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&mapped(address.ip()));
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: ServiceKey = ServiceKey {
        address: hafw_common::v4_mapped([10, 0, 0, 3]),
        port: [0x1f, 0x90],
        protocol: 6,
        reserved: 0,
    };

    /// A change here moves flows between nodes of different versions.
    #[test]
    fn the_hashes_are_pinned() {
        let backend = "10.0.0.7:8080".parse().unwrap();
        assert_eq!(backend_key(backend), 17_045_896_165_798_366_306);
        assert_eq!(entry_identity(SERVICE, backend), 3_453_918_484_504_558_493);
    }

    #[test]
    fn an_ipv4_backend_is_the_same_in_its_mapped_form() {
        let plain = backend_key("10.0.0.7:80".parse().unwrap());
        assert_eq!(plain, backend_key("[::ffff:10.0.0.7]:80".parse().unwrap()));
        assert_ne!(plain, backend_key("10.0.0.7:81".parse().unwrap()));
    }
}
