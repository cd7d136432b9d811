use std::collections::BTreeMap;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn server(last: u8) -> UpstreamServer {
    UpstreamServer::new(std::net::SocketAddr::from(([10, 0, 0, last], 80)))
}

fn group(balance: Balance, servers: Vec<UpstreamServer>) -> Group {
    Group::new(&Upstream {
        balance,
        ..Upstream::new("web", servers)
    })
}

fn asker(client: IpAddr) -> Asker {
    Asker {
        client,
        key: 0,
        draw: 0,
        stick_to: None,
    }
}

fn weighted(weights: &[u16]) -> Vec<UpstreamServer> {
    let servers = (7..).zip(weights);
    servers
        .map(|(last, weight)| UpstreamServer {
            weight: *weight,
            ..server(last)
        })
        .collect()
}

/// One request that its server serves.
fn serve(group: &mut Group, client: IpAddr, now: Millis) -> Option<usize> {
    let chosen = group.choose(&asker(client), &mut Tried::default(), now)?;
    group.release(chosen, Outcome::Served, now);
    Some(chosen)
}

fn fail(group: &mut Group, now: Millis) -> Option<usize> {
    let chosen = group.choose(&asker(CLIENT), &mut Tried::default(), now)?;
    group.release(chosen, Outcome::Failed, now);
    Some(chosen)
}

#[test]
fn equal_servers_take_turns() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1, 1]));

    let order: Vec<_> = (0..6)
        .filter_map(|_| serve(&mut group, CLIENT, 0))
        .collect();

    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn weights_are_spread_smoothly() {
    let mut group = group(Balance::RoundRobin, weighted(&[5, 1, 1]));

    let order: Vec<_> = (0..7)
        .filter_map(|_| serve(&mut group, CLIENT, 0))
        .collect();

    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn a_request_asks_each_server_once() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1, 1]));
    let mut tried = Tried::default();

    let mut asked: Vec<_> =
        std::iter::from_fn(|| group.choose(&asker(CLIENT), &mut tried, 0)).collect();

    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2]);
    assert!(!group.has_another(&tried, 0));
}

#[test]
fn a_server_is_out_after_max_fails_and_gets_one_chance_per_fail_timeout() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1]));
    assert_eq!(fail(&mut group, 1), Some(0));

    assert!((0..8).all(|_| serve(&mut group, CLIENT, 10_001) == Some(1)));
    let chances = (0..8)
        .filter(|_| {
            let mut tried = Tried::default();
            group.choose(&asker(CLIENT), &mut tried, 10_002) == Some(0)
        })
        .count();

    assert_eq!(chances, 1);
}

#[test]
fn a_server_that_serves_its_chance_is_back() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1]));
    assert_eq!(fail(&mut group, 1), Some(0));

    let later = (0..20).filter(|i| serve(&mut group, CLIENT, 10_002 + i) == Some(0));

    assert_eq!(later.count(), 9);
}

#[test]
fn only_the_failure_that_takes_a_server_out_is_reported() {
    let mut servers = weighted(&[1, 1]);
    servers[0].max_fails = 2;
    let mut group = group(Balance::RoundRobin, servers);

    assert!(!group.release(0, Outcome::Failed, 1));
    assert!(group.release(0, Outcome::Failed, 2));
    assert!(!group.release(0, Outcome::Failed, 3));
}

#[test]
fn max_fails_zero_never_takes_a_server_out() {
    let mut servers = weighted(&[1, 1]);
    servers[0].max_fails = 0;
    servers[1].backup = true;
    let mut group = group(Balance::RoundRobin, servers);

    assert!((0..10).all(|now| fail(&mut group, now) == Some(0)));
}

#[test]
fn a_single_server_is_never_out() {
    let mut group = group(Balance::RoundRobin, weighted(&[1]));

    assert!((0..10).all(|now| fail(&mut group, now) == Some(0)));
    assert_eq!(group.counters(5, |_| 0).servers[0].out, 0);
}

#[test]
fn backups_serve_only_when_all_others_are_out() {
    let mut servers = weighted(&[1, 1, 1]);
    servers[0].backup = true;
    let mut group = group(Balance::RoundRobin, servers);

    assert!((0..8).all(|_| serve(&mut group, CLIENT, 0) != Some(0)));
    assert_eq!(fail(&mut group, 1), Some(1));
    assert_eq!(fail(&mut group, 1), Some(2));

    assert_eq!(serve(&mut group, CLIENT, 2), Some(0));
}

#[test]
fn with_every_server_out_none_is_chosen() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1]));
    fail(&mut group, 1);
    fail(&mut group, 1);

    assert_eq!(serve(&mut group, CLIENT, 2), None);
    assert!(!group.has_another(&Tried::default(), 2));
}

#[test]
fn the_least_loaded_server_per_weight_is_chosen() {
    let mut group = group(Balance::LeastConnections, weighted(&[1, 2]));

    let mut active = [0_u32; 2];
    for _ in 0..6 {
        active[group
            .choose(&asker(CLIENT), &mut Tried::default(), 0)
            .unwrap()] += 1;
    }
    assert_eq!(active, [2, 4]);

    group.release(0, Outcome::Served, 0);
    group.release(0, Outcome::Served, 0);
    assert_eq!(
        group.choose(&asker(CLIENT), &mut Tried::default(), 0),
        Some(0)
    );
}

#[test]
fn a_client_keeps_its_server_and_only_those_of_a_lost_one_move() {
    let mut group = group(Balance::SourceHash, weighted(&[1, 1, 2]));
    let clients: Vec<IpAddr> = (0..=255)
        .map(|last| IpAddr::from([192, 0, 2, last]))
        .collect();
    let before: BTreeMap<_, _> = clients
        .iter()
        .map(|client| (*client, serve(&mut group, *client, 0).unwrap()))
        .collect();

    let mut share = [0_usize; 3];
    for server in before.values() {
        share[*server] += 1;
    }
    assert!(share[0] > 32 && share[1] > 32 && share[2] > 96, "{share:?}");

    group.release(0, Outcome::Failed, 1);
    for client in clients {
        let after = serve(&mut group, client, 2).unwrap();
        assert_ne!(after, 0);
        if before[&client] != 0 {
            assert_eq!(after, before[&client]);
        }
    }
}

#[test]
fn a_new_configuration_keeps_what_is_known_of_a_server() {
    let mut old = group(Balance::RoundRobin, weighted(&[1, 1]));
    assert_eq!(fail(&mut old, 1), Some(0));
    let mut new = group(Balance::RoundRobin, vec![server(9), server(7)]);

    new.inherit(&old);

    assert_eq!(serve(&mut new, CLIENT, 2), Some(0));
    assert_eq!(serve(&mut new, CLIENT, 2), Some(0));
    assert_eq!(new.counters(2, |_| 0).servers[1].failures, 1);
}

#[test]
fn a_hash_goes_by_its_key_and_not_by_the_client() {
    let mut group = group(Balance::Hash, weighted(&[1, 1, 1]));
    let mut choose = |client: u8, key| {
        let asker = Asker {
            key,
            ..asker(IpAddr::from([192, 0, 2, client]))
        };
        let chosen = group.choose(&asker, &mut Tried::default(), 0).unwrap();
        group.release(chosen, Outcome::Served, 0);
        chosen
    };

    for key in 0..64 {
        assert_eq!(choose(1, key), choose(2, key));
    }
    let mut chosen: Vec<_> = (0..64).map(|key| choose(1, key)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    assert_eq!(chosen, [0, 1, 2]);
}

#[test]
fn of_two_drawn_servers_the_less_loaded_one_is_chosen() {
    let mut group = group(Balance::RandomTwo, weighted(&[1, 1, 1]));
    let mut active = [0_u32; 3];
    for draw in 0..300 {
        let asker = Asker {
            draw,
            ..asker(CLIENT)
        };
        let chosen = group.choose(&asker, &mut Tried::default(), 0).unwrap();
        active[chosen] += 1;
    }

    let (least, most) = (active.iter().min().unwrap(), active.iter().max().unwrap());
    assert!(most - least <= 3, "{active:?}");
}

#[test]
fn a_cookie_brings_back_to_its_server_unless_that_is_out() {
    let mut group = group(Balance::RoundRobin, weighted(&[1, 1, 1]));
    let asker = Asker {
        stick_to: Some(group.mark(2)),
        ..asker(CLIENT)
    };
    let choose = |group: &mut Group, now| {
        let chosen = group.choose(&asker, &mut Tried::default(), now).unwrap();
        group.release(chosen, Outcome::Served, now);
        chosen
    };

    assert!((0..5).all(|_| choose(&mut group, 0) == 2));
    group.set_health(&server(9).address, false, 1);
    assert!((0..5).all(|_| choose(&mut group, 2) != 2));
}

#[test]
fn probes_take_even_a_single_server_out_and_bring_it_back() {
    let mut group = group(Balance::RoundRobin, weighted(&[1]));
    let address = server(7).address;

    assert!(group.set_health(&address, false, 1));
    assert!(!group.set_health(&address, false, 1));
    assert_eq!(serve(&mut group, CLIENT, 2), None);
    assert!(group.set_health(&address, true, 3));
    assert_eq!(serve(&mut group, CLIENT, 4), Some(0));
}

#[test]
fn a_server_that_is_back_gets_its_share_little_by_little() {
    let mut servers = weighted(&[1, 1]);
    servers[0].slow_start = Duration::from_secs(10);
    let mut group = group(Balance::RoundRobin, servers);
    group.set_health(&server(7).address, false, 0);
    group.set_health(&server(7).address, true, 1000);
    let mut share = |now| {
        let asked = (0..1000).filter(|i: &u64| {
            let asker = Asker {
                draw: hash_of(i),
                ..asker(CLIENT)
            };
            let chosen = group.choose(&asker, &mut Tried::default(), now);
            group.release(chosen.unwrap(), Outcome::Served, now);
            chosen == Some(0)
        });
        asked.count()
    };

    assert!(
        (20..100).contains(&share(1500)),
        "a twentieth of the requests may go there"
    );
    assert!((250..500).contains(&share(8000)));
    assert_eq!(share(12_000), 500);
}

#[test]
fn no_server_gets_more_requests_at_once_than_it_may() {
    let mut servers = weighted(&[1, 1]);
    servers[0].max_connections = 1;
    servers[1].max_connections = 2;
    let mut group = group(Balance::RoundRobin, servers);
    let choose = |group: &mut Group| group.choose(&asker(CLIENT), &mut Tried::default(), 0);

    assert!((0..3).all(|_| choose(&mut group).is_some()));
    assert_eq!(choose(&mut group), None);
    assert!(group.is_full(&Tried::default(), 0));
    group.release(1, Outcome::Served, 0);
    assert_eq!(choose(&mut group), Some(1));
}
