//! Every event in every state: what it asks for and where it leads. The router has priority 100 and
//! the middle one of three addresses.

use hafw_vrrp::{Instant, Priority, RouterConfig, VirtualRouter};

use crate::routers::{
    HIGHER_ADDRESS, LOWER_ADDRESS, active, advert, asked, backup, claiming, config, ms,
};

/// Where the router stands, at a time when no timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Initialize,
    Backup,
    /// A Backup that does not preempt.
    Patient,
    /// Active, and its first advert is not out.
    Claiming,
    /// The same, of one that does not preempt.
    PatientClaiming,
    Active,
    /// Active with a lease that has run out: its controller was stopped.
    Late,
    Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Startup,
    Shutdown,
    Fault,
    Recover,
    /// The state's own timer fires.
    Timer,
    /// An advert of priority 0.
    Release,
    Lower,
    EqualFromLowerAddress,
    EqualFromHigherAddress,
    Higher,
    /// A foreign ARP claim.
    Claim,
}

/// What follows, in the words of [`asked`]; nothing means that the state stays.
const TABLE: &[(From, [(Event, &str); 11])] = {
    use Event::*;
    &[
        (
            From::Initialize,
            [
                (Startup, ">backup"),
                (Shutdown, ""),
                (Fault, ""),
                (Recover, ""),
                (Timer, ""),
                (Release, ""),
                (Lower, ""),
                (EqualFromLowerAddress, ""),
                (EqualFromHigherAddress, ""),
                (Higher, ""),
                (Claim, ""),
            ],
        ),
        (
            From::Backup,
            [
                (Startup, ""),
                (Shutdown, ">initialize"),
                (Fault, ">fault"),
                (Recover, ""),
                (Timer, ">active renew"),
                (Release, ""),
                (Lower, ""),
                (EqualFromLowerAddress, ""),
                (EqualFromHigherAddress, ""),
                (Higher, ""),
                (Claim, ""),
            ],
        ),
        (
            From::Patient,
            [
                (Startup, ""),
                (Shutdown, ">initialize"),
                (Fault, ">fault"),
                (Recover, ""),
                (Timer, ">active renew"),
                (Release, ""),
                (Lower, ""),
                (EqualFromLowerAddress, ""),
                (EqualFromHigherAddress, ""),
                (Higher, ""),
                (Claim, ""),
            ],
        ),
        (
            From::Claiming,
            [
                (Startup, ""),
                (Shutdown, "revoke release >initialize"),
                (Fault, "revoke-fault release >fault"),
                (Recover, ""),
                (Timer, "renew"),
                (Release, ""),
                (Lower, ""),
                (EqualFromLowerAddress, ">backup"),
                (EqualFromHigherAddress, ">backup"),
                (Higher, ">backup"),
                (Claim, ""),
            ],
        ),
        (
            From::PatientClaiming,
            [
                (Startup, ""),
                (Shutdown, "revoke release >initialize"),
                (Fault, "revoke-fault release >fault"),
                (Recover, ""),
                (Timer, "renew"),
                (Release, ""),
                (Lower, ">backup"),
                (EqualFromLowerAddress, ">backup"),
                (EqualFromHigherAddress, ">backup"),
                (Higher, ">backup"),
                (Claim, ""),
            ],
        ),
        (
            From::Active,
            [
                (Startup, ""),
                (Shutdown, "revoke release >initialize"),
                (Fault, "revoke-fault release >fault"),
                (Recover, ""),
                (Timer, "renew announce"),
                (Release, "renew announce"),
                (Lower, "renew announce"),
                (EqualFromLowerAddress, "renew announce"),
                (EqualFromHigherAddress, "revoke last >backup"),
                (Higher, "revoke last >backup"),
                (Claim, "announce"),
            ],
        ),
        (
            From::Late,
            [
                (Startup, "renew"),
                (Shutdown, "revoke release >initialize"),
                (Fault, "revoke-fault release >fault"),
                (Recover, "renew"),
                (Timer, "renew"),
                (Release, "superseded >backup"),
                (Lower, "superseded >backup"),
                (EqualFromLowerAddress, "superseded >backup"),
                (EqualFromHigherAddress, "superseded >backup"),
                (Higher, "superseded >backup"),
                (Claim, "renew"),
            ],
        ),
        (
            From::Fault,
            [
                (Startup, ""),
                (Shutdown, ">initialize"),
                (Fault, ""),
                (Recover, ">backup"),
                (Timer, ""),
                (Release, ""),
                (Lower, ""),
                (EqualFromLowerAddress, ""),
                (EqualFromHigherAddress, ""),
                (Higher, ""),
                (Claim, ""),
            ],
        ),
    ]
};

/// The router, and a time at which the event comes.
fn standing(from: From) -> (VirtualRouter, Instant) {
    let patient = RouterConfig {
        preempt: false,
        ..config()
    };
    match from {
        From::Initialize => (VirtualRouter::new(config()), ms(500)),
        From::Backup => (backup(config()), ms(500)),
        From::Patient => (backup(patient), ms(500)),
        From::Claiming => (claiming(config()), ms(3_610)),
        From::PatientClaiming => (claiming(patient), ms(3_610)),
        From::Active => (active(config()), ms(4_000)),
        From::Late => (active(config()), ms(7_000)),
        From::Fault => {
            let mut router = backup(config());
            router.fault(ms(1));
            assert_eq!(asked(&mut router), ">fault");
            (router, ms(500))
        }
    }
}

fn happen(router: &mut VirtualRouter, event: Event, at: Instant) {
    let mut hear = |source, priority| router.handle_advertisement(at, source, &advert(priority));
    match event {
        Event::Startup => router.startup(at),
        Event::Shutdown => router.shutdown(at),
        Event::Fault => router.fault(at),
        Event::Recover => router.recover(at),
        Event::Timer => {
            let due = router.poll_timeout().map_or(at, |due| due.max(at));
            router.handle_timeout(due);
        }
        Event::Release => hear(HIGHER_ADDRESS, 0),
        Event::Lower => hear(HIGHER_ADDRESS, 99),
        Event::EqualFromLowerAddress => hear(LOWER_ADDRESS, 100),
        Event::EqualFromHigherAddress => hear(HIGHER_ADDRESS, 100),
        Event::Higher => hear(LOWER_ADDRESS, 101),
        Event::Claim => router.handle_claim(at),
    }
}

#[test]
fn every_event_in_every_state() {
    for (from, row) in TABLE {
        for (event, wanted) in row {
            let (mut router, at) = standing(*from);

            happen(&mut router, *event, at);
            // What is due at once is done at once.
            router.handle_timeout(at);

            assert_eq!(asked(&mut router), *wanted, "{from:?} {event:?}");
        }
    }
}

#[test]
fn a_second_timeout_at_the_same_time_does_nothing() {
    for (from, row) in TABLE {
        for (event, _) in row {
            let (mut router, at) = standing(*from);
            happen(&mut router, *event, at);
            router.handle_timeout(at);
            asked(&mut router);

            router.handle_timeout(at);

            assert_eq!(asked(&mut router), "", "{from:?} {event:?}");
            assert!(
                router.poll_timeout().is_none_or(|due| due > at),
                "{from:?} {event:?}"
            );
        }
    }
}

#[test]
fn an_owner_starts_as_active() {
    let owner = RouterConfig {
        priority: Priority::OWNER,
        ..config()
    };
    let mut router = VirtualRouter::new(owner);
    router.startup(ms(0));
    assert_eq!(asked(&mut router), ">active renew");
    router.fault(ms(1));
    router.recover(ms(2));
    assert_eq!(
        asked(&mut router),
        "revoke-fault release >fault >active renew"
    );
}

#[test]
fn a_fault_before_startup_is_kept_for_it() {
    let mut router = VirtualRouter::new(config());
    router.fault(ms(0));
    router.startup(ms(1));
    assert_eq!(asked(&mut router), ">fault");
    router.recover(ms(2));
    assert_eq!(asked(&mut router), ">backup");
}

#[test]
fn a_live_lease_is_gone_on_with_and_renewed_at_once() {
    let mut router = VirtualRouter::new(config());
    router.adopt(ms(100), ms(900), 120.into());
    assert!(router.is_leased(ms(899)) && !router.is_leased(ms(900)));
    router.handle_timeout(ms(100));
    assert_eq!(asked(&mut router), ">active renew");
    assert_eq!(router.priority().get(), 120, "what it was advertised with");
}

#[test]
fn a_lease_that_has_ended_is_not_gone_on_with() {
    let mut router = VirtualRouter::new(config());
    router.adopt(ms(900), ms(900), 120.into());
    assert_eq!(asked(&mut router), ">backup");
}

#[test]
fn a_faulty_router_gives_an_inherited_lease_up() {
    let mut router = VirtualRouter::new(config());
    router.fault(ms(0));
    router.adopt(ms(100), ms(900), 120.into());
    assert_eq!(asked(&mut router), ">active revoke-fault release >fault");
}
