//! The standby steers by the Active's plan: connections outlive a takeover, also those in slots that
//! moved before it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use hafw_lab::{
    Lab, Signal, Station, VIP_BBS, VIP_WWW, pause,
    peers::{CrowdEcho, ECHO_PORT, Hafw, NodeState, Router, Timing, hafw_config},
    probe::Crowd,
};

use crate::pair::{PATIENCE, Pair};

/// Where the backends serve `nat`; the services' ports are `ECHO_PORT` and the one after.
const BACKEND_PORT: u16 = 9100;
const DSR_PORT: u16 = ECHO_PORT + 1;
/// 10,000 connections in all.
const CROWD: usize = 1_000;
/// For all answers of a crowd.
const ANSWERS: Duration = Duration::from_secs(15);

struct Site {
    pair: Pair,
    /// What each node dials and listens on.
    channel: [Ipv4Addr; 2],
    _echoes: Vec<CrowdEcho>,
}

impl Site {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let channel = lab.link_nodes().unwrap();
        let mut echoes = Vec::new();
        for web in Station::BACKENDS {
            let host = &lab[web];
            host.accept_vip(VIP_WWW).unwrap();
            // What `nat` connections answer goes by way of the node.
            for command in [
                format!("route add default via {VIP_BBS} table 100"),
                format!("rule add ipproto tcp sport {BACKEND_PORT} lookup 100"),
            ] {
                let words: Vec<_> = command.split(' ').collect();
                host.output("ip", &words).unwrap();
            }
            let at = [(VIP_WWW, DSR_PORT), (web.address(), BACKEND_PORT)];
            echoes.push(CrowdEcho::start(host, &at).unwrap());
        }
        let nodes = [0, 1].map(|own| {
            let host = &lab[Station::NODES[own]];
            let config = config(&lab, own, channel, &Station::BACKENDS);
            Hafw::start(host, &config).unwrap()
        });
        let mut site = Self {
            pair: Pair { lab, nodes },
            channel,
            _echoes: echoes,
        };
        site.pair.settle();
        site.wait_until_told(0);
        site
    }

    fn crowds(&self, count: usize) -> Vec<Crowd> {
        let client = &self.pair.lab[Station::Client];
        let to = |port| SocketAddrV4::new(VIP_WWW, port);
        let connect = |port| Crowd::connect(client, to(port), count).unwrap();
        [ECHO_PORT, DSR_PORT].map(connect).into()
    }

    fn set_drained(&self, node: usize, command: &str, web: Station) {
        for service in ["nat", "dsr"] {
            let backend = web.address().to_string();
            self.pair.nodes[node]
                .ask(&[command, service, &backend])
                .unwrap();
        }
    }

    /// Waits until the other node knows all that this one, the Active, has.
    fn wait_until_told(&mut self, active: usize) {
        // Two looks at the flows: what was opened before the first is told after the second.
        for _ in 0..2 {
            pause(Duration::from_secs(1)).unwrap();
            let here = flows(&self.pair.nodes[active].status().unwrap());
            self.pair.nodes[1 - active]
                .wait_for("all that the Active has to be known", PATIENCE, |status| {
                    let peer = &status.json["cluster"][0];
                    let known = peer["known"] == true && peer["followed_services"] == 2;
                    let there = flows(status);
                    let good = known && there == here;
                    good.then_some(())
                        .ok_or_else(|| format!("{there} of {here}, {peer}"))
                })
                .unwrap();
        }
    }
}

fn flows(status: &NodeState) -> u64 {
    status.json["moved_flows"].as_u64().unwrap()
}

fn config(lab: &Lab, own: usize, channel: [Ipv4Addr; 2], backends: &[Station]) -> String {
    let station = Station::NODES[own];
    let service = |mode: &str, port: u16, backend_port: u16| {
        let backends: String = backends
            .iter()
            .map(|web| {
                let address = web.address();
                format!("[[service.backend]]\naddress = \"{address}:{backend_port}\"\n")
            })
            .collect();
        format!(
            "\n[[service]]\nname = \"{mode}\"\nvip = \"{VIP_WWW}\"\nport = {port}\n\
             protocol = \"tcp\"\nmode = \"{mode}\"\nslots = 4099\n{backends}"
        )
    };
    let key = "5a".repeat(32);
    let cluster = format!(
        "\n[cluster]\nlisten = \"{}:9108\"\nkey = \"{key}\"\n\
         peers = [{{ id = \"{}\", address = \"{}:9108\" }}]\n",
        channel[own],
        Station::NODES[1 - own].name(),
        channel[1 - own]
    );
    let rest =
        service("nat", ECHO_PORT, BACKEND_PORT) + &service("dsr", DSR_PORT, DSR_PORT) + &cluster;
    let routers = [Router::oldboy(station, Timing::V3Tenth)];
    let config = hafw_config(&lab[station], &routers, &rest);
    let both = format!("vips = [\"{VIP_WWW}/24\", \"{VIP_BBS}/24\"]");
    config.replace(&format!("vips = [\"{VIP_WWW}/24\"]"), &both)
}

/// Asks over all connections: who answered each. All must answer.
fn ask(crowds: &mut [Crowd]) -> Vec<Station> {
    let answers = crowds.iter_mut().flat_map(|crowd| crowd.ask(ANSWERS));
    let answers: Vec<_> = answers.collect();
    let broken = answers.iter().filter_map(|answer| answer.as_ref().err());
    let broken: Vec<_> = broken.collect();
    assert!(
        broken.is_empty(),
        "{} of {} broke: {}",
        broken.len(),
        answers.len(),
        broken[0]
    );
    answers.into_iter().flatten().collect()
}

#[test]
#[ignore = "requires root"]
fn ten_thousand_connections_outlive_a_takeover_and_the_way_back() {
    let mut site = Site::start("takeover");
    let mut crowds = site.crowds(CROWD * 2);
    // Twice over each backend but one, so that many are in slots that have moved more than once.
    for web in [Station::Web01, Station::Web02] {
        site.set_drained(0, "drain", web);
        crowds.extend(site.crowds(CROWD));
        site.set_drained(0, "undrain", web);
    }
    site.set_drained(0, "drain", Station::Web01);
    crowds.extend(site.crowds(CROWD));
    let before = ask(&mut crowds);
    assert_eq!(before.len(), 10_000);
    assert!(before.contains(&Station::Web01));
    site.wait_until_told(0);
    let moved = flows(&site.pair.nodes[1].status().unwrap());
    assert!(moved > 500, "only {moved} connections in slots that moved");

    site.pair.signal(0, Signal::SIGKILL);
    site.pair.wait(1, "active");
    assert_eq!(ask(&mut crowds), before);
    // Beyond the time that the dead node's XDP goes on steering.
    pause(Duration::from_secs(6)).unwrap();
    assert_eq!(ask(&mut crowds), before);
    let drained = |status: &NodeState| status.json["services"][0]["backends"][0]["drained"] == true;
    assert!(drained(&site.pair.nodes[1].status().unwrap()));

    // Back, after it was told what happened meanwhile.
    site.set_drained(1, "undrain", Station::Web01);
    crowds.extend(site.crowds(CROWD / 4));
    let before = ask(&mut crowds);
    site.pair.nodes[0].daemon.wait_for_end(PATIENCE).unwrap();
    site.pair.nodes[0].daemon.start().unwrap();
    site.pair.settle();
    assert_eq!(ask(&mut crowds), before);
    pause(Duration::from_secs(6)).unwrap();
    assert_eq!(ask(&mut crowds), before);
    assert!(!drained(&site.pair.nodes[0].status().unwrap()));
}

#[test]
#[ignore = "requires root"]
fn without_the_channel_the_nodes_say_so_and_work_as_before() {
    let mut site = Site::start("apart");
    let lb02 = &site.pair.lab[Station::Lb02];
    let dev = lb02.output(
        "ip",
        &["-o", "addr", "show", "to", &site.channel[1].to_string()],
    );
    let dev = dev.unwrap().split_whitespace().nth(1).unwrap().to_owned();
    lb02.output("ip", &["link", "set", &dev, "down"]).unwrap();
    site.pair.wait_for("the channel to be missed", |status| {
        let peer = &status.json["cluster"][0];
        let told = peer["heard"] == false && peer["problem"] != "";
        told.then_some(()).ok_or_else(|| peer.to_string())
    });
    let mut crowds = site.crowds(CROWD / 10);
    let before = ask(&mut crowds);

    site.pair.signal(0, Signal::SIGKILL);
    site.pair.wait(1, "active");
    assert_eq!(ask(&mut crowds), before);
}

#[test]
#[ignore = "requires root"]
fn a_drain_reaches_the_standby_and_a_difference_is_told() {
    let mut site = Site::start("differ");
    site.set_drained(0, "drain", Station::Web02);
    site.wait_until_told(0);
    let drained = |status: &NodeState| {
        let services = status.json["services"].as_array().unwrap();
        services
            .iter()
            .all(|service| service["backends"][1]["drained"] == true)
    };
    assert!(drained(&site.pair.nodes[1].status().unwrap()));
    let web = Station::Web02.address().to_string();
    let refusal = site.pair.nodes[1]
        .ask(&["undrain", "nat", &web])
        .unwrap_err();
    assert!(refusal.to_string().contains("lb01"), "{refusal}");
    // It holds when the controller dies.
    site.pair.signal(0, Signal::SIGKILL);
    site.pair.nodes[0].daemon.wait_for_end(PATIENCE).unwrap();
    site.pair.nodes[0].daemon.start().unwrap();
    site.pair.settle();
    assert!(drained(&site.pair.nodes[0].status().unwrap()));

    let other = config(&site.pair.lab, 1, site.channel, &Station::BACKENDS[..2]);
    fs::write(site.pair.nodes[1].config(), other).unwrap();
    site.pair.nodes[1].ask(&["reload"]).unwrap();
    let text = format!(
        "service nat: only there is backend {}:{BACKEND_PORT}",
        Station::Web03.address()
    );
    site.pair.nodes[1]
        .wait_for("the difference to be told", PATIENCE, |status| {
            let told = &status.json["cluster"][0]["differences"];
            let found = told.as_array().unwrap().iter().any(|line| *line == *text);
            found.then_some(()).ok_or_else(|| told.to_string())
        })
        .unwrap();
    // What only the Active knows is steered to all the same, by whoever has the VIP.
    let mut crowds = site.crowds(CROWD / 10);
    let before = ask(&mut crowds);
    assert!(before.contains(&Station::Web03));
    site.wait_until_told(0);
    site.pair.signal(0, Signal::SIGKILL);
    site.pair.wait(1, "active");
    assert_eq!(ask(&mut crowds), before);
    pause(Duration::from_secs(6)).unwrap();
    assert_eq!(ask(&mut crowds), before);
}
