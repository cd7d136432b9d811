use std::collections::BTreeMap;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn server(last: u8) -> UpstreamServer {
    UpstreamServer::new(SocketAddr::from(([10, 0, 0, last], 80)))
}

fn group(balance: Balance, servers: Vec<UpstreamServer>) -> Group {
    Group::new(&Upstream {
        name: "web".to_owned(),
        balance,
        servers,
        keepalive: 64,
    })
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
    let chosen = group.choose(client, &mut Tried::default(), now)?;
    group.release(chosen, Outcome::Served, now);
    Some(chosen)
}

fn fail(group: &mut Group, now: Millis) -> Option<usize> {
    let chosen = group.choose(CLIENT, &mut Tried::default(), now)?;
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

    let mut asked: Vec<_> = std::iter::from_fn(|| group.choose(CLIENT, &mut tried, 0)).collect();

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
            group.choose(CLIENT, &mut tried, 10_002) == Some(0)
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
        active[group.choose(CLIENT, &mut Tried::default(), 0).unwrap()] += 1;
    }
    assert_eq!(active, [2, 4]);

    group.release(0, Outcome::Served, 0);
    group.release(0, Outcome::Served, 0);
    assert_eq!(group.choose(CLIENT, &mut Tried::default(), 0), Some(0));
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
