//! Interfaces that go and come back, become another device, or are not there yet.

use std::{net::SocketAddrV4, time::Duration};

use hafw_lab::{
    Host, Lab, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Hafw, Router, Timing, hafw_config},
    probe::{Observer, Seen, UdpProbe},
    wait_until,
};

use crate::{
    failover,
    pair::{PATIENCE, Pair},
};

const TIMING: Timing = Timing::V3Tenth;

/// Waits until a node's router is in a fault for this reason.
fn wait_for_fault(node: &mut Hafw, reason: &str) {
    node.wait_for(format!("a fault: {reason}"), PATIENCE, |status| {
        let router = &status.routers[0];
        let told = router.reasons.iter().any(|told| told.contains(reason));
        if router.state == "fault" && told {
            Ok(())
        } else {
            Err(format!("{} {:?}", router.state, router.reasons))
        }
    })
    .unwrap();
}

/// Waits until the L4 service answers a client.
fn wait_for_service(lab: &Lab) {
    let to = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    wait_until(PATIENCE, "the service to answer", || {
        let client = &lab[Station::Client];
        let probe = UdpProbe::start(client, to, Duration::from_millis(5))
            .map_err(|error| error.to_string())?;
        pause(Duration::from_millis(100)).map_err(|error| error.to_string())?;
        let report = probe.stop().map_err(|error| error.to_string())?;
        let answered = report.samples.len() - report.lost();
        if answered > 0 {
            Ok(())
        } else {
            Err("no answer".to_owned())
        }
    })
    .unwrap();
}

/// The links that a node has pinned.
fn pinned_links(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.pins()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut links: Vec<_> = names.filter(|name| name.starts_with("link_")).collect();
    links.sort();
    links
}

fn ifindex(host: &Host) -> String {
    let text = host.output("cat", &["/sys/class/net/eth0/ifindex"]);
    let text = text.or_else(|_| host.output("ip", &["-o", "link", "show", "eth0"]));
    let text = text.unwrap();
    text.split(':').next().unwrap_or_default().trim().to_owned()
}

#[test]
#[ignore = "requires root"]
fn an_interface_that_is_made_anew_is_taken_again() {
    let (mut pair, _echoes) = failover::start("anew", TIMING);
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap();
    let before = pinned_links(&pair.lab[Station::Lb01]);

    pair.lab.unplug(Station::Lb01).unwrap();
    wait_for_fault(&mut pair.nodes[0], "there is no interface eth0");
    pair.wait(1, "active");
    assert_eq!(pinned_links(&pair.lab[Station::Lb01]), [""; 0]);
    pair.lab.plug_in(Station::Lb01).unwrap();
    pair.settle();
    wait_for_service(&pair.lab);
    let links = pinned_links(&pair.lab[Station::Lb01]);
    assert_eq!(links.len(), before.len());
    assert_ne!(links, before);

    // At once, so that the node may meet both changes together.
    pair.lab.unplug(Station::Lb01).unwrap();
    pair.lab.plug_in(Station::Lb01).unwrap();
    wait_until(PATIENCE, "the third device to be taken", || {
        let now = pinned_links(&pair.lab[Station::Lb01]);
        if now.len() == links.len() && now != links {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .unwrap();
    pair.settle();
    wait_for_service(&pair.lab);

    // The one that was made anew is one to fail over from.
    pair.nodes[0].daemon.stop(PATIENCE).unwrap();
    pair.wait(1, "active");
    wait_for_service(&pair.lab);
    let seen = observer.stop().unwrap();
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
    assert!(seen.replies_by(VIP_WWW, Station::Lb01) > 0);
}

#[test]
#[ignore = "requires root"]
fn a_new_device_under_the_index_of_the_old_one_is_another_all_the_same() {
    let lab = Lab::new("sameindex").unwrap();
    let host = &lab[Station::Lb01];
    let config = hafw_config(host, &[Router::oldboy(Station::Lb01, TIMING)], "");
    let mut node = Hafw::start(host, &config).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let index = ifindex(host);

    lab.unplug(Station::Lb01).unwrap();
    wait_for_fault(&mut node, "there is no interface eth0");
    lab.plug_in_as(Station::Lb01, Some(&index)).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();

    assert_eq!(ifindex(host), index);
    let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();
    let seen = observer.stop().unwrap();
    assert!(seen.replies_by(VIP_WWW, Station::Lb01) > 0);
}

#[test]
#[ignore = "requires root"]
fn an_interface_that_is_missing_at_the_start_is_waited_for() {
    let lab = Lab::new("later").unwrap();
    let host = &lab[Station::Lb01];
    lab.unplug(Station::Lb01).unwrap();
    let config = hafw_config(host, &[Router::oldboy(Station::Lb01, TIMING)], "");
    let mut node = Hafw::start(host, &config).unwrap();
    wait_for_fault(&mut node, "there is no interface eth0");
    assert_eq!(node.status().unwrap().interfaces[0].mac, "");

    lab.plug_in(Station::Lb01).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();

    // Without an address to speak from it is of no use, and with one again it is.
    let address = format!("{}/24", Station::Lb01.address());
    host.output("ip", &["address", "del", &address, "dev", "eth0"])
        .unwrap();
    wait_for_fault(&mut node, "no IPv4 address of its own");
    host.output("ip", &["address", "add", "10.0.0.55/24", "dev", "eth0"])
        .unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let capture = hafw_lab::peers::Capture::start(&lab[Station::Observer], "ip proto 112").unwrap();
    pause(TIMING.interval() * 5).unwrap();
    let lines = capture.stop().unwrap().join("\n");
    assert!(lines.contains("10.0.0.55 > 224.0.0.18"), "{lines}");
}

#[test]
#[ignore = "requires root"]
fn another_mac_is_announced_and_answered_with_at_once() {
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x55];
    let (mut pair, _echoes) = failover::start("mac", TIMING);
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap();
    pause(Duration::from_millis(300)).unwrap();
    let transitions = |pair: &Pair| {
        let status = pair.nodes[0].status().unwrap();
        status.json["routers"][0]["transitions"].clone()
    };
    let before = transitions(&pair);

    pair.lab[Station::Lb01]
        .output(
            "ip",
            &["link", "set", "eth0", "address", "02:00:00:00:00:55"],
        )
        .unwrap();
    pair.nodes[0]
        .wait_for("the new MAC", PATIENCE, |status| {
            let mac = &status.interfaces[0].mac;
            if mac == "02:00:00:00:00:55" {
                Ok(())
            } else {
                Err(mac.clone())
            }
        })
        .unwrap();
    pause(Duration::from_millis(500)).unwrap();

    wait_for_service(&pair.lab);
    let seen = observer.stop().unwrap();
    assert_eq!(transitions(&pair), before);
    let with_it = |seen: &Seen| match seen {
        Seen::Reply { mac, .. } | Seen::Announcement { mac, .. } => *mac == MAC,
        Seen::Advert { .. } => false,
    };
    let announced = seen
        .events
        .iter()
        .find(|event| with_it(&event.seen) && matches!(event.seen, Seen::Announcement { .. }));
    assert!(announced.is_some());
    let last = seen.events.iter().rev().find_map(|event| match event.seen {
        Seen::Reply { mac, .. } => Some(mac),
        Seen::Announcement { .. } | Seen::Advert { .. } => None,
    });
    assert_eq!(last, Some(MAC));
    // The proxy's and the service's frames go the new way too, and the pair still fails over.
    pair.nodes[0].daemon.stop(PATIENCE).unwrap();
    pair.wait(1, "active");
    wait_for_service(&pair.lab);
}

#[test]
#[ignore = "requires root"]
fn an_interface_that_is_set_down_gives_the_vips_up_and_takes_them_back() {
    let (mut pair, _echoes) = failover::start("down", TIMING);
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW]).unwrap();
    let set = |pair: &Pair, state: &str| {
        pair.lab[Station::Lb01]
            .output("ip", &["link", "set", "eth0", state])
            .unwrap();
    };

    set(&pair, "down");
    wait_for_fault(&mut pair.nodes[0], "its interface is down");
    pair.wait(1, "active");
    wait_for_service(&pair.lab);
    set(&pair, "up");
    pair.settle();
    wait_for_service(&pair.lab);

    let seen = observer.stop().unwrap();
    assert_eq!(seen.two_owners(VIP_WWW), Duration::ZERO);
}

#[test]
#[ignore = "requires root"]
fn a_neighbour_that_was_asked_for_without_a_carrier_is_asked_again_when_it_is_back() {
    let (mut pair, _echoes) = failover::start("askagain", TIMING);
    pair.lab.set_carrier(Station::Lb01, false).unwrap();
    pair.wait(0, "fault");
    let host = &pair.lab[Station::Lb01];
    let observer = Station::Observer.address();
    let ask = || std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", (observer, 9));
    let asked = host.namespace().run(ask).unwrap().unwrap();
    assert_eq!(asked, 1);
    let shown = || {
        let args = ["neighbour", "show", &observer.to_string(), "dev", "eth0"];
        host.output("ip", &args).unwrap()
    };
    assert!(shown().contains("INCOMPLETE"), "{}", shown());

    pair.lab.set_carrier(Station::Lb01, true).unwrap();
    wait_until(PATIENCE, "the question to be forgotten", || {
        let shown = shown();
        if shown.contains("INCOMPLETE") {
            Err(shown)
        } else {
            Ok(())
        }
    })
    .unwrap();

    // It was not the kernel's second question, a second later, that was answered.
    assert!(!shown().contains("REACHABLE"), "{}", shown());
    pair.settle();
}
