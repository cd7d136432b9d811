//! A download through an L4 service that lasts longer than the node that began it: the same bytes,
//! over the same connection.

use std::{net::SocketAddrV4, time::Duration};

use hafw_lab::{
    Lab, Station, VIP_WWW,
    peers::{SERVICE_PORT, Slow, SlowPage, Timing},
    probe::Download,
    wait_until,
};

use crate::pair::{PATIENCE, Pair, dsr_service};

const TO: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, SERVICE_PORT);
/// Eight seconds: beyond the five that a dead controller's XDP goes on steering.
const FILE: SlowPage = SlowPage {
    delay: Duration::ZERO,
    length: 8_000_000,
    rate: 1_000_000,
};

fn start(purpose: &str) -> (Pair, [Slow; 3]) {
    let lab = Lab::new(purpose).unwrap();
    let servers = Station::BACKENDS.map(|web| {
        lab[web].accept_vip(VIP_WWW).unwrap();
        Slow::start(&lab[web], VIP_WWW, SERVICE_PORT).unwrap()
    });
    let service = dsr_service("tcp", VIP_WWW, SERVICE_PORT, "");
    (Pair::start(lab, Timing::V3Tenth, &service), servers)
}

/// Starts the download and waits until it is well under way.
fn begin(pair: &Pair) -> Download {
    let download = Download::start(&pair.lab[Station::Client], TO, &FILE.path()).unwrap();
    wait_for(&download, FILE.length / 10);
    download
}

fn wait_for(download: &Download, bytes: usize) {
    wait_until(PATIENCE, "the download to go on", || {
        match download.received() {
            received if received >= bytes => Ok(()),
            received => Err(format!("{received} of {bytes} bytes")),
        }
    })
    .unwrap();
}

fn assert_whole(download: Download, servers: &[Slow; 3]) {
    let body = download.finish().unwrap();

    assert_eq!(body.len(), FILE.length);
    assert!(body == FILE.body(), "other bytes than the server sent");
    let asked: usize = servers.iter().map(Slow::asked).sum();
    assert_eq!(asked, 1, "more than one connection");
}

/// Frames that a node has steered to backends.
fn steered(pair: &Pair, node: usize) -> u64 {
    let status = pair.nodes[node].status().unwrap();
    let backends = status.services.iter().flat_map(|service| &service.backends);
    backends.map(|backend| backend.packets).sum()
}

#[test]
#[ignore = "requires root"]
fn a_download_outlives_the_processes_of_the_active() {
    let (mut pair, servers) = start("load-kill");
    let download = begin(&pair);
    assert_eq!(steered(&pair, 1), 0, "lb02 steers already");

    pair.lab[Station::Lb01].kill_processes().unwrap();
    pair.wait(1, "active");
    let so_far = download.received();
    assert!(so_far < FILE.length / 2, "too fast: {so_far} bytes");

    assert_whole(download, &servers);
    assert!(steered(&pair, 1) > 100, "lb02 took no part");
}

#[test]
#[ignore = "requires root"]
fn a_download_outlives_the_node_of_the_active() {
    let (mut pair, servers) = start("load-cut");
    let download = begin(&pair);
    assert_eq!(steered(&pair, 1), 0, "lb02 steers already");

    pair.lab.cut(Station::Lb01).unwrap();
    pair.wait(1, "active");

    assert_whole(download, &servers);
    assert!(steered(&pair, 1) > 100, "lb02 took no part");
}
