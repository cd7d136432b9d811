//! The clock that the lease runs on: CLOCK_MONOTONIC, which `bpf_ktime_get_ns` reads too.

use hafw_vrrp::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn now() -> Instant {
    let t = clock_gettime(ClockId::Monotonic);
    // Never negative: the clock starts at boot.
    Instant::from_nanos(t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs())
}
