//! Split brain: what tells it from a dead peer, and who yields.

use std::time::{Duration, Instant};

use hafw_lab::{
    Lab, Scope, Signal, Station,
    peers::{Hafw, NodeState, Router, Timing, hafw_config},
};

use crate::pair::{PATIENCE, Pair};

const TIMING: Timing = Timing::V3Tenth;
/// Who answers as the gateway would.
const WITNESS: Station = Station::Client;

/// Starts both nodes with a channel over a cable of its own; `keys` are further keys of the router.
fn start(name: &str, keys: &str) -> Pair {
    start_with(name, TIMING, keys)
}

pub(crate) fn start_with(name: &str, timing: Timing, keys: &str) -> Pair {
    let lab = Lab::new(name).unwrap();
    let addresses = lab.link_nodes().unwrap();
    let key = "5a".repeat(32);
    let nodes = [0, 1].map(|own| {
        let (station, other) = (Station::NODES[own], Station::NODES[1 - own]);
        let rest = format!(
            "{keys}\n[cluster]\nlisten = \"{}:9108\"\nkey = \"{key}\"\n\
             peers = [{{ id = \"{}\", address = \"{}:9108\" }}]\n",
            addresses[own],
            other.name(),
            addresses[1 - own]
        );
        let config = hafw_config(&lab[station], &[Router::oldboy(station, timing)], &rest);
        Hafw::start(&lab[station], &config).unwrap()
    });
    let mut pair = Pair { lab, nodes };
    pair.settle();
    pair.wait_for("the other to be heard", |status| {
        let peer = &status.json["cluster"][0];
        let good = peer["heard"] == true && peer["sending"] == true;
        good.then_some(()).ok_or_else(|| peer.to_string())
    });
    pair
}

/// With a witness; waits until it answers both.
fn start_with_witness(name: &str, keys: &str) -> Pair {
    let witness = WITNESS.address();
    let mut pair = start(name, &format!("witness = [\"{witness}\"]\n{keys}"));
    pair.wait_for("the witness to answer", |status| {
        let witness = &status.json["routers"][0]["witness"];
        (*witness == true)
            .then_some(())
            .ok_or_else(|| witness.to_string())
    });
    pair
}

fn evidence(status: &NodeState) -> Vec<String> {
    let found = status.json["routers"][0]["evidence"].as_array().unwrap();
    let kind = |found: &serde_json::Value| found["kind"].as_str().unwrap().to_owned();
    found.iter().map(kind).collect()
}

/// Waits until a node has found this, and nothing else.
fn wait_for_evidence(pair: &mut Pair, node: usize, expected: &[&str]) {
    let what = format!("evidence {expected:?}");
    let waited = pair.nodes[node].wait_for(what, PATIENCE, |status| {
        let found = evidence(status);
        (found == expected)
            .then_some(())
            .ok_or_else(|| format!("{found:?}"))
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", pair.logs()));
}

fn transitions(pair: &Pair) -> Vec<u64> {
    let of = |node: &Hafw| {
        let status = node.status().unwrap();
        status.json["routers"][0]["transitions"].as_u64().unwrap()
    };
    pair.nodes.iter().map(of).collect()
}

#[test]
#[ignore = "requires root"]
fn a_split_brain_is_told_from_a_dead_peer_and_cleared_when_healed() {
    let mut pair = start("split", "");
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &[]);
    }
    pair.lab.part(Station::Lb01, Station::Lb02).unwrap();
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &["both_active"]);
        assert_eq!(
            pair.nodes[node].status().unwrap().routers[0].state,
            "active"
        );
    }
    assert!(
        pair.nodes[0]
            .ask(&["status"])
            .unwrap()
            .contains("split brain: lb02")
    );
    pair.lab.heal().unwrap();
    pair.settle();
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &[]);
    }
    let log = pair.nodes[0].daemon.log_tail();
    assert!(log.contains("no longer: split brain: lb02"), "{log}");

    let daemon = &mut pair.nodes[0].daemon;
    daemon.signal(Scope::Process, Signal::SIGKILL).unwrap();
    pair.wait(1, "active");
    wait_for_evidence(&mut pair, 1, &["peer_down"]);
}

#[test]
#[ignore = "requires root"]
fn the_isolated_node_yields_and_returns_and_a_dead_witness_moves_nothing() {
    let mut pair = start_with_witness("isolated", "split_brain = \"yield\"");
    pair.lab.cut(Station::Lb01).unwrap();
    pair.wait(0, "fault");
    pair.wait(1, "active");
    wait_for_evidence(&mut pair, 0, &["isolated"]);
    pair.lab.heal().unwrap();
    pair.settle();
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &[]);
    }

    let before = transitions(&pair);
    pair.lab.cut(WITNESS).unwrap();
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &["witness_down"]);
    }
    assert_eq!(transitions(&pair), before, "{}", pair.logs());
    pair.lab.heal().unwrap();
    for node in 0..2 {
        wait_for_evidence(&mut pair, node, &[]);
    }
    assert_eq!(transitions(&pair), before, "{}", pair.logs());
}

#[test]
#[ignore = "requires root"]
fn an_active_that_nothing_reaches_gives_its_vips_up_within_its_time() {
    let deaf_after = Duration::from_secs(2);
    let mut pair = start_with_witness("deaf", "deaf_after = \"2s\"");
    let (from, before) = (Instant::now(), transitions(&pair));
    pair.lab.deafen(Station::Lb01).unwrap();
    pair.wait(1, "active");
    let took = from.elapsed();
    assert!(took > deaf_after, "{took:?}\n{}", pair.logs());
    // What a loaded machine adds to a look, a command and the question of the test.
    let slack = Duration::from_secs(3);
    let bound = deaf_after + TIMING.active_down_interval(100) + slack;
    assert!(took < bound, "{took:?}\n{}", pair.logs());
    pair.wait(0, "fault");
    let found = evidence(&pair.nodes[0].status().unwrap());
    assert_eq!(found, ["deaf"]);
    pair.lab.heal().unwrap();
    pair.settle();
    let moves: Vec<_> = transitions(&pair)
        .iter()
        .zip(before)
        .map(|(a, b)| a - b)
        .collect();
    // To fault, to Backup and to Active again; there and back.
    assert_eq!(moves, [3, 2], "{}", pair.logs());
}

#[test]
#[ignore = "requires root"]
fn a_firewall_that_drops_adverts_is_named_and_nothing_moves() {
    let mut pair = start("firewalled", "");
    let before = transitions(&pair);
    for station in Station::NODES {
        pair.lab[station].drop_input("meta l4proto 112").unwrap();
    }
    wait_for_evidence(&mut pair, 1, &["firewall"]);
    assert_eq!(transitions(&pair), before, "{}", pair.logs());
    for station in Station::NODES {
        pair.lab[station].open_firewall().unwrap();
    }
    wait_for_evidence(&mut pair, 1, &[]);
    assert_eq!(transitions(&pair), before, "{}", pair.logs());
}
