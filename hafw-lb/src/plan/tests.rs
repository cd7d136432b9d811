//! Plans carried out step by step on a model of the maps.

mod follow;
mod maps;

use std::{net::SocketAddr, time::Duration};

use hafw_common::{
    backend::{BACKEND_DEAD, BACKEND_RESOLVED, Backend},
    mac_to_word,
    nat::{Delta, Rewrite},
    proto::{IP_TCP, IP_UDP},
    service::{MODE_DSR, NO_BACKEND},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};

use self::maps::Maps;
use super::*;
use crate::{
    BackendSpec, Balancer, Capacity, Cause, Change, ConfigureError, Evidence, Found, FoundService,
    Hop, ServiceSpec, State, Sweep, Weighted, backend_key, build,
};

const SLOTS: u32 = 64;
const CAPACITY: Capacity = Capacity {
    slots: SLOTS,
    backends: 16,
    services: 4,
};

const SERVICES: u8 = 4;
const BACKENDS: u8 = 6;

fn key(service: u8) -> ServiceKey {
    ServiceKey {
        address: hafw_common::v4_mapped([10, 0, 0, 3]),
        port: [31, service],
        protocol: IP_TCP,
        reserved: 0,
    }
}

fn address(backend: u8) -> SocketAddr {
    ([10, 0, 1, backend], 8080).into()
}

fn hop(last: u8) -> Hop {
    let mac = [2, 0, 0, 0, 0, last];
    Hop {
        next_hop: (last > 0).then_some(mac),
        source: [2, 0, 0, 0, 1, 1],
        ifindex: 2,
    }
}

fn spec(service: u8, slots: u32, backends: &[(u8, u32)]) -> ServiceSpec {
    let backend = |(number, weight): &(u8, u32)| BackendSpec {
        address: address(*number),
        weight: *weight,
        probed: true,
    };
    let backends = backends.iter().map(backend).collect();
    ServiceSpec {
        key: key(service),
        router: 0,
        mode: MODE_DSR,
        slots,
        backends,
    }
}

fn state(service: u8, backend: u8, state: State) -> Change {
    Change::State {
        service: key(service),
        backend: address(backend),
        state,
    }
}

#[derive(Clone, Debug)]
enum Event {
    Configure(Vec<ServiceSpec>),
    Update(Vec<Change>),
    Restart,
}

fn a_service(service: u8) -> impl Strategy<Value = ServiceSpec> {
    let backends = subsequence((0..BACKENDS).collect::<Vec<_>>(), 0..=usize::from(BACKENDS));
    (
        backends,
        vec(0..4u32, usize::from(BACKENDS)),
        vec(any::<bool>(), 6),
        1..24u32,
        0..3u32,
    )
        .prop_map(move |(chosen, weights, probed, slots, router)| {
            let backends: Vec<_> = chosen.into_iter().zip(weights).collect();
            let mut spec = ServiceSpec {
                router,
                ..spec(service, slots, &backends)
            };
            for (backend, probed) in spec.backends.iter_mut().zip(probed) {
                backend.probed = probed;
            }
            spec
        })
}

fn some_services() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let all = (a_service(0), a_service(1), a_service(2), a_service(3));
    let all = all.prop_map(|(a, b, c, d)| vec![a, b, c, d]);
    all.prop_flat_map(|all| subsequence(all, 0..=usize::from(SERVICES)))
        .prop_shuffle()
}

fn a_change() -> impl Strategy<Value = Change> {
    let states = prop::sample::select(vec![
        State::Unknown,
        State::Up,
        State::Down(Cause::TimedOut),
        State::Down(Cause::Failed),
    ]);
    prop_oneof![
        4 => (0..SERVICES, 0..BACKENDS, states).prop_map(|(s, b, to)| state(s, b, to)),
        1 => (0..SERVICES, 0..BACKENDS, 0..4u32).prop_map(|(s, b, weight)| Change::Weight {
            service: key(s),
            backend: address(b),
            weight,
        }),
        2 => (0..BACKENDS, 0..4u8).prop_map(|(b, last)| Change::Hop {
            address: address(b).ip(),
            hop: hop(last),
        }),
    ]
}

fn an_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => some_services().prop_map(Event::Configure),
        6 => vec(a_change(), 1..8).prop_map(Event::Update),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn after_every_step_every_slot_leads_to_a_backend_that_is_there(
        events in vec(an_event(), 1..20),
    ) {
        let mut maps = Maps::new();
        let mut balancer = Balancer::new(CAPACITY);
        let mut specs = Vec::new();
        for event in events {
            match event {
                Event::Configure(wanted) => match balancer.configure(&wanted) {
                    Ok(ops) => {
                        maps.carry_out(&ops);
                        specs = wanted;
                    }
                    Err(error) => {
                        let full = matches!(
                            error,
                            ConfigureError::Backends { .. } | ConfigureError::Slots { .. }
                        );
                        prop_assert!(full, "{error}");
                    }
                },
                Event::Update(changes) => maps.carry_out(&balancer.update(&changes)),
                Event::Restart => {
                    balancer = Balancer::adopt(CAPACITY, &maps.found());
                    maps.carry_out(&balancer.configure(&specs).unwrap());
                }
            }
            maps.assert_settled(&balancer);
            prop_assert_eq!(balancer.update(&[]), []);
        }
        maps.carry_out(&balancer.configure(&[]).unwrap());
        prop_assert!(maps.services.is_empty() && maps.backends.is_empty());
        prop_assert!(balancer.configure(&[spec(0, SLOTS, &[(0, 1)])]).is_ok(), "all is free again");
    }

    #[test]
    fn a_restart_changes_no_slot(specs in some_services(), changes in vec(a_change(), 0..12)) {
        let mut maps = Maps::new();
        let mut balancer = Balancer::new(CAPACITY);
        let Ok(ops) = balancer.configure(&specs) else { return Ok(()) };
        maps.carry_out(&ops);
        let kept = |change: &Change| !matches!(change, Change::Weight { .. });
        let changes: Vec<_> = changes.into_iter().filter(kept).collect();
        maps.carry_out(&balancer.update(&changes));

        let mut successor = Balancer::adopt(CAPACITY, &maps.found());
        prop_assert_eq!(successor.configure(&specs), Ok(Vec::new()));
        maps.assert_settled(&successor);
    }
}

#[test]
fn a_new_service_is_entered_last_and_an_old_one_leaves_first() {
    let mut balancer = Balancer::new(CAPACITY);
    let kinds = |ops: &[MapOp]| ops.iter().map(kind).collect::<Vec<_>>();
    let added = balancer
        .configure(&[spec(0, 7, &[(0, 1), (1, 1)])])
        .unwrap();
    assert_eq!(kinds(&added), ["backend", "backend", "slots", "service"]);
    let removed = balancer.configure(&[]).unwrap();
    assert_eq!(kinds(&removed), ["no service", "no backend", "no backend"]);
}

fn kind(op: &MapOp) -> &'static str {
    match op {
        MapOp::PutBackend { .. } => "backend",
        MapOp::SetSlots { .. } => "slots",
        MapOp::PutService { .. } => "service",
        MapOp::RemoveService { .. } => "no service",
        MapOp::RemoveBackend { .. } => "no backend",
    }
}

/// A look at the flows that found none, and that began then.
fn nothing_since(began: Duration) -> Sweep {
    Sweep {
        began,
        ..Sweep::default()
    }
}

#[test]
fn a_backend_that_goes_stays_until_no_flow_is_on_it() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer
        .configure(&[spec(0, 7, &[(0, 1), (1, 1)])])
        .unwrap();
    let ops = balancer.configure(&[spec(0, 7, &[(1, 1)])]).unwrap();
    let [MapOp::SetSlots { first: 0, words }] = &ops[..] else {
        panic!("{ops:?}");
    };
    assert!(
        matches!(words.len(), 3 | 4),
        "only the changed ones: {words:?}"
    );
    assert!(words.iter().all(|(_, word)| *word == Slot::moved(1, 0).0));

    let minutes = |n| Duration::from_secs(60 * n);
    let mut settle = |now: u64, seen: u64, sweep: &Sweep| {
        balancer.settle(&Evidence {
            now: minutes(now),
            base_seen: &|_| Some(minutes(seen)),
            sweep: Some(sweep),
        })
    };
    let word = |ops: &[MapOp]| match ops {
        [MapOp::SetSlots { words, .. }, ..] => Some(Slot(words[0].1)),
        _ => None,
    };
    assert_eq!(settle(0, 0, &Sweep::default()), []);
    assert_eq!(
        settle(20, 10, &Sweep::default()),
        [],
        "heard of 10 minutes ago"
    );
    let settled = settle(25, 10, &Sweep::default());
    assert_eq!(word(&settled), Some(Slot::moved(1, 1)));
    assert_eq!(
        settle(30, 10, &nothing_since(minutes(25))),
        [],
        "handshakes"
    );
    let mut found = nothing_since(minutes(27));
    found.slots.extend(0..7);
    found.backends.insert(0);
    assert_eq!(settle(31, 10, &found), [], "flows have entries");
    let rested = settle(40, 10, &nothing_since(minutes(39)));
    assert_eq!(word(&rested), Some(Slot::at_rest(1)));
    assert_eq!(rested[1..], [MapOp::RemoveBackend { index: 0 }]);
    assert!(balancer.is_settled());
}

#[test]
fn a_base_that_never_falls_silent_ends_at_last() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer.configure(&[spec(0, 1, &[(0, 1)])]).unwrap();
    let _ = balancer.configure(&[spec(0, 1, &[(1, 1)])]).unwrap();
    let hours = |n: u64| Duration::from_secs(3600 * n);
    let mut settle = |now| {
        balancer.settle(&Evidence {
            now: hours(now),
            base_seen: &|_| Some(hours(now)),
            sweep: None,
        })
    };
    assert_eq!(settle(0), []);
    assert_eq!(settle(11), []);
    assert_eq!(settle(12).len(), 1);
}

#[test]
fn datagrams_leave_the_base_when_their_slot_was_silent() {
    let mut balancer = Balancer::new(CAPACITY);
    let udp = |backend| {
        let mut udp = spec(0, 1, &[(backend, 1)]);
        udp.key.protocol = IP_UDP;
        udp
    };
    balancer.configure(&[udp(0)]).unwrap();
    let _ = balancer.configure(&[udp(1)]).unwrap();
    let mut settle = |now, seen| {
        balancer.settle(&Evidence {
            now: Duration::from_secs(now),
            base_seen: &|_| Some(Duration::from_secs(seen)),
            sweep: None,
        })
    };
    assert_eq!(settle(0, 0), []);
    assert_eq!(settle(50, 21), []);
    let rest = settle(51, 21);
    let MapOp::SetSlots { words, .. } = &rest[0] else {
        panic!("{rest:?}");
    };
    assert_eq!(words[..], [(0, Slot::at_rest(1).0)]);
}

#[test]
fn a_dead_backend_is_nobodys_base() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer
        .configure(&[spec(0, 7, &[(0, 1), (1, 1)])])
        .unwrap();
    let dead = balancer.update(&[state(0, 0, State::Down(Cause::Failed))]);
    let [
        MapOp::PutBackend { dead: true, .. },
        MapOp::SetSlots { words, .. },
    ] = &dead[..]
    else {
        panic!("its entry first: {dead:?}");
    };
    assert!(words.iter().all(|(_, word)| *word == Slot::at_rest(1).0));
    let back = balancer.update(&[state(0, 0, State::Up)]);
    let [
        MapOp::PutBackend { dead: false, .. },
        MapOp::SetSlots { words, .. },
    ] = &back[..]
    else {
        panic!("its entry first: {back:?}");
    };
    assert!(words.iter().all(|(_, word)| *word == Slot::moved(0, 1).0));
}

#[test]
fn a_new_mac_touches_only_the_backends_entry() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer
        .configure(&[spec(0, 7, &[(0, 1), (1, 1)])])
        .unwrap();
    let ops = balancer.update(&[Change::Hop {
        address: address(1).ip(),
        hop: hop(9),
    }]);
    let next_hop = hop(9).next_hop;
    let is = |op: &MapOp| matches!(op, MapOp::PutBackend { index: 1, next_hop: mac, .. } if *mac == next_hop);
    assert!(ops.len() == 1 && is(&ops[0]), "{ops:?}");
}

/// Which backends have slots, once the states of backends 0, 1, 2 are these.
fn chosen(states: [State; 3]) -> Vec<SocketAddr> {
    let mut balancer = Balancer::new(CAPACITY);
    balancer
        .configure(&[spec(0, 31, &[(0, 1), (1, 1), (2, 1)])])
        .unwrap();
    let changes: Vec<_> = (0..).zip(states).map(|(b, to)| state(0, b, to)).collect();
    let _ = balancer.update(&changes);
    let status = balancer.service(key(0)).unwrap();
    status
        .backends
        .iter()
        .filter(|b| b.slots > 0)
        .map(|b| b.address)
        .collect()
}

#[test]
fn backends_that_merely_time_out_are_kept_when_nobody_else_is_left() {
    let (up, failed) = (State::Up, State::Down(Cause::Failed));
    let timed_out = State::Down(Cause::TimedOut);
    let [a, b, c] = [0, 1, 2].map(address);
    assert_eq!(chosen([up, timed_out, failed]), [a]);
    assert_eq!(chosen([timed_out; 3]), [a, b, c]);
    assert_eq!(chosen([failed, timed_out, timed_out]), [b, c]);
    assert_eq!(chosen([failed; 3]), []);
    assert_eq!(chosen([State::Unknown, failed, failed]), [a]);
}

#[test]
fn a_drained_backend_does_not_count_as_up() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer
        .configure(&[spec(0, 31, &[(0, 0), (1, 1)])])
        .unwrap();
    let _ = balancer.update(&[state(0, 1, State::Down(Cause::TimedOut))]);
    let status = balancer.service(key(0)).unwrap();
    assert_eq!(
        status.backends.iter().map(|b| b.slots).collect::<Vec<_>>(),
        [0, 31]
    );
}

#[test]
fn news_of_what_is_not_there_is_without_effect() {
    let mut balancer = Balancer::new(CAPACITY);
    let unprobed = BackendSpec {
        address: address(0),
        weight: 1,
        probed: false,
    };
    let service = ServiceSpec {
        backends: vec![unprobed],
        ..spec(0, 7, &[])
    };
    balancer.configure(&[service]).unwrap();
    let failed = State::Down(Cause::Failed);
    let changes = [
        state(0, 0, failed),
        state(0, 5, failed),
        state(3, 0, failed),
        Change::Hop {
            address: address(5).ip(),
            hop: hop(1),
        },
        Change::Weight {
            service: key(3),
            backend: address(0),
            weight: 5,
        },
    ];
    assert_eq!(balancer.update(&changes), []);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut balancer = Balancer::new(CAPACITY);
    balancer.configure(&[spec(0, 40, &[(0, 1)])]).unwrap();
    let before: Vec<_> = balancer.services().collect();
    let twice = spec(1, 7, &[(0, 1), (0, 2)]);
    let many = (1..=4).map(|n| spec(n, 2, &[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]));
    for (specs, message) in [
        (
            vec![spec(0, 41, &[(0, 1)])],
            "no room for the 41 slots of service 10.0.0.3:7936/tcp: the longest free region has \
             24 of 64",
        ),
        (
            many.collect(),
            "no room for backend 10.0.1.0:8080: all 16 entries are in use",
        ),
        (
            vec![spec(1, 0, &[])],
            "service 10.0.0.3:7937/tcp has no slots",
        ),
        (
            vec![spec(1, 1, &[]); 2],
            "service 10.0.0.3:7937/tcp is there twice",
        ),
        (
            vec![twice],
            "backend 10.0.1.0:8080 is there twice in service 10.0.0.3:7937/tcp",
        ),
        (
            (0..5).map(|n| spec(n, 1, &[])).collect(),
            "5 services, but there is room for 4",
        ),
    ] {
        assert_eq!(balancer.configure(&specs).unwrap_err().to_string(), message);
        assert_eq!(balancer.services().collect::<Vec<_>>(), before);
    }
    assert_eq!(
        balancer.configure(&[spec(0, 40, &[(0, 1)])]),
        Ok(Vec::new())
    );
}

#[test]
fn services_that_are_not_whole_are_made_anew() {
    let specs = [spec(0, 7, &[(0, 1)]), spec(1, 7, &[(1, 1)])];
    let mut maps = Maps::new();
    maps.carry_out(&Balancer::new(CAPACITY).configure(&specs).unwrap());
    let whole = maps.found();
    let edit = |edit: fn(&mut Found)| {
        let mut found = whole.clone();
        edit(&mut found);
        found
    };
    for (found, removed) in [
        (
            edit(|found| found.services[1].service.first_slot = 3),
            vec![1],
        ),
        (
            edit(|found| found.services[0].service.first_slot = u32::MAX),
            vec![0],
        ),
        (edit(|found| found.services[0].words.truncate(6)), vec![0]),
        (edit(|found| found.services[1].words[3] |= 1 << 50), vec![1]),
        (edit(|found| found.backends.clear()), vec![0, 1]),
    ] {
        let ops = Balancer::adopt(CAPACITY, &found).configure(&specs).unwrap();
        let is_removed = |op: &MapOp| match op {
            MapOp::RemoveService { key } => Some(key.port[1]),
            MapOp::PutBackend { .. }
            | MapOp::SetSlots { .. }
            | MapOp::PutService { .. }
            | MapOp::RemoveBackend { .. } => None,
        };
        assert_eq!(
            ops.iter().filter_map(is_removed).collect::<Vec<_>>(),
            removed
        );
        let put = ops.iter().filter(|op| kind(op) == "service").count();
        assert_eq!(put, removed.len());
    }
}
