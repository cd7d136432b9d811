//! What is planned costs nothing: a stop and the return after it, under load.

use std::{net::SocketAddrV4, time::Duration};

use hafw_lab::{
    Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Timing},
    probe::{TcpProbe, UdpProbe},
};

use crate::{failover, pair::PATIENCE};

const TO: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
/// Each sends a datagram a millisecond, where the machine keeps up.
const UDP_FLOWS: usize = 10;
/// Each sends a message a millisecond at most: the next when the last was answered.
const TCP_FLOWS: usize = 10;

#[test]
#[ignore = "requires root"]
fn a_stop_and_a_return_lose_and_double_nothing_under_load() {
    let (mut pair, _echoes) = failover::start("load", Timing::V3Tenth);
    let client = &pair.lab[Station::Client];
    let every = Duration::from_millis(1);
    let datagrams = [(); UDP_FLOWS].map(|()| UdpProbe::start(client, TO, every).unwrap());
    let talks = TcpProbe::start(client, TO, TCP_FLOWS, every).unwrap();
    pause(Duration::from_millis(500)).unwrap();

    pair.nodes[0].daemon.stop(PATIENCE).unwrap();
    pair.wait(1, "active");
    pause(Duration::from_millis(500)).unwrap();
    pair.nodes[0].daemon.start().unwrap();
    pair.settle();
    pause(Duration::from_secs(1)).unwrap();

    for report in datagrams.map(|probe| probe.stop().unwrap()) {
        assert!(report.samples.len() > 1_000, "hardly asked");
        assert_eq!(report.lost(), 0, "gaps: {:?}", report.gaps());
        assert_eq!(report.duplicated(), 0);
        assert_eq!(report.shares().len(), 1, "{:?}", report.shares());
    }
    let talks = talks.stop().unwrap();
    assert_eq!(talks.len(), TCP_FLOWS);
    for report in talks {
        assert!(report.samples.len() > 1_000, "a connection stood still");
        assert!(report.errors().is_empty(), "{:?}", report.errors());
        assert_eq!(report.shares().len(), 1, "{:?}", report.shares());
    }
    for station in Station::ALL {
        assert_eq!(pair.lab[station].retransmitted().unwrap(), 0, "{station}");
    }
}
