//! A peer that says, over another path, that it is in fault.

use hafw_vrrp::{State, VirtualRouter};

use crate::routers::{HIGHER_ADDRESS, LOWER_ADDRESS, advert, backup, config, ms};

/// A Backup that heard the Active at 1 s, and was told at 1.102 s of what it asked at 1.1 s.
fn told_after(between: impl FnOnce(&mut VirtualRouter)) -> VirtualRouter {
    let mut router = backup(config());
    router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
    between(&mut router);
    router.succeed(ms(1_102), HIGHER_ADDRESS, ms(1_100));
    router
}

fn takes_over_at_once(router: &VirtualRouter) -> bool {
    router.takes_over(ms(1_102))
}

#[test]
fn the_active_that_is_in_fault_is_succeeded_at_once() {
    let router = told_after(|_| {});
    assert!(takes_over_at_once(&router));
}

#[test]
fn an_active_that_was_heard_since_the_question_is_not() {
    let router = told_after(|router| {
        router.handle_advertisement(ms(1_101), HIGHER_ADDRESS, &advert(150));
    });
    assert!(!takes_over_at_once(&router));
}

#[test]
fn who_was_not_the_active_has_nothing_to_give() {
    let router = told_after(|router| {
        router.handle_advertisement(ms(1_050), LOWER_ADDRESS, &advert(200));
    });
    assert!(!takes_over_at_once(&router));
    let mut alone = backup(config());
    alone.succeed(ms(1_102), HIGHER_ADDRESS, ms(1_100));
    assert!(!takes_over_at_once(&alone));
}

#[test]
fn an_answer_that_took_two_intervals_is_too_old() {
    let answered_at = |at| {
        let mut router = backup(config());
        router.handle_advertisement(ms(1_000), HIGHER_ADDRESS, &advert(150));
        router.succeed(at, HIGHER_ADDRESS, ms(1_100));
        router.takes_over(at)
    };
    assert!(answered_at(ms(3_099)));
    assert!(!answered_at(ms(3_100)));
}

#[test]
fn only_a_backup_takes_over() {
    let mut router = VirtualRouter::new(config());
    router.succeed(ms(10), HIGHER_ADDRESS, ms(9));
    assert_eq!(router.state(), State::Initialize);
}
