//! Routers that speak to named peers instead of the group: with a real keepalived, in each version and
//! family, each as the other's backup.

use std::{net::IpAddr, time::Duration};

use hafw_lab::{
    Lab, Station, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6, pause,
    peers::{Capture, Hafw, Keepalived, Timing, hafw_config},
};

use crate::pair::{PATIENCE, wait_for_address};

/// What both daemons speak.
#[derive(Clone, Copy)]
enum Speech {
    /// Version 2 with a password, each second.
    V2,
    /// Version 3 over IPv4.
    V3,
    /// Version 3 over IPv6, between these hosts' global addresses.
    V6,
    /// The same between link-local ones.
    V6Near,
}

impl Speech {
    fn address(self, lab: &Lab, node: usize) -> IpAddr {
        let station = Station::NODES[node];
        match self {
            Self::V2 | Self::V3 => station.address().into(),
            Self::V6 => station.address_v6().into(),
            Self::V6Near => {
                let text = lab[station]
                    .output("ip", &["-6", "-o", "address", "show", "dev", "eth0"])
                    .unwrap();
                let mut words = text.split_whitespace();
                let vip = format!("{VIP_LINK_LOCAL}/");
                let own = words.find(|word| word.starts_with("fe80::") && !word.starts_with(&vip));
                let own = own.unwrap();
                let (address, _) = own.split_once('/').unwrap();
                address.parse().unwrap()
            }
        }
    }

    fn vips(self) -> Vec<String> {
        match self {
            Self::V2 | Self::V3 => vec![format!("{VIP_WWW}/24")],
            Self::V6 | Self::V6Near => {
                vec![format!("{VIP_LINK_LOCAL}/64"), format!("{VIP_WWW_V6}/64")]
            }
        }
    }

    /// The last VIP, as `ip address` shows it.
    fn shown(self) -> String {
        self.vips().pop().unwrap()
    }

    const fn timing(self) -> Timing {
        match self {
            Self::V2 => Timing::V2Second,
            Self::V3 | Self::V6 | Self::V6Near => Timing::V3Tenth,
        }
    }
}

const PRIORITIES: [u8; 2] = [150, 100];

fn lab(purpose: &str) -> Lab {
    let lab = Lab::new(purpose).unwrap();
    lab.enable_ipv6().unwrap();
    lab
}

fn hafw(lab: &Lab, node: usize, speech: Speech) -> Hafw {
    let host = &lab[Station::NODES[node]];
    let (version, password) = match speech {
        Speech::V2 => (
            2,
            "authentication = { type = \"pass\", password = \"1111\" }\n",
        ),
        Speech::V3 | Speech::V6 | Speech::V6Near => (3, ""),
    };
    let router = format!(
        "\n[[virtual_router]]\nname = \"oldboy\"\ninterface = \"eth0\"\nvrid = 51\n\
         version = {version}\npriority = {}\n{password}vips = {:?}\n\
         unicast_peers = [\"{}\"]\n",
        PRIORITIES[node],
        speech.vips(),
        speech.address(lab, 1 - node),
    );
    Hafw::start(host, &hafw_config(host, &[], &router)).unwrap()
}

fn keepalived(lab: &Lab, node: usize, speech: Speech) -> Keepalived {
    let global = match speech {
        Speech::V2 => "",
        Speech::V3 | Speech::V6 | Speech::V6Near => "global_defs {\n vrrp_version 3\n}\n",
    };
    let more = match speech {
        Speech::V2 => "advert_int 1\n authentication {\n auth_type PASS\n auth_pass 1111\n }",
        Speech::V3 => "advert_int 0.1",
        Speech::V6 | Speech::V6Near => "advert_int 0.1\n native_ipv6",
    };
    let text = format!(
        "{global}vrrp_instance oldboy {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 51\n priority {}\n {more}\n unicast_src_ip {}\n unicast_peer {{\n \
         {}\n }}\n virtual_ipaddress {{\n {}\n }}\n}}\n",
        PRIORITIES[node],
        speech.address(lab, node),
        speech.address(lab, 1 - node),
        speech.vips().join("\n "),
    );
    let mut peer = Keepalived::with_config(&lab[Station::NODES[node]], &text).unwrap();
    peer.daemon.start().unwrap();
    peer
}

fn wait_for_keepalived(lab: &Lab, node: usize, speech: Speech, owns: bool) {
    wait_for_address(&lab[Station::NODES[node]], &speech.shown(), owns);
}

fn keepalived_stands_by_for_hafw(speech: Speech) {
    let lab = lab("unibefore");
    let mut ours = hafw(&lab, 0, speech);
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let capture = Capture::start(&lab[Station::Observer], "proto 112").unwrap();
    let _peer = keepalived(&lab, 1, speech);

    pause(speech.timing().active_down_interval(100) * 3).unwrap();
    wait_for_keepalived(&lab, 1, speech, false);
    ours.daemon.stop(PATIENCE).unwrap();
    wait_for_keepalived(&lab, 1, speech, true);
    ours.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    wait_for_keepalived(&lab, 1, speech, false);

    let lines = capture.stop().unwrap().join("\n");
    assert!(
        !lines.contains("224.0.0.18") && !lines.contains("ff02::12"),
        "{lines}"
    );
}

fn hafw_stands_by_for_keepalived(speech: Speech) {
    let lab = lab("unibehind");
    let mut peer = keepalived(&lab, 0, speech);
    wait_for_keepalived(&lab, 0, speech, true);
    let mut ours = hafw(&lab, 1, speech);
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();
    pause(speech.timing().active_down_interval(100) * 3).unwrap();
    ours.wait_for_router("oldboy", "backup", Duration::from_secs(1))
        .unwrap();

    peer.daemon.stop(PATIENCE).unwrap();
    ours.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    peer.daemon.start().unwrap();
    ours.wait_for_router("oldboy", "backup", PATIENCE).unwrap();
    wait_for_keepalived(&lab, 0, speech, true);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_by_unicast() {
    keepalived_stands_by_for_hafw(Speech::V3);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_by_unicast() {
    hafw_stands_by_for_keepalived(Speech::V3);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_by_unicast_in_version_2() {
    keepalived_stands_by_for_hafw(Speech::V2);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_by_unicast_in_version_2() {
    hafw_stands_by_for_keepalived(Speech::V2);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_by_unicast_over_ipv6() {
    keepalived_stands_by_for_hafw(Speech::V6);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_by_unicast_over_ipv6() {
    hafw_stands_by_for_keepalived(Speech::V6);
}

#[test]
#[ignore = "requires root"]
fn hafw_and_keepalived_speak_by_unicast_between_link_local_addresses() {
    hafw_stands_by_for_keepalived(Speech::V6Near);
}
