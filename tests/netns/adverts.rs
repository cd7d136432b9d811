//! Adverts that are none, on the wire of a running node: each is counted for its reason and changes
//! nothing. The same mistakes one by one, without a node, are cases of the packet path.

use std::collections::BTreeMap;

use hafw_ebpf::fixtures::frames::{Advert, Checksum, Ip};
use hafw_lab::{
    Lab, Station, VIP_BBS, VIP_WWW,
    peers::{Hafw, NodeState, Router, Timing, hafw_config},
    probe::Observer,
    wait_until,
};
use hafw_tests::PacketSocket;
use proptest::{
    prelude::{Strategy as _, any, prop},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};

use crate::pair::PATIENCE;

const SENDER: Station = Station::Lb02;
const GROUP_MAC: [u8; 6] = [1, 0, 0x5e, 0, 0, 18];

/// A node that is alone on its wire, Active for one router of each version, and who sends to it.
struct Wire {
    node: Hafw,
    sender: PacketSocket,
    observer: Observer,
    // Last: what it holds goes after those who use it.
    _lab: Lab,
}

impl Wire {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let routers = [
            Router::oldboy(Station::Lb01, Timing::V2Second),
            Router::oldgirl(Station::Lb01, Timing::V3Tenth),
        ];
        let host = &lab[Station::Lb01];
        let config = hafw_config(host, &routers, "");
        let mut node = Hafw::start(host, &config).unwrap();
        for router in ["oldboy", "oldgirl"] {
            node.wait_for_router(router, "active", PATIENCE).unwrap();
        }
        let sender = lab[SENDER]
            .namespace()
            .run(|| PacketSocket::open("eth0"))
            .unwrap();
        let observer = Observer::start(&lab[Station::Observer], &[VIP_WWW, VIP_BBS]).unwrap();
        Self {
            node,
            sender,
            observer,
            _lab: lab,
        }
    }

    /// What XDP counted of adverts, by reason.
    fn adverts(&self) -> BTreeMap<String, u64> {
        let status = self.node.status().unwrap();
        let counters = status.json["counters"].as_object().unwrap();
        let adverts = counters
            .iter()
            .filter(|(name, _)| name.starts_with("advert_"));
        adverts
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect()
    }

    /// Waits until so many adverts more than `before` were counted, and returns by which reasons.
    fn counted(
        &self,
        before: &BTreeMap<String, u64>,
        adverts: u64,
        what: &str,
    ) -> BTreeMap<String, u64> {
        wait_until(PATIENCE, format!("{what} to be counted"), || {
            let mut now = self.adverts();
            for (name, count) in &mut now {
                *count -= before.get(name).copied().unwrap_or(0);
            }
            now.retain(|_, count| *count > 0);
            let sum: u64 = now.values().sum();
            if sum == adverts {
                Ok(now)
            } else {
                Err(format!("{now:?}"))
            }
        })
        .unwrap()
    }
}

/// State, transitions and known peers of every router.
fn standing(state: &NodeState) -> Vec<(String, u64, usize)> {
    let routers = state.json["routers"].as_array().unwrap();
    let one = |router: &serde_json::Value| {
        (
            router["state"].as_str().unwrap().to_owned(),
            router["transitions"].as_u64().unwrap(),
            router["peers"].as_array().unwrap().len(),
        )
    };
    routers.iter().map(one).collect()
}

/// A valid advert of a router that wins against every other.
fn winning(router: &Router) -> Advert {
    let v2 = router.timing.version() == 2;
    Advert {
        source: SENDER.address().octets(),
        mac: SENDER.mac(),
        version: router.timing.version(),
        kind: 1,
        vrid: router.vrid,
        priority: 254,
        addresses: vec![router.vip.octets()],
        interval: if v2 { [1, 1] } else { [0, 10] },
        auth_data: if v2 { *b"1111\0\0\0\0" } else { [0; 8] },
        checksum: Checksum::PseudoHeader,
    }
}

fn v2() -> Advert {
    winning(&Router::oldboy(SENDER, Timing::V2Second))
}

fn v3() -> Advert {
    winning(&Router::oldgirl(SENDER, Timing::V3Tenth))
}

/// Mistakes with the counter that names each. A wrong IP header is not among them: the switch's
/// multicast snooping would drop it.
fn mistakes() -> Vec<(&'static str, Vec<u8>)> {
    let framed = |ip: Ip| ip.frame(GROUP_MAC, SENDER.mac());
    let ip = |change: fn(&mut Ip)| {
        let mut ip = v3().ip();
        change(&mut ip);
        framed(ip)
    };
    let flipped = |advert: Advert, at: usize| {
        let mut frame = advert.frame();
        frame[at] ^= 1;
        frame
    };
    vec![
        ("advert_bad_ttl", ip(|ip| ip.ttl = 254)),
        (
            "advert_bad_ttl",
            framed(Ip {
                ttl: 1,
                ..v2().ip()
            }),
        ),
        ("advert_fragment", ip(|ip| ip.fragment = 0x2000)),
        ("advert_bad_checksum", flipped(v2(), 34 + 6)),
        ("advert_bad_checksum", flipped(v3(), 34 + 9)),
        ("advert_bad_version", Advert { vrid: 51, ..v3() }.frame()),
        ("advert_bad_version", Advert { vrid: 52, ..v2() }.frame()),
        ("advert_bad_version", Advert { version: 4, ..v3() }.frame()),
        ("advert_bad_type", Advert { kind: 2, ..v3() }.frame()),
        (
            "advert_bad_auth",
            Advert {
                auth_data: *b"2222\0\0\0\0",
                ..v2()
            }
            .frame(),
        ),
        (
            "advert_bad_auth",
            Advert {
                interval: [0, 1],
                ..v2()
            }
            .frame(),
        ),
        (
            "advert_bad_auth",
            Advert {
                interval: [2, 1],
                ..v2()
            }
            .frame(),
        ),
        (
            "advert_bad_interval",
            Advert {
                interval: [1, 2],
                ..v2()
            }
            .frame(),
        ),
        (
            "advert_bad_interval",
            Advert {
                interval: [0, 0],
                ..v3()
            }
            .frame(),
        ),
        (
            "advert_no_address",
            Advert {
                addresses: vec![],
                ..v3()
            }
            .frame(),
        ),
        ("advert_foreign_vrid", Advert { vrid: 99, ..v3() }.frame()),
        ("advert_bad_length", ip(|ip| ip.payload.truncate(11))),
        ("advert_bad_length", ip(|ip| ip.payload.truncate(7))),
        ("advert_bad_length", ip(|ip| ip.payload.clear())),
        ("advert_bad_length", {
            let mut short = v2().ip();
            short.payload.truncate(12);
            framed(short)
        }),
    ]
}

#[test]
#[ignore = "requires root"]
fn adverts_with_a_mistake_are_counted_by_reason_and_change_nothing() {
    let wire = Wire::new("crafted");
    let before = standing(&wire.node.status().unwrap());

    for (number, (counter, frame)) in mistakes().into_iter().enumerate() {
        let counts = wire.adverts();
        wire.sender.send(&frame).unwrap();
        let counted = wire.counted(&counts, 1, &format!("mistake {number}, {counter},"));
        assert_eq!(counted, BTreeMap::from([(counter.to_owned(), 1)]));
    }

    assert_eq!(standing(&wire.node.status().unwrap()), before);
    let seen = wire.observer.stop().unwrap();
    assert_eq!(seen.tenures(VIP_WWW).len(), 1, "the owner never changed");
    assert_eq!(seen.tenures(VIP_BBS).len(), 1, "the owner never changed");
}

#[test]
#[ignore = "requires root"]
fn random_vrrp_packets_change_nothing() {
    const PACKETS: u64 = 5_000;
    let wire = Wire::new("noise");
    let before = standing(&wire.node.status().unwrap());
    let counts = wire.adverts();
    // Always the same ones. Half of them are adverts with one wrong bit, half are no adverts at all.
    let noise = (
        any::<bool>().prop_map(|version_2| if version_2 { v2() } else { v3() }.ip()),
        any::<Option<(prop::sample::Index, u8)>>(),
        prop::collection::vec(any::<u8>(), 0..200),
    );
    let mut runner = TestRunner::deterministic();

    for _ in 0..PACKETS {
        let (mut ip, flip, bytes) = noise.new_tree(&mut runner).unwrap().current();
        match flip {
            Some((at, bit)) => *at.get_mut(&mut ip.payload) ^= 1 << (bit % 8),
            None => ip.payload = bytes,
        }
        wire.sender
            .send(&ip.frame(GROUP_MAC, SENDER.mac()))
            .unwrap();
    }

    let counted = wire.counted(&counts, PACKETS, "noise");
    assert!(counted.len() >= 5, "not much of a variety: {counted:?}");
    assert_eq!(counted.get("advert_valid"), None);
    assert_eq!(standing(&wire.node.status().unwrap()), before);
}

#[test]
#[ignore = "requires root"]
fn without_its_mistake_the_same_advert_takes_the_vip_away() {
    let mut wire = Wire::new("uncrafted");

    for (router, advert) in [("oldboy", v2()), ("oldgirl", v3())] {
        wire.sender.send(&advert.frame()).unwrap();
        wire.node
            .wait_for_router(router, "backup", PATIENCE)
            .unwrap();
    }

    let status = wire.node.status().unwrap();
    assert!(status.routers.iter().all(|router| !router.attracting));
}
