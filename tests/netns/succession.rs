//! A fault that the peer is told of over `[cluster]`, where adverts would take seconds.

use std::time::{Duration, Instant};

use hafw_lab::{Station, VIP_WWW, pause, peers::Timing, probe::Observer};

use crate::split_brain::start_with;

#[test]
#[ignore = "requires root"]
fn a_port_that_goes_down_is_told_over_the_channel_and_moves_the_vip_at_once() {
    let mut pair = start_with("told", Timing::V2Second, "");
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();

    let down = Instant::now();
    pair.lab.set_carrier(Station::Lb01, false).unwrap();
    pair.wait(1, "active");
    let took = down.elapsed();
    pair.wait(0, "fault");
    pair.lab.set_carrier(Station::Lb01, true).unwrap();
    pair.settle();

    // Adverts alone take 3.6 s; the bench has the number.
    assert!(took < Duration::from_secs(2), "{took:?}\n{}", pair.logs());
    let seen = observer.stop().unwrap();
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
    let mut owners: Vec<_> = seen.tenures(VIP_WWW).iter().map(|t| t.mac).collect();
    owners.dedup();
    let expected = [Station::Lb01, Station::Lb02, Station::Lb01].map(|station| station.mac());
    assert_eq!(owners, expected, "{}", pair.logs());
}
