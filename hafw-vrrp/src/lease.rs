//! How long the attract lease is.

use std::time::Duration;

use crate::Interval;

/// More than XDP takes from an advert's arrival time until it is in the ring, or counted as one that
/// had no room there, and until the lease has ended if it does.
pub(crate) const XDP_RUN_TIME: Duration = Duration::from_millis(1);

/// L = n·A − δ with δ = 2 ms + 0.2 % of n·A: before any backup whose timer the renewing advert
/// restarted may take over, whatever its priority, its clock's rate (within 0.1 % of ours) and
/// FRR's truncation to centiseconds of the skew.
///
/// `down_timer_adverts` is the factor n of the peers' Active_Down_Interval.
#[must_use]
pub fn lease_length(interval: Interval, down_timer_adverts: u8) -> Duration {
    let whole = interval.as_duration() * u32::from(down_timer_adverts);
    whole.saturating_sub(whole / 500 + Duration::from_millis(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_before_the_shortest_active_down_interval() {
        for (cs, wanted_us) in [(1, 27_940), (10, 297_400), (100, 2_992_000)] {
            let interval = Interval::from_centiseconds(cs).unwrap();
            let length = lease_length(interval, 3);
            assert_eq!(length, Duration::from_micros(wanted_us));
            assert!(length < interval.as_duration() * 3);
        }
    }

    #[test]
    fn a_lease_that_would_be_negative_is_none() {
        assert_eq!(
            lease_length(Interval::from_centiseconds(1).unwrap(), 0),
            Duration::ZERO
        );
    }
}
