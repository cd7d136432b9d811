//! Sync groups: 0 and 1 move together, 2 is alone.

use hafw_vrrp::{Engine, Instant, Priority, RouterConfig, StateKind, VirtualRouter};

use StateKind::{Active, Backup, Fault, Initialize};

use crate::{
    routers::{config, ms},
    world::{World, heard},
};

fn started(priorities: [u8; 3]) -> (Engine, World) {
    let routers = priorities.map(|priority| {
        VirtualRouter::new(RouterConfig {
            priority: Priority::from(priority),
            ..config()
        })
    });
    let mut engine = Engine::new(routers.into()).with_group(&[0, 1]);
    let mut world = World::default();
    for router in 0..3 {
        engine.startup(router, &mut world);
    }
    world.log();
    (engine, world)
}

/// All Active since about 3.6 s.
fn active() -> (Engine, World) {
    let (mut engine, mut world) = started([100; 3]);
    engine.run(world.at(ms(3_620)));
    assert_eq!(states(&engine), [Active; 3]);
    world.log();
    (engine, world)
}

fn states(engine: &Engine) -> [StateKind; 3] {
    [0, 1, 2].map(|router| engine.routers()[router].state().kind())
}

fn hear(engine: &mut Engine, world: &mut World, router: usize, at: Instant, priority: u8) {
    world.events.push_back((router, heard(at, priority)));
    engine.run(world.at(at));
}

#[test]
fn a_group_takes_over_when_the_last_of_its_timers_has_fired() {
    let (mut engine, mut world) = started([100; 3]);
    hear(&mut engine, &mut world, 0, ms(1_000), 150);
    let deadline = engine.run(world.at(ms(3_700))).unwrap();
    assert_eq!(states(&engine), [Backup, Backup, Active]);
    assert!(deadline <= ms(4_610), "{deadline:?}");
    engine.run(world.at(ms(4_609)));
    assert_eq!(states(&engine), [Backup, Backup, Active]);
    world.log();
    engine.run(world.at(ms(4_610)));
    assert_eq!(states(&engine), [Active; 3]);
}

#[test]
fn a_group_waits_without_deadline_for_a_router_that_defers() {
    let (mut engine, mut world) = started([100; 3]);
    for second in 1..20 {
        // The peer has precedence in 0 and lost 1.
        hear(&mut engine, &mut world, 0, ms(second * 1_000), 150);
        assert_eq!(states(&engine)[..2], [Backup, Backup]);
        let deadline = engine.run(world.at(ms(second * 1_000 + 1))).unwrap();
        assert!(
            deadline > ms(second * 1_000 + 1),
            "nothing is due again and again"
        );
    }
}

#[test]
fn one_that_is_beaten_takes_the_group_along_and_the_other_releases() {
    let (mut engine, mut world) = active();
    hear(&mut engine, &mut world, 1, ms(3_700), 150);
    assert_eq!(
        world.log(),
        "0 revoke, 0 send 0, 0 >backup, 1 revoke, 1 send 100, 1 >backup"
    );
    assert_eq!(states(&engine), [Backup, Backup, Active]);
}

#[test]
fn a_group_does_not_fight_over_one_of_its_routers() {
    // 0 has precedence over the peer, 1 has not.
    let (mut engine, mut world) = started([200, 50, 100]);
    for second in 1..60 {
        hear(&mut engine, &mut world, 0, ms(second * 1_000), 100);
        hear(&mut engine, &mut world, 1, ms(second * 1_000 + 1), 100);
        assert_eq!(states(&engine)[..2], [Backup, Backup], "after {second} s");
    }
}

#[test]
fn a_claim_that_is_withdrawn_withdraws_those_of_the_group() {
    let (mut engine, mut world) = started([100; 3]);
    world.at(ms(3_620));
    // Met when 0 is about to send.
    world.later.insert(3, (1, heard(ms(3_620), 150)));
    engine.run(&mut world);
    assert_eq!(states(&engine), [Backup, Backup, Active]);
    let log = world.log();
    assert!(!log.contains("0 send") && !log.contains("1 send"), "{log}");
}

#[test]
fn a_fault_of_one_is_the_groups_and_ends_with_the_last() {
    let (mut engine, mut world) = active();
    engine.fault(0, world.at(ms(4_000)));
    assert_eq!(
        world.log(),
        "0 revoke-fault, 0 send 0, 0 >fault, 1 revoke-fault, 1 send 0, 1 >fault"
    );
    assert_eq!(states(&engine), [Fault, Fault, Active]);
    engine.fault(1, &mut world);
    engine.recover(0, &mut world);
    assert_eq!(
        states(&engine),
        [Fault, Fault, Active],
        "1 is in fault still"
    );
    engine.recover(1, &mut world);
    assert_eq!(states(&engine), [Backup, Backup, Active]);
}

#[test]
fn a_group_starts_with_the_last_of_its_routers() {
    let routers = vec![VirtualRouter::new(config()); 3];
    let mut engine = Engine::new(routers).with_group(&[0, 1]);
    let mut world = World::default();
    engine.startup(0, &mut world);
    assert_eq!(states(&engine), [Initialize; 3]);
    engine.startup(1, &mut world);
    assert_eq!(states(&engine), [Backup, Backup, Initialize]);
}

#[test]
fn owners_start_together_as_active() {
    let (engine, _) = started([255, 255, 100]);
    assert_eq!(states(&engine), [Active, Active, Backup]);
}

#[test]
fn a_fault_before_the_start_holds_the_group() {
    let routers = vec![VirtualRouter::new(config()); 3];
    let mut engine = Engine::new(routers).with_group(&[0, 1]);
    let mut world = World::default();
    engine.fault(1, &mut world);
    engine.startup(0, &mut world);
    engine.startup(1, &mut world);
    assert_eq!(states(&engine), [Fault, Fault, Initialize]);
}

#[test]
fn a_group_of_which_not_all_were_adopted_stands_down() {
    let routers = vec![VirtualRouter::new(config()); 3];
    let mut engine = Engine::new(routers).with_group(&[0, 1]);
    let mut world = World::default();
    world.at(ms(1_000));
    engine.adopt(0, ms(3_000), Priority::DEFAULT, &mut world);
    engine.startup(1, &mut world);
    engine.run(&mut world);
    assert_eq!(states(&engine), [Backup, Backup, Initialize]);
}

#[test]
fn a_stop_is_one_of_the_group_at_once() {
    let (mut engine, mut world) = active();
    engine.shutdown(world.at(ms(4_000)));
    assert_eq!(
        world.log(),
        "0 revoke, 0 send 0, 0 >initialize, 1 revoke, 1 send 0, 1 >initialize, \
         2 revoke, 2 send 0, 2 >initialize"
    );
}
