//! The flow hash. It is ABI: every node, the simulator and `hafw trace` must agree on it.

/// Hash of an IPv4 flow; all arguments in network order. The seed is fixed, so that every node
/// finds the same slot for a flow.
#[must_use]
#[inline(always)]
pub const fn flow_hash4(
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    protocol: u8,
) -> u32 {
    let ports = (u16::from_be_bytes(source_port) as u64) << 16
        | u16::from_be_bytes(destination_port) as u64;
    let mut h = (u32::from_be_bytes(source) as u64) << 32 | ports;
    h ^= (u32::from_be_bytes(destination) as u64 ^ (protocol as u64) << 56)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    finish(h)
}

/// As [`flow_hash4`], of an IPv6 flow.
#[must_use]
#[inline(always)]
pub const fn flow_hash6(
    source: [u8; 16],
    destination: [u8; 16],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    protocol: u8,
) -> u32 {
    let ports = (u16::from_be_bytes(source_port) as u64) << 16
        | u16::from_be_bytes(destination_port) as u64;
    let (source, destination) = (crate::halves(source), crate::halves(destination));
    // Each word is taken in by a multiplication with an odd number, which loses nothing, and a
    // rotation, which brings its upper half down: the subnet of a client counts as its host part.
    let mut h = ports ^ (protocol as u64) << 56;
    h = step(h ^ source.0);
    h = step(h ^ source.1);
    h = step(h ^ destination.0);
    h = step(h ^ destination.1);
    finish(h)
}

#[inline(always)]
const fn step(h: u64) -> u64 {
    h.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// The 64-bit finalizer of MurmurHash3: every input bit changes every output bit with a
/// probability of about one half.
#[inline(always)]
const fn finish(mut h: u64) -> u32 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h >> 32) as u32
}

/// The slot of a hash among `slots` (at least 1): a multiplication instead of a division.
#[must_use]
#[inline(always)]
pub const fn slot_of(hash: u32, slots: u32) -> u32 {
    ((hash as u64 * slots as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is ABI: a change here breaks flows between nodes of different versions.
    #[test]
    fn the_hash_is_pinned() {
        let h = flow_hash4([10, 0, 0, 1], [10, 0, 0, 3], [0xc0, 0x01], [0x1f, 0x90], 6);
        assert_eq!(h, PINNED);
    }
    const PINNED: u32 = 3_930_879_357;

    /// Likewise.
    #[test]
    fn the_hash_over_ipv6_is_pinned() {
        let client = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let vip = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
        let h = flow_hash6(client, vip, [0xc0, 0x01], [0x1f, 0x90], 6);
        assert_eq!(h, PINNED6);
    }
    const PINNED6: u32 = 3_053_314_314;

    #[test]
    fn clients_and_ports_spread_evenly_over_slots_over_ipv6() {
        let vip = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
        let spread = |slots: [u32; 101]| {
            let (min, max) = (slots.iter().min(), slots.iter().max());
            assert!(min > Some(&60) && max < Some(&145), "{min:?} {max:?}");
        };
        // By port; by the last bytes of the client; by its subnet.
        for place in [None, Some(14), Some(6)] {
            let mut slots = [0u32; 101];
            for n in 0..10_100u16 {
                let mut client = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                let mut port = [0xc0, 1];
                match place {
                    Some(at) => client[at..at + 2].copy_from_slice(&n.to_be_bytes()),
                    None => port = n.to_be_bytes(),
                }
                let h = flow_hash6(client, vip, port, [0, 80], 6);
                slots[slot_of(h, 101) as usize] += 1;
            }
            spread(slots);
        }
    }

    #[test]
    fn flows_spread_evenly_over_slots() {
        let mut slots = [0u32; 101];
        for port in 0..10_100u16 {
            let p = port.to_be_bytes();
            let h = flow_hash4([10, 0, 0, 1], [10, 0, 0, 3], p, [0, 80], 6);
            slots[slot_of(h, 101) as usize] += 1;
        }
        let (min, max) = (slots.iter().min(), slots.iter().max());
        assert!(min > Some(&60) && max < Some(&145), "{min:?} {max:?}");
    }
}
