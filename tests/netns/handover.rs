//! `hafw handover`: the VIP goes to the peer and comes back, and nobody notices.

use std::{net::SocketAddrV4, time::Duration};

use hafw_lab::{
    Lab, Station, VIP_WWW, pause,
    peers::{Hafw, Router, Timing, WebServer, hafw_config, lesson_sites},
    probe::{HttpProbe, Observer, Request},
};

use crate::pair::PATIENCE;

fn node(lab: &Lab, station: Station) -> Hafw {
    let host = &lab[station];
    let routers = [
        Router::oldboy(station, Timing::V3Tenth),
        Router::oldgirl(station, Timing::V3Tenth),
    ];
    let config = hafw_config(host, &routers, &lesson_sites());
    Hafw::start(host, &config).unwrap()
}

/// The lesson's pair and its web servers, lb01 Active and lb02 standing by.
fn pair(lab: &Lab) -> ([WebServer; 3], [Hafw; 2]) {
    let webs = Station::BACKENDS.map(|web| WebServer::start(&lab[web]).unwrap());
    let mut nodes = Station::NODES.map(|station| node(lab, station));
    for (node, state) in nodes.iter_mut().zip(["active", "backup"]) {
        node.wait_for_router("oldboy", state, PATIENCE).unwrap();
    }
    (webs, nodes)
}

#[test]
#[ignore = "requires root"]
fn a_handover_and_its_end_are_not_noticed() {
    let lab = Lab::new("handover").unwrap();
    let (_webs, mut nodes) = pair(&lab);
    let request = Request {
        to: SocketAddrV4::new(VIP_WWW, 80),
        host: "www.oldboy.com".to_owned(),
        path: "/whoami".to_owned(),
    };
    let client =
        HttpProbe::start(&lab[Station::Client], request, Duration::from_millis(5)).unwrap();
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();

    let said = nodes[0].ask(&["handover", "oldboy"]).unwrap();
    assert!(
        said.contains("taken over by 10.0.0.6, priority 100"),
        "{said}"
    );
    nodes[1]
        .wait_for_router("oldboy", "active", PATIENCE)
        .unwrap();
    pause(Duration::from_secs(1)).unwrap();
    nodes[0].ask(&["handover", "oldboy", "--end"]).unwrap();
    nodes[0]
        .wait_for_router("oldboy", "active", PATIENCE)
        .unwrap();
    pause(Duration::from_millis(300)).unwrap();

    let seen = observer.stop().unwrap();
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
    let mut owners: Vec<_> = seen
        .tenures(VIP_WWW)
        .iter()
        .map(|tenure| tenure.mac)
        .collect();
    owners.dedup();
    let [one, two] = Station::NODES.map(Station::mac);
    assert_eq!(owners, [one, two, one]);
    let answers = client.stop().unwrap();
    assert!(answers.samples.len() > 100, "the client hardly asked");
    assert!(answers.errors().is_empty(), "{:?}", answers.errors());
}

#[test]
#[ignore = "requires root"]
fn a_neighbour_that_missed_the_announcement_reaches_the_new_owner() {
    let lab = Lab::new("stale").unwrap();
    let (_webs, mut nodes) = pair(&lab);
    let (client, vip) = (&lab[Station::Client], VIP_WWW.to_string());
    let mac = Station::Lb01.mac_text();
    let stale = [
        "neigh",
        "replace",
        &vip,
        "lladdr",
        &mac,
        "dev",
        "eth0",
        "nud",
        "permanent",
    ];
    client.output("ip", &stale).unwrap();

    nodes[0].ask(&["handover", "oldboy"]).unwrap();
    nodes[1]
        .wait_for_router("oldboy", "active", PATIENCE)
        .unwrap();

    let url = format!("http://{VIP_WWW}/whoami");
    for _ in 0..20 {
        // A SYN that were dropped would be sent again after a second.
        let args = ["-sSf", "-m", "0.9", "-H", "Host: www.oldboy.com", &url];
        let page = client.output("curl", &args).unwrap();
        assert!(page.contains("from=10.0.0.6"), "{page}");
    }
    let counters = nodes[0].status().unwrap().json["counters"].clone();
    assert!(
        counters["tx_to_owner"].as_u64().unwrap() >= 100,
        "{counters}"
    );
}

#[test]
#[ignore = "requires root"]
fn without_a_peer_a_handover_changes_nothing() {
    let lab = Lab::new("alone").unwrap();
    let mut alone = node(&lab, Station::Lb01);
    alone.wait_for_router("oldboy", "active", PATIENCE).unwrap();

    let refused = alone.ask(&["handover", "oldboy"]).unwrap_err().to_string();
    assert!(refused.contains("nobody took it over"), "{refused}");
    let unknown = alone.ask(&["handover", "oldbuoy"]).unwrap_err().to_string();
    assert!(unknown.contains("no router \"oldbuoy\""), "{unknown}");

    let status = alone.status().unwrap();
    let oldboy = status.routers.iter().find(|r| r.name == "oldboy").unwrap();
    assert!(oldboy.attracting);
    assert_eq!(oldboy.effective_priority, 1);
}
