//! The order in which the engine looks at the world and changes it.

use hafw_common::counters::Counter;
use hafw_vrrp::{Engine, Event, Instant, Missed, Priority, RouterConfig, VirtualRouter, Vrid};

use crate::{
    routers::{HIGHER_ADDRESS, LOWER_ADDRESS, config, ms, us},
    world::{World, heard, heard_as},
};

/// One Backup since 0, or several.
fn backups(number: usize) -> (Engine, World) {
    let routers = vec![VirtualRouter::new(config()); number];
    let (mut engine, mut world) = (Engine::new(routers), World::default());
    for router in 0..number {
        engine.startup(router, &mut world);
    }
    world.log();
    (engine, world)
}

/// One Active since 3609.375 ms.
fn active() -> (Engine, World) {
    let (mut engine, mut world) = backups(1);
    engine.run(world.at(ms(3_610)));
    assert_eq!(
        world.log(),
        "0 >active, 0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce"
    );
    (engine, world)
}

#[test]
fn a_takeover_claims_then_takes_the_lease_then_announces() {
    let (engine, _) = active();
    assert!(engine.routers()[0].is_leased(ms(6_000)));
}

#[test]
fn nothing_is_done_before_it_is_due() {
    let (mut engine, mut world) = backups(1);
    let deadline = engine.run(world.at(ms(3_609))).unwrap();
    assert_eq!(world.log(), "");
    assert_eq!(
        deadline.as_nanos() / 1_000,
        3_609_377,
        "a µs for each reading of the clock"
    );
}

#[test]
fn an_advert_that_cannot_be_sent_renews_nothing_and_nothing_is_announced() {
    let (mut engine, mut world) = backups(1);
    world.sends_fail = true;
    engine.run(world.at(ms(3_610)));
    assert_eq!(world.log(), "0 >active, 0 send 100");
    world.sends_fail = false;
    engine.run(world.at(ms(4_700)));
    assert_eq!(
        world.log(),
        "0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce"
    );
}

#[test]
fn attracting_ends_before_priority_0_is_advertised() {
    let (mut engine, mut world) = active();
    engine.shutdown(world.at(ms(4_000)));
    assert_eq!(world.log(), "0 revoke, 0 send 0, 0 >initialize");
    let (mut engine, mut world) = active();
    engine.fault(0, world.at(ms(4_000)));
    assert_eq!(world.log(), "0 revoke-fault, 0 send 0, 0 >fault");
}

#[test]
fn attracting_ends_before_the_last_advert_and_before_stepping_down() {
    let (mut engine, mut world) = active();
    world.events.push_back((0, heard(ms(4_000), 150)));
    engine.run(world.at(ms(4_000)));
    assert_eq!(world.log(), "0 revoke, 0 send 100, 0 >backup");
}

#[test]
fn a_lower_advert_is_answered_at_once() {
    let (mut engine, mut world) = active();
    world.events.push_back((0, heard(ms(4_000), 50)));
    engine.run(world.at(ms(4_000)));
    assert_eq!(
        world.log(),
        "0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce"
    );
}

#[test]
fn events_come_before_timers() {
    let (mut engine, mut world) = backups(1);
    for second in 1..60 {
        world.events.push_back((0, heard(ms(second * 1_000), 150)));
    }
    engine.run(world.at(ms(60_000)));
    assert_eq!(world.log(), "", "a backlog is no reason to take over");
}

#[test]
fn an_advert_between_the_timer_and_the_claim_prevents_the_claim() {
    let (mut engine, mut world) = backups(1);
    // Readings: the round, the transition, before the send.
    world.later.insert(3, (0, heard(ms(3_610), 150)));
    engine.run(world.at(ms(3_610)));
    assert_eq!(world.log(), "0 >active, 0 >backup");
}

#[test]
fn a_lower_advert_between_the_timer_and_the_claim_delays_the_claim() {
    let (mut engine, mut world) = backups(1);
    // Readings: the round, the transition, before the send.
    world.later.insert(3, (0, heard(ms(3_610), 50)));
    let deadline = engine.run(world.at(ms(3_610)));
    assert_eq!(world.log(), "0 >active");
    assert_eq!(deadline, Some(ms(3_611)));
    engine.run(world.at(ms(3_611)));
    assert_eq!(
        world.log(),
        "0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce"
    );
}

#[test]
fn a_winner_between_the_timer_and_the_renewal_prevents_the_renewal() {
    let (mut engine, mut world) = active();
    // Readings: the round, before the send.
    world.later.insert(2, (0, heard(ms(4_610), 150)));
    engine.run(world.at(ms(4_610)));
    assert_eq!(world.log(), "0 revoke, 0 send 100, 0 >backup");
}

#[test]
fn a_winner_after_the_claim_prevents_the_announcement() {
    let (mut engine, mut world) = backups(1);
    // Readings: the round, the transition, before the send, the loop's end, the next round, before
    // the announcement.
    world.later.insert(6, (0, heard(ms(3_610), 150)));
    engine.run(world.at(ms(3_610)));
    assert_eq!(
        world.log(),
        "0 >active, 0 send 100, 0 renew 100 for 2992 ms from 5 us ago, \
         0 revoke, 0 send 100, 0 >backup"
    );
}

#[test]
fn an_announcement_that_a_doubt_prevents_is_made_with_the_next_renewal() {
    // One is due with the renewal at 5610 ms. While that is under way an advert comes, and is judged
    // by the renewal before.
    let (mut engine, mut world) = active();
    engine.run(world.at(ms(4_610)));
    engine.run(world.at(ms(4_611)));
    world.log();
    // Readings: the round, before the send, after the renewal, before the announcement.
    world.later.insert(4, (0, heard(us(5_611_002), 50)));
    let deadline = engine.run(world.at(ms(5_611))).unwrap();
    let renewed = "0 send 100, 0 renew 100 for 2992 ms from 5 us ago";
    assert_eq!(world.log(), renewed);
    let deadline = match engine.run(world.at(deadline)) {
        Some(deadline) if world.log() == renewed => deadline,
        other => panic!("{other:?}"),
    };
    engine.run(world.at(deadline));
    assert_eq!(world.log(), "0 announce");
}

#[test]
fn a_flood_does_not_keep_timers_from_firing() {
    let (mut engine, mut world) = active();
    world.flood = Some(|at| (0, heard(at, 50)));
    // Later than an interval after the claim: XDP has suspended the lease.
    let deadline = engine.run(world.at(ms(4_700))).unwrap();
    engine.run(world.at(deadline));
    assert!(world.log().contains("renew"));
}

#[test]
fn an_advert_that_the_ring_lost_prevents_a_takeover() {
    let (mut engine, mut world) = backups(1);
    let lost = Missed {
        at: ms(3_600),
        source: HIGHER_ADDRESS,
        priority: 150.into(),
    };
    world.missed = vec![lost];
    let deadline = engine.run(world.at(ms(3_700))).unwrap();
    assert_eq!(world.log(), "");
    assert_eq!(
        deadline,
        lost.at + config().active_down_interval(100.into(), config().interval)
    );
}

#[test]
fn a_peer_that_fell_silent_before_the_last_look_was_not_lost_by_the_ring() {
    let (mut engine, mut world) = active();
    let (gone, lost) = (ms(3_000), ms(3_900));
    let peer = |at, priority: u8, source| Missed {
        at,
        source,
        priority: priority.into(),
    };
    world.missed = vec![
        peer(gone, 200, HIGHER_ADDRESS),
        peer(lost, 50, LOWER_ADDRESS),
    ];
    engine.run(world.at(ms(4_000)));
    assert_eq!(
        world.log(),
        "0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce",
        "the lower one is answered, and the winner of long ago is not met again"
    );
}

#[test]
fn adverts_of_another_configuration_are_refused_and_counted_by_reason() {
    let (mut engine, mut world) = backups(2);
    let of = |config: RouterConfig| heard_as(ms(1), &config.advertisement(150.into()));
    let vrid = Vrid::new(52).unwrap();
    let mut damaged = heard(ms(1), 150);
    if let Event::Advert { message, .. } = &mut damaged {
        message[2] ^= 1;
    }
    world.events.extend([
        (1, of(RouterConfig { vrid, ..config() })),
        (1, damaged.clone()),
        (1, damaged),
        (7, heard(ms(1), 150)),
    ]);
    engine.run(world.at(ms(2)));
    let refused: Vec<_> = engine.refused().iter().map(|(key, n)| (*key, *n)).collect();
    let wanted = [
        ((1, Counter::AdvertForeignVrid), 1),
        ((1, Counter::AdvertBadChecksum), 2),
    ];
    assert_eq!(refused, wanted);
    assert_eq!(world.log().matches("1 refused").count(), 3);
    assert_eq!(engine.routers()[1].peer(), None);
}

#[test]
fn routers_do_not_touch_each_other() {
    let (mut engine, mut world) = backups(2);
    world.events.push_back((1, heard(ms(3_000), 150)));
    engine.run(world.at(ms(3_610)));
    assert_eq!(
        world.log(),
        "0 >active, 0 send 100, 0 renew 100 for 2992 ms from 5 us ago, 0 announce"
    );
}

#[test]
fn a_former_controllers_backlog_is_met_by_whoever_adopts_its_lease() {
    let (mut engine, mut world) = (
        Engine::new(vec![VirtualRouter::new(config())]),
        World::default(),
    );
    world.events.push_back((0, heard(ms(90), 150)));
    engine.adopt(0, ms(900), Priority::DEFAULT, world.at(ms(100)));
    engine.run(&mut world);
    assert_eq!(world.log(), "0 >active, 0 revoke, 0 send 100, 0 >backup");
}

/// The former controller renewed at 0, with a longer interval: XDP has suspended the lease by the
/// interval that is in force now.
#[test]
fn a_lease_that_was_made_for_another_interval_is_in_doubt_once_another_is_heard() {
    let (mut engine, mut world) = (
        Engine::new(vec![VirtualRouter::new(config())]),
        World::default(),
    );
    world.sends_fail = true;
    engine.adopt(0, ms(5_980), Priority::DEFAULT, world.at(ms(1_000)));
    engine.run(&mut world);
    assert!(engine.routers()[0].is_leased(ms(2_000)));
    world.events.push_back((0, heard(ms(3_500), 50)));
    engine.run(world.at(ms(3_600)));
    assert!(!engine.routers()[0].is_leased(ms(3_600)));
}

#[test]
fn a_command_meets_first_what_came_before_it() {
    let (mut engine, mut world) = active();
    world.events.push_back((0, heard(ms(3_900), 150)));
    engine.shutdown(world.at(ms(4_000)));
    assert_eq!(
        world.log(),
        "0 revoke, 0 send 100, 0 >backup, 0 >initialize",
        "a Backup has nothing to release"
    );
}

#[test]
fn a_router_that_starts_waits_from_after_what_it_ignored() {
    let (mut engine, mut world) = (
        Engine::new(vec![VirtualRouter::new(config())]),
        World::default(),
    );
    world.events.push_back((0, heard(ms(5_000), 150)));
    // The thread is stopped for five seconds within the command, after it first read the time.
    world.later_by = Some((2, ms(5_000)));
    engine.startup(0, world.at(ms(0)));
    let deadline = engine.run(&mut world).unwrap();
    assert!(deadline > ms(8_609), "{deadline:?}");
}

#[test]
fn commands_for_routers_that_are_not_there_do_nothing() {
    let (mut engine, mut world) = backups(1);
    engine.startup(9, &mut world);
    engine.adopt(
        9,
        Instant::from_nanos(u64::MAX),
        Priority::DEFAULT,
        &mut world,
    );
    engine.set_priority(9, Priority::DEFAULT);
    engine.fault(9, &mut world);
    engine.recover(9, &mut world);
    assert_eq!(world.log(), "");
}
