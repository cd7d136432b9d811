//! Many routers, and routers with many VIPs.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use hafw_lab::{
    Lab, Scope, Signal, Station, pause,
    peers::{Hafw, Timing, hafw_config},
    probe::Observer,
};

use crate::pair::PATIENCE;

const ROUTERS: usize = 255;
const PRIORITIES: [u8; 2] = [150, 100];

/// Room for more VIPs than a /24 has.
fn lab(purpose: &str) -> Lab {
    let lab = Lab::new(purpose).unwrap();
    for station in [Station::Lb01, Station::Lb02, Station::Observer] {
        let [.., last] = station.address().octets();
        let address = format!("10.1.0.{last}/16");
        let args = ["address", "add", &address, "dev", "eth0"];
        lab[station].output("ip", &args).unwrap();
    }
    lab
}

fn vip(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(256 + number).unwrap().to_be_bytes();
    Ipv4Addr::new(10, 1, high, low)
}

/// Waits until all routers of a node are in a state.
fn wait_for_all(node: &mut Hafw, state: &str) {
    node.wait_for(format!("all to be {state}"), PATIENCE, |status| {
        let others = status.routers.iter().filter(|r| r.state != state);
        match others.count() {
            0 => Ok(()),
            count => Err(format!("{count} are not")),
        }
    })
    .unwrap();
}

#[test]
#[ignore = "requires root"]
fn as_many_routers_as_there_are_vrids_elect_in_a_pair() {
    let lab = lab("many");
    let mut nodes = [0, 1].map(|node| {
        let host = &lab[Station::NODES[node]];
        let mut routers = String::new();
        for vrid in 1..=ROUTERS {
            let _ = write!(
                routers,
                "\n[[virtual_router]]\nname = \"r{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\n\
                 priority = {}\nadvertisement_interval = \"1s\"\nvips = [\"{}/16\"]\n",
                PRIORITIES[node],
                vip(vrid)
            );
        }
        Hafw::start(host, &hafw_config(host, &[], &routers)).unwrap()
    });
    wait_for_all(&mut nodes[0], "active");
    wait_for_all(&mut nodes[1], "backup");
    let begin = Instant::now();
    let status = nodes[0].status().unwrap();
    let took = begin.elapsed();
    assert_eq!(status.routers.len(), ROUTERS);
    assert!(took < Duration::from_secs(2), "status took {took:?}");

    let vips = [vip(1), vip(128), vip(255)];
    let observer = Observer::start(&lab[Station::Observer], &vips).unwrap();
    nodes[0]
        .daemon
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();
    wait_for_all(&mut nodes[1], "active");
    pause(Duration::from_millis(500)).unwrap();

    let seen = observer.stop().unwrap();
    for vip in vips {
        assert_eq!(seen.two_owners(vip), Duration::ZERO, "{vip}");
        assert!(seen.announcements_by(vip, Station::Lb02) > 0, "{vip}");
        assert!(seen.replies_by(vip, Station::Lb02) > 0, "{vip}");
    }
}

#[test]
#[ignore = "requires root"]
fn a_router_with_the_most_vips_moves_whole_and_its_adverts_must_fit_the_mtu() {
    let lab = lab("vips");
    let vips: Vec<_> = (1..=255)
        .map(|number| format!("{}/16", vip(number)))
        .collect();
    let mut nodes = [0, 1].map(|node| {
        let host = &lab[Station::NODES[node]];
        let router = format!(
            "\n[[virtual_router]]\nname = \"all\"\ninterface = \"eth0\"\nvrid = 7\n\
             priority = {}\nadvertisement_interval = \"{:?}\"\nvips = {vips:?}\n",
            PRIORITIES[node],
            Timing::V3Tenth.interval(),
        );
        Hafw::start(host, &hafw_config(host, &[], &router)).unwrap()
    });
    nodes[0].wait_for_router("all", "active", PATIENCE).unwrap();
    nodes[1].wait_for_router("all", "backup", PATIENCE).unwrap();
    let asked = [vip(1), vip(64), vip(65), vip(255)];
    let observer = Observer::start(&lab[Station::Observer], &asked).unwrap();

    // An advert has 20 + 8 + 4 * 255 bytes.
    let set_mtu = |mtu: &str| {
        lab[Station::Lb01]
            .output("ip", &["link", "set", "eth0", "mtu", mtu])
            .unwrap();
    };
    set_mtu("1047");
    nodes[0]
        .wait_for("a fault for the MTU", PATIENCE, |status| {
            let reasons = &status.routers[0].reasons;
            let told = reasons
                .iter()
                .any(|reason| reason.contains("MTU of eth0 is 1047"));
            if told && status.routers[0].state == "fault" {
                Ok(())
            } else {
                Err(format!("{reasons:?}"))
            }
        })
        .unwrap();
    nodes[1].wait_for_router("all", "active", PATIENCE).unwrap();
    set_mtu("1048");
    nodes[0].wait_for_router("all", "active", PATIENCE).unwrap();
    nodes[1].wait_for_router("all", "backup", PATIENCE).unwrap();
    pause(Duration::from_millis(500)).unwrap();

    let seen = observer.stop().unwrap();
    for vip in asked {
        assert_eq!(seen.two_owners(vip), Duration::ZERO, "{vip}");
        for node in Station::NODES {
            assert!(seen.announcements_by(vip, node) > 0, "{vip} {node}");
            assert!(seen.replies_by(vip, node) > 0, "{vip} {node}");
        }
    }
}
