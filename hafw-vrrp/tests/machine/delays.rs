//! The delays of preemption and of the start.

use std::time::Duration;

use hafw_vrrp::{Priority, RouterConfig, VirtualRouter};
use proptest::{collection::vec, prelude::any, prop_assert, proptest};

use crate::routers::{HIGHER_ADDRESS, active, advert, asked, backup, config, ms};

/// Waits for 10 s before it preempts.
fn patient() -> RouterConfig {
    RouterConfig {
        preempt_delay: Duration::from_secs(10),
        ..config()
    }
}

/// Hears an advert of `priority` each second, from `seconds` on, and returns when it took over.
fn hears(router: &mut VirtualRouter, priority: u8, seconds: std::ops::Range<u64>) -> Option<u64> {
    for second in seconds {
        while let Some(due) = router
            .poll_timeout()
            .filter(|due| *due <= ms(second * 1_000))
        {
            router.handle_timeout(due);
            if router.is_active() {
                return Some(due.as_nanos() / 1_000_000);
            }
        }
        router.handle_advertisement(ms(second * 1_000), HIGHER_ADDRESS, &advert(priority));
    }
    None
}

#[test]
fn preemption_waits_for_its_delay_and_then_for_the_timer() {
    let mut router = backup(patient());
    // First heard at 1 s; the last that is waited for is that of 10 s.
    assert_eq!(hears(&mut router, 50, 1..30), Some(10_000 + 3_609));
}

#[test]
fn without_a_delay_the_first_lower_advert_is_ignored() {
    assert_eq!(hears(&mut backup(config()), 50, 1..30), Some(3_609));
}

#[test]
fn an_active_that_falls_silent_is_succeeded_within_the_delay() {
    let mut router = backup(patient());
    assert_eq!(hears(&mut router, 50, 1..5), None);
    router.handle_timeout(ms(4_000 + 3_610));
    assert!(router.is_active());
}

#[test]
fn an_active_that_has_precedence_ends_the_delay() {
    let mut router = backup(patient());
    assert_eq!(hears(&mut router, 50, 1..9), None);
    assert_eq!(hears(&mut router, 150, 9..10), None);
    assert_eq!(hears(&mut router, 50, 10..40), Some(19_000 + 3_609));
}

#[test]
fn the_delay_begins_anew_with_each_tenure() {
    let mut router = active(patient());
    router.handle_advertisement(ms(4_000), HIGHER_ADDRESS, &advert(150));
    assert_eq!(asked(&mut router), "revoke last >backup");
    assert_eq!(hears(&mut router, 50, 5..40), Some(14_000 + 3_609));
}

#[test]
fn an_owner_preempts_at_once_whatever_is_configured() {
    let mut router = backup(RouterConfig {
        preempt: false,
        ..patient()
    });
    router.set_priority(Priority::OWNER);
    assert_eq!(hears(&mut router, 50, 1..30), Some(3_609));
}

#[test]
fn a_router_takes_no_part_until_its_start_delay_is_over() {
    let late = |priority| RouterConfig {
        priority,
        start_delay: Duration::from_secs(5),
        ..config()
    };
    for (priority, begins) in [
        (Priority::DEFAULT, ">backup"),
        (Priority::OWNER, ">active renew"),
    ] {
        let mut router = VirtualRouter::new(late(priority));
        router.startup(ms(1_000));
        router.startup(ms(2_000));
        router.handle_advertisement(ms(3_000), HIGHER_ADDRESS, &advert(50));
        assert_eq!(router.poll_timeout(), Some(ms(6_000)));
        router.handle_timeout(ms(5_999));
        assert_eq!(asked(&mut router), "");
        router.handle_timeout(ms(6_000));
        assert_eq!(asked(&mut router), begins);
    }
}

/// A thread that stood still between its look at the clock and its look into the ring.
#[test]
fn a_start_delay_that_is_over_late_is_followed_by_a_whole_wait() {
    let mut router = VirtualRouter::new(RouterConfig {
        start_delay: Duration::from_secs(5),
        ..config()
    });
    router.startup(ms(0));
    router.handle_advertisement(ms(9_000), HIGHER_ADDRESS, &advert(150));
    router.handle_timeout(ms(5_000));
    assert_eq!(asked(&mut router), ">backup");
    assert_eq!(
        router.poll_timeout(),
        Some(ms(9_000) + Duration::from_micros(3_609_375))
    );
}

#[test]
fn a_router_that_is_stopped_within_its_start_delay_stays_so() {
    let mut router = VirtualRouter::new(RouterConfig {
        start_delay: Duration::from_secs(5),
        ..config()
    });
    router.startup(ms(0));
    router.shutdown(ms(1_000));
    assert_eq!(router.poll_timeout(), None);
    router.handle_timeout(ms(6_000));
    assert_eq!(asked(&mut router), "");
}

#[test]
fn a_lease_is_adopted_without_a_start_delay() {
    let mut router = VirtualRouter::new(RouterConfig {
        start_delay: Duration::from_secs(5),
        ..config()
    });
    router.startup(ms(0));
    router.adopt(ms(1_000), ms(3_000), Priority::DEFAULT);
    assert_eq!(asked(&mut router), ">active");
}

proptest! {
    #[test]
    fn an_active_that_is_heard_is_never_preempted_within_the_delay(
        delay in 0..20_000u64,
        heard in vec(any::<bool>(), 40),
    ) {
        let mut router = backup(RouterConfig {
            preempt_delay: Duration::from_millis(delay),
            ..config()
        });
        let (mut first, mut last) = (None, 0);
        for (second, heard) in (1u64..).zip(heard) {
            let now = ms(second * 1_000);
            while let Some(due) = router.poll_timeout().filter(|due| *due <= now) {
                router.handle_timeout(due);
                if router.is_active() {
                    let at = due.as_nanos() / 1_000_000;
                    let silent = at - last >= 3_609;
                    let waited = first.is_some_and(|first| at >= first + delay);
                    prop_assert!(silent || waited, "at {at} ms, heard from {first:?} to {last}");
                    return Ok(());
                }
            }
            if heard {
                first.get_or_insert(second * 1_000);
                last = second * 1_000;
                router.handle_advertisement(now, HIGHER_ADDRESS, &advert(50));
            }
        }
    }
}
