//! Requests under way through the proxy of a node that steps down in order: neighbours send their
//! segments to the new Active, which hands them to the peer in its grace.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use hafw_lab::{
    Lab, Signal, Station, VIP_WWW,
    peers::{Slow, SlowPage, Timing},
    probe::Download,
    wait_until,
};

use crate::pair::{PATIENCE, Pair};

const SITE: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, 80);
/// Nothing is heard of it for longer than a stop waits for silence.
const LATE: SlowPage = SlowPage {
    delay: Duration::from_secs(4),
    length: 200_000,
    rate: 200_000,
};
/// Begins at once, and takes five seconds.
const LONG: SlowPage = SlowPage {
    delay: Duration::ZERO,
    length: 1_500_000,
    rate: 300_000,
};
const REQUESTS: usize = 20;

fn start(purpose: &str) -> (Pair, Slow) {
    let lab = Lab::new(purpose).unwrap();
    let web = &lab[Station::Web01];
    let slow = Slow::start(web, Ipv4Addr::UNSPECIFIED, 80).unwrap();
    let site = format!(
        r#"
[[upstream]]
name = "slow"
server = [{{ address = "{}:80" }}]

[[server]]
listen = ["{SITE}"]
hosts = ["{VIP_WWW}"]
default = true
[[server.route]]
upstream = "slow"

[proxy]
workers = 1
"#,
        Station::Web01.address()
    );
    (Pair::start(lab, Timing::V3Tenth, &site), slow)
}

/// Starts requests for these pages in turn and waits until all of them are under way.
fn ask(pair: &Pair, slow: &Slow, pages: &[SlowPage]) -> Vec<(SlowPage, Download)> {
    let client = &pair.lab[Station::Client];
    let pages = pages.iter().copied().cycle().take(REQUESTS);
    let start = |page: SlowPage| {
        let download = Download::start(client, SITE, &page.path()).unwrap();
        (page, download)
    };
    let under_way: Vec<_> = pages.map(start).collect();
    wait_until(PATIENCE, "all requests to be under way", || {
        let begun =
            |(page, one): &(SlowPage, Download)| one.received() > 0 || !page.delay.is_zero();
        let begun = under_way.iter().filter(|one| begun(one)).count();
        match slow.asked() {
            REQUESTS if begun == REQUESTS => Ok(()),
            asked => Err(format!("{asked} asked, {begun} begun")),
        }
    })
    .unwrap();
    under_way
}

/// Waits until the client sends what is for the VIP to a node.
fn wait_for_neighbour(pair: &Pair, node: Station) {
    let mac = node.mac_text();
    wait_until(PATIENCE, "the client to know the new Active", || {
        let vip = VIP_WWW.to_string();
        let args = ["neigh", "show", &vip];
        let entry = pair.lab[Station::Client].output("ip", &args);
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.contains(&mac) {
            Ok(())
        } else {
            Err(entry)
        }
    })
    .unwrap();
}

fn assert_all_end_well(under_way: Vec<(SlowPage, Download)>) {
    let unfinished = under_way.iter().filter(|(page, download)| {
        // The head is short; what is to come is more.
        download.received() < page.length
    });
    assert_eq!(unfinished.count(), REQUESTS, "some had ended before");
    let outcomes: Vec<_> = under_way
        .into_iter()
        .map(|(page, download)| match download.finish() {
            Ok(body) if body == page.body() => "whole".to_owned(),
            Ok(body) => format!("{}: {} bytes of another", page.path(), body.len()),
            Err(error) => format!("{}: {error}", page.path()),
        })
        .collect();
    let whole = vec!["whole"; REQUESTS];
    assert_eq!(outcomes, whole);
}

/// That the new Active really handed segments on.
fn assert_handed_on(pair: &Pair, node: usize) {
    let status = pair.nodes[node].status().unwrap();
    let handed = status.json["counters"]["tx_handoff"].as_u64();
    // Each long answer alone takes hundreds of acknowledgements.
    assert!(handed > Some(100), "handed on: {handed:?}");
}

#[test]
#[ignore = "requires root"]
fn requests_under_way_survive_a_graceful_stop() {
    let (mut pair, slow) = start("under-stop");
    let under_way = ask(&pair, &slow, &[LATE, LONG]);

    pair.signal(0, Signal::SIGTERM);
    pair.wait(1, "active");
    wait_for_neighbour(&pair, Station::Lb02);

    assert_all_end_well(under_way);
    assert_handed_on(&pair, 1);
    let ended = pair.nodes[0].daemon.wait_for_end(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[test]
#[ignore = "requires root"]
fn a_graceful_stop_waits_for_requests_of_which_nothing_is_heard() {
    let (mut pair, slow) = start("under-late");
    let under_way = ask(&pair, &slow, &[LATE]);

    pair.signal(0, Signal::SIGTERM);
    pair.wait(1, "active");
    wait_for_neighbour(&pair, Station::Lb02);

    assert_all_end_well(under_way);
}

#[test]
#[ignore = "requires root"]
fn requests_under_way_survive_a_failback() {
    let (mut pair, slow) = start("under-back");
    pair.nodes[0].daemon.stop(PATIENCE).unwrap();
    pair.wait(1, "active");
    let under_way = ask(&pair, &slow, &[LATE, LONG]);
    wait_for_neighbour(&pair, Station::Lb02);

    pair.nodes[0].daemon.start().unwrap();
    pair.settle();
    wait_for_neighbour(&pair, Station::Lb01);

    assert_all_end_well(under_way);
    assert_handed_on(&pair, 0);
}
