//! What adverts do to the timers, and to the lease.

use std::time::Duration;

use hafw_vrrp::{Cause, Interval, Priority, RouterConfig, State, Version, VirtualRouter};

use crate::routers::{
    HIGHER_ADDRESS, LOWER_ADDRESS, active, advert, asked, backup, claiming, config, ms, us,
};

/// The Active_Down_Timer, in µs.
fn timer(router: &VirtualRouter) -> u64 {
    let State::Backup {
        active_down_timer, ..
    } = router.state()
    else {
        panic!("{:?}", router.state());
    };
    active_down_timer.as_nanos() / 1_000
}

/// The cause of the next transition.
fn cause(router: &mut VirtualRouter) -> Cause {
    while let Some(action) = router.poll_action() {
        if let hafw_vrrp::Action::Transition(transition) = action {
            return transition.cause;
        }
    }
    panic!("no transition");
}

#[test]
fn the_active_restarts_the_timer_and_a_lower_one_does_not() {
    let mut router = backup(config());
    assert_eq!(timer(&router), 3_609_375);
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
    assert_eq!(timer(&router), 4_609_375);
    router.handle_advertisement(ms(2_000), LOWER_ADDRESS, &advert(100));
    assert_eq!(
        timer(&router),
        5_609_375,
        "an equal one, whatever its address"
    );
    router.handle_advertisement(ms(3_000), HIGHER_ADDRESS, &advert(99));
    assert_eq!(timer(&router), 5_609_375);
}

#[test]
fn without_preemption_a_lower_active_restarts_the_timer() {
    let mut router = backup(RouterConfig {
        preempt: false,
        ..config()
    });
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(1));
    assert_eq!(timer(&router), 4_609_375);
}

#[test]
fn an_owner_preempts_whatever_its_mode() {
    let owner = RouterConfig {
        priority: Priority::OWNER,
        preempt: false,
        ..config()
    };
    let mut router = VirtualRouter::new(owner);
    router.startup(ms(0));
    router.advert_sent(ms(0), ms(0));
    // Superseded, it is a Backup for once.
    router.handle_advertisement(ms(3_000), HIGHER_ADDRESS, &advert(100));
    let before = timer(&router);
    router.handle_advertisement(ms(4_000), HIGHER_ADDRESS, &advert(100));
    assert_eq!(timer(&router), before);
}

#[test]
fn a_release_is_taken_up_after_the_skew_time() {
    let mut router = backup(config());
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
    router.handle_advertisement(ms(1_500), HIGHER_ADDRESS, &advert(0));
    assert_eq!(timer(&router), 1_500_000 + 609_375);
    assert_eq!(asked(&mut router), "");
    router.handle_timeout(us(1_500_000 + 609_375));
    assert_eq!(cause(&mut router), Cause::Released);
}

#[test]
fn version_3_learns_the_actives_interval_and_version_2_does_not() {
    let interval = Interval::from_centiseconds(200).unwrap();
    let fast = |version| RouterConfig {
        version,
        ..config()
    };
    let heard = |version| {
        let advert = RouterConfig {
            interval,
            ..fast(version)
        }
        .advertisement(150.into());
        let mut router = backup(fast(version));
        router.handle_advertisement(ms(0), HIGHER_ADDRESS, &advert);
        timer(&router)
    };
    assert_eq!(heard(Version::V3), 6_000_000 + 2 * 609_375);
    assert_eq!(heard(Version::V2), 3_609_375);
}

#[test]
fn a_learnt_interval_holds_for_the_skew_time_of_a_release() {
    let interval = Interval::from_centiseconds(200).unwrap();
    let slow = RouterConfig {
        interval,
        ..config()
    };
    let mut router = backup(config());
    router.handle_advertisement(ms(0), HIGHER_ADDRESS, &slow.advertisement(150.into()));
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &slow.advertisement(0.into()));
    assert_eq!(timer(&router), 1_000_000 + 2 * 609_375);
}

#[test]
fn the_last_one_heard_is_known() {
    let mut router = backup(config());
    router.handle_advertisement(ms(2), HIGHER_ADDRESS, &advert(150));
    router.handle_missed(ms(1), LOWER_ADDRESS, 200.into());
    let peer = router.peer().unwrap();
    assert_eq!(
        (peer.source, peer.priority.get(), peer.at),
        (HIGHER_ADDRESS, 150, ms(2))
    );
}

#[test]
fn one_that_is_met_late_never_shortens_the_timer() {
    let mut router = backup(config());
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
    router.handle_missed(ms(400), LOWER_ADDRESS, 200.into());
    assert_eq!(timer(&router), 4_609_375);
    router.handle_missed(ms(900), LOWER_ADDRESS, Priority::RELEASE);
    assert_eq!(timer(&router), 4_609_375);
}

#[test]
fn one_from_before_a_release_does_not_undo_it() {
    let mut router = backup(config());
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
    router.handle_advertisement(ms(1_500), HIGHER_ADDRESS, &advert(0));
    router.handle_advertisement(ms(1_600), LOWER_ADDRESS, &advert(50));
    router.handle_missed(ms(1_400), LOWER_ADDRESS, 200.into());
    assert_eq!(timer(&router), 1_500_000 + 609_375);
    router.handle_missed(ms(1_550), LOWER_ADDRESS, 200.into());
    assert_eq!(timer(&router), 1_550_000 + 3_609_375, "from after it");
}

#[test]
fn one_that_the_ring_lost_restarts_the_timer() {
    let mut router = backup(config());
    router.handle_missed(ms(1_000), HIGHER_ADDRESS, 150.into());
    assert_eq!(timer(&router), 4_609_375);
}

#[test]
fn a_winner_that_the_ring_lost_makes_the_active_step_down() {
    let mut router = active(config());
    router.handle_missed(ms(4_000), HIGHER_ADDRESS, 150.into());
    assert_eq!(asked(&mut router), "revoke last >backup");
}

/// A winner that released in the meantime: its last advert says nothing of that it has won.
#[test]
fn after_a_loss_in_the_ring_the_lease_is_in_doubt() {
    let mut router = active(config());
    assert!(router.is_leased(ms(3_700)));
    router.handle_missed(ms(3_650), HIGHER_ADDRESS, Priority::RELEASE);
    assert!(!router.is_leased(ms(3_700)));
}

#[test]
fn whoever_wins_is_waited_for() {
    let mut router = active(config());
    let slow = RouterConfig {
        interval: Interval::from_centiseconds(200).unwrap(),
        ..config()
    };
    router.handle_advertisement(ms(4_000), HIGHER_ADDRESS, &slow.advertisement(150.into()));
    assert_eq!(timer(&router), 4_000_000 + 6_000_000 + 2 * 609_375);
}

#[test]
fn a_stopped_active_that_goes_on_takes_over_in_order() {
    // Claimed at 3609.375 ms, so the lease ended at 6601.375 ms.
    let mut router = active(config());
    for second in 7..12 {
        router.handle_advertisement(ms(second * 1_000), HIGHER_ADDRESS, &advert(90));
    }
    assert_eq!(asked(&mut router), "superseded >backup");
    assert_eq!(
        timer(&router),
        7_000_000 + 3_609_375,
        "from the first on; lower ones are ignored"
    );
}

#[test]
fn a_stopped_active_that_does_not_preempt_stays_backup() {
    let mut router = active(RouterConfig {
        preempt: false,
        ..config()
    });
    for second in 7..12 {
        router.handle_advertisement(ms(second * 1_000), HIGHER_ADDRESS, &advert(90));
    }
    assert_eq!(asked(&mut router), "superseded >backup");
    assert_eq!(timer(&router), 11_000_000 + 3_609_375);
}

#[test]
fn an_advert_from_within_the_lease_supersedes_nothing_however_late_it_is_met() {
    let mut router = active(config());
    router.handle_advertisement(ms(6_601), HIGHER_ADDRESS, &advert(90));
    router.handle_timeout(ms(9_000));
    assert_eq!(asked(&mut router), "renew");
}

#[test]
fn a_release_to_a_late_active_is_taken_up_in_order() {
    let mut router = active(config());
    router.handle_advertisement(ms(7_000), HIGHER_ADDRESS, &advert(0));
    assert_eq!(asked(&mut router), "superseded >backup");
    assert_eq!(timer(&router), 7_000_000 + 609_375);
}

#[test]
fn before_the_claim_is_out_the_active_is_heard_after_all() {
    let mut router = claiming(config());
    router.handle_advertisement(us(3_609_300), HIGHER_ADDRESS, &advert(150));
    assert_eq!(cause(&mut router), Cause::ActiveHeard);
    assert_eq!(timer(&router), 3_609_300 + 3_609_375);
}

#[test]
fn a_router_that_cannot_send_leaves_a_lower_active_alone_for_a_while() {
    let mut router = claiming(config());
    router.advert_failed(us(3_609_375));
    router.handle_advertisement(ms(4_000), HIGHER_ADDRESS, &advert(90));
    assert_eq!(asked(&mut router), "superseded >backup");
    router.handle_advertisement(ms(5_000), HIGHER_ADDRESS, &advert(90));
    assert_eq!(timer(&router), 5_000_000 + 3_609_375);
    // After ten seconds it tries again.
    router.handle_advertisement(ms(13_609), HIGHER_ADDRESS, &advert(90));
    router.handle_advertisement(ms(13_610), HIGHER_ADDRESS, &advert(90));
    assert_eq!(timer(&router), 13_609_000 + 3_609_375);
}

#[test]
fn the_priority_after_tracking_is_the_one_that_counts() {
    let mut router = active(config());
    router.set_priority(90.into());
    router.handle_advertisement(ms(4_000), LOWER_ADDRESS, &advert(95));
    assert_eq!(asked(&mut router), "revoke last >backup");
    assert_eq!(
        router.skew_time(config().interval),
        Duration::from_micros(648_437) + Duration::from_nanos(500)
    );
}

#[test]
fn a_backup_whose_priority_falls_does_not_preempt_whom_it_heard() {
    let mut router = backup(config());
    router.handle_advertisement(ms(3_000), HIGHER_ADDRESS, &advert(90));
    assert_eq!(timer(&router), 3_609_375);
    router.set_priority(50.into());
    assert_eq!(timer(&router), 3_000_000 + 3_000_000 + 804_687);
    // A rise does not shorten it: the Active ends it by being lower from now on.
    router.set_priority(95.into());
    assert_eq!(timer(&router), 6_804_687);
}

#[test]
fn no_priority_claims_the_addresses_with_a_release() {
    let mut router = backup(config());
    router.set_priority(Priority::RELEASE);
    assert_eq!(router.priority().get(), 1);
}
