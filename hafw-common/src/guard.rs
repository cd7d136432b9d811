//! Who may use a service, and how often one source may begin: for services that have
//! [`crate::service::SERVICE_GUARDED`].

/// Bits of a [`guard_key`] that name the service, before those of the address.
pub const GUARD_SERVICE_BITS: u32 = 32;

/// What holds for sources of a prefix, in [`crate::maps::GUARDS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Guard {
    /// [`GUARD_ALLOW`] or [`GUARD_DENY`].
    pub verdict: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
    /// ns from one new connection of a source to the next, at the rate that is allowed; 0: there
    /// is no limit.
    pub interval: u64,
    /// By how many ns a source may be ahead of that: its burst.
    pub tolerance: u64,
}

/// Sources of the prefix are served.
pub const GUARD_ALLOW: u32 = 1;
/// What they send is dropped.
pub const GUARD_DENY: u32 = 2;

/// Data of a key of [`crate::maps::GUARDS`]: the service, by its first slot, then the source.
#[must_use]
#[inline(always)]
pub const fn guard_key(first_slot: u32, source: [u8; 16]) -> [u8; 20] {
    let [s0, s1, s2, s3] = first_slot.to_be_bytes();
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = source;
    [
        s0, s1, s2, s3, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
    ]
}

/// Key of [`crate::maps::SOURCES`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable,
)]
pub struct SourceKey {
    /// First slot of the service.
    pub first_slot: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
    /// As [`source_words`] has it; of IPv6 the first word alone, because whoever has one address of
    /// a /64 has all of them.
    pub source: [u64; 2],
}

/// A source, IPv4 as [`crate::v4_mapped`], in two words of native order: the program has no room for
/// bytes.
#[must_use]
#[inline(always)]
pub const fn source_words(source: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = source;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

impl SourceKey {
    /// Of a source as [`source_words`] has it.
    #[must_use]
    #[inline(always)]
    pub const fn new(first_slot: u32, source: [u64; 2]) -> Self {
        let [first, second] = source;
        let is_v4 = first == 0 && u64::from_be(second) >> 32 == 0xffff;
        Self {
            first_slot,
            reserved: 0,
            source: [first, if is_v4 { second } else { 0 }],
        }
    }
}

/// When a source that was due at `due` (0: it is new) and begins at `now` is due next; `None` if it
/// is too far ahead. The generic cell rate algorithm (ITU-T I.371, virtual scheduling): one word a
/// source, and no timer.
#[must_use]
#[inline(always)]
pub const fn next_due(due: u64, now: u64, guard: &Guard) -> Option<u64> {
    let from = if due > now { due } else { now };
    if from - now > guard.tolerance {
        None
    } else {
        Some(from + guard.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let guard = Guard {
            verdict: GUARD_ALLOW,
            reserved: 0,
            interval: 10,
            tolerance: 20,
        };
        let mut due = 0;
        let mut begin = |now| {
            let next = next_due(due, now, &guard);
            due = next.unwrap_or(due);
            next.is_some()
        };
        let burst = [1000; 5].map(&mut begin);
        assert_eq!(burst, [true, true, true, false, false]);
        assert_eq!(
            [1009, 1010, 1011, 1020].map(&mut begin),
            [false, true, false, true]
        );
        assert_eq!([2000; 4].map(&mut begin), [true, true, true, false]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut one = [0x20; 16];
        let key = SourceKey::new(7, source_words(one));
        one[15] = 1;
        assert_eq!(SourceKey::new(7, source_words(one)), key);
        one[7] = 1;
        assert_ne!(SourceKey::new(7, source_words(one)), key);
        let v4 = |last| SourceKey::new(7, source_words(crate::v4_mapped([10, 0, 0, last])));
        assert_ne!(v4(1), v4(2));
    }
}
