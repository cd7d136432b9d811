//! When adverts and announcements are due.

use hafw_vrrp::{State, VirtualRouter};

use crate::routers::{
    HIGHER_ADDRESS, LOWER_ADDRESS, OWN, active, advert, asked, backup, claiming, config, ms, us,
};

/// The Adver_Timer, in µs.
fn timer(router: &VirtualRouter) -> u64 {
    let State::Active { adver_timer, .. } = router.state() else {
        panic!("{:?}", router.state());
    };
    adver_timer.as_nanos() / 1_000
}

#[test]
fn lateness_does_not_add_up() {
    let mut router = active(config());
    assert_eq!(timer(&router), 4_609_375);
    router.handle_timeout(us(4_700_000));
    assert_eq!(timer(&router), 5_609_375);
}

#[test]
fn missed_intervals_are_not_made_up_for() {
    let mut router = active(config());
    router.handle_timeout(ms(9_000));
    assert_eq!(timer(&router), 10_000_000);
    assert_eq!(asked(&mut router), "renew");
}

#[test]
fn the_lease_runs_from_the_time_that_was_read_before_the_send() {
    let mut router = claiming(config());
    assert!(!router.is_leased(ms(3_610)));
    router.advert_sent(ms(3_610), ms(3_610));
    assert!(router.is_leased(ms(6_601)));
    assert!(!router.is_leased(ms(6_602)));
}

#[test]
fn a_failed_renewal_leaves_the_lease_as_it_was() {
    let mut router = active(config());
    router.advert_failed(ms(4_610));
    assert!(router.is_leased(ms(6_601)));
    assert!(!router.is_leased(ms(6_602)));
}

#[test]
fn a_flood_of_lower_adverts_is_answered_every_ten_milliseconds() {
    let mut router = active(config());
    let mut answers = 0;
    for t in 40_000..45_000 {
        router.handle_advertisement(us(t * 100), HIGHER_ADDRESS, &advert(99));
        router.handle_timeout(us(t * 100));
        answers += asked(&mut router)
            .split(' ')
            .filter(|word| *word == "renew")
            .count();
    }
    assert_eq!(answers, 50);
}

#[test]
fn one_answer_is_enough_for_all_that_came_before_it() {
    let mut router = active(config());
    for t in 4_000..4_100 {
        router.handle_advertisement(ms(t), HIGHER_ADDRESS, &advert(99));
    }
    router.handle_timeout(ms(4_100));
    assert_eq!(asked(&mut router), "renew announce");
    assert_eq!(timer(&router), 5_100_000, "an answer restarts the timer");
}

#[test]
fn after_a_lower_advert_nothing_is_announced_with_an_old_lease() {
    // The last renewal, at 3609 ms, is older than an interval: XDP may have suspended the lease.
    let mut router = active(config());
    router.handle_advertisement(ms(5_000), HIGHER_ADDRESS, &advert(99));
    assert!(!router.is_leased(ms(5_000)));
    router.handle_timeout(ms(5_001));
    assert_eq!(asked(&mut router), "renew");
    router.advert_failed(ms(5_001));
    router.handle_timeout(ms(5_500));
    assert_eq!(asked(&mut router), "");
    router.advert_sent(ms(5_500), ms(5_500));
    router.handle_timeout(ms(5_500));
    assert_eq!(asked(&mut router), "announce");
}

#[test]
fn nor_is_it_while_xdp_still_compares_with_a_lower_priority() {
    let mut router = active(config());
    router.set_priority(200.into());
    router.handle_advertisement(ms(4_000), HIGHER_ADDRESS, &advert(150));
    assert!(!router.is_leased(ms(4_000)), "it was advertised with 100");
    router.handle_timeout(ms(4_001));
    assert_eq!(asked(&mut router), "renew");
    router.advert_sent(ms(4_001), ms(4_001));
    router.handle_advertisement(ms(4_100), HIGHER_ADDRESS, &advert(150));
    assert!(router.is_leased(ms(4_100)));
}

#[test]
fn nor_what_was_heard_before_the_renewal_was_written() {
    // The controller was stopped between reading the time and writing.
    let mut router = active(config());
    router.advert_sent(ms(4_000), ms(6_000));
    router.handle_advertisement(ms(4_900), HIGHER_ADDRESS, &advert(99));
    assert!(!router.is_leased(ms(6_000)));
}

#[test]
fn a_claim_waits_until_xdp_is_done_with_what_was_heard() {
    let mut router = backup(config());
    router.handle_advertisement(us(3_609_300), HIGHER_ADDRESS, &advert(99));
    router.handle_timeout(us(3_609_375));
    assert_eq!(asked(&mut router), ">active");
    assert_eq!(router.poll_timeout(), Some(us(3_610_300)));
    router.handle_timeout(us(3_610_300));
    assert_eq!(asked(&mut router), "renew");
}

#[test]
fn a_claim_that_others_keep_interrupting_waits_once_and_is_made_again() {
    let mut router = backup(config());
    router.handle_advertisement(us(3_609_300), HIGHER_ADDRESS, &advert(99));
    router.handle_timeout(us(3_609_375));
    router.handle_timeout(us(3_610_300));
    assert_eq!(asked(&mut router), ">active renew");
    router.handle_advertisement(us(3_610_310), HIGHER_ADDRESS, &advert(99));
    assert!(!router.is_held());
    router.advert_sent(us(3_610_320), us(3_610_330));
    assert!(
        !router.is_leased(us(3_610_330)),
        "XDP may have ended it already"
    );
    router.handle_timeout(us(3_611_310));
    assert_eq!(asked(&mut router), "renew");
    router.advert_sent(us(3_611_310), us(3_611_310));
    router.handle_timeout(us(3_611_310));
    assert_eq!(asked(&mut router), "announce");
}

#[test]
fn so_does_an_answer_with_an_old_lease() {
    let mut router = active(config());
    router.handle_advertisement(us(5_000_000), HIGHER_ADDRESS, &advert(99));
    router.handle_timeout(us(5_000_000));
    assert_eq!(asked(&mut router), "", "though the Adver_Timer has fired");
    assert_eq!(router.poll_timeout(), Some(us(5_001_000)));
    router.handle_timeout(us(5_001_000));
    assert_eq!(asked(&mut router), "renew");
}

#[test]
fn a_claim_is_answered_without_a_lease_as_soon_as_there_is_one() {
    let mut router = active(config());
    // The lease ended at 6601.375 ms.
    router.handle_claim(ms(7_000));
    router.handle_timeout(ms(7_000));
    assert_eq!(asked(&mut router), "renew");
    router.advert_sent(ms(7_000), ms(7_000));
    router.handle_timeout(ms(7_000));
    assert_eq!(asked(&mut router), "announce");
}

#[test]
fn what_was_queued_for_the_lease_ends_with_it() {
    let mut router = active(config());
    router.handle_timeout(us(4_609_375));
    router.handle_advertisement(ms(4_610), HIGHER_ADDRESS, &advert(150));
    assert_eq!(
        asked(&mut router),
        "revoke last >backup",
        "no renewal, no announcement"
    );
}

#[test]
fn an_adopted_router_announces_as_one_that_has_announced_before() {
    let mut router = VirtualRouter::new(config());
    router.adopt(ms(100), ms(900), 100.into());
    router.handle_timeout(ms(100));
    assert_eq!(asked(&mut router), ">active renew");
    router.advert_sent(ms(100), ms(100));
    router.handle_timeout(ms(1_100));
    assert_eq!(asked(&mut router), "renew announce");
}

#[test]
fn an_active_whose_mac_is_another_announces_again_and_a_backup_does_not() {
    let mut router = active(config());
    router.moved(ms(4_000));
    router.handle_timeout(router.poll_timeout().unwrap());
    assert_eq!(asked(&mut router), "announce");
    router.shutdown(ms(4_100));
    asked(&mut router);
    router.startup(ms(4_200));
    router.moved(ms(4_200));
    assert!(router.poll_timeout() > Some(ms(7_000)));
}

#[test]
fn the_source_changes_only_while_nothing_is_sent() {
    let mut router = active(config());
    router.set_source(LOWER_ADDRESS);
    assert_eq!(router.config().source, OWN);
    router.fault(ms(4_000));
    router.set_source(LOWER_ADDRESS);
    assert_eq!(router.config().source, LOWER_ADDRESS);
}
