//! Checks that move VIPs (S11): the web server beside a node dies by a signal to its processes, the
//! VIPs move by fault and by priority, and return by themselves when it is back.

use std::{
    fs,
    time::{Duration, Instant},
};

use hafw_lab::{
    Host, Lab, Station, VIP_BBS, VIP_WWW, pause,
    peers::{Hafw, Router, Timing, WebServer, hafw_config},
    probe::{Observation, Observer},
    wait_until,
};

/// Gives its VIP up by fault: weight 0.
const ZERO: &str = "zero";
/// Gives its VIP up by a lower priority: weight -60.
const MINUS: &str = "minus";

/// Two nodes with an nginx each, which both of lb01's routers depend on.
struct Pair {
    lab: Lab,
    nodes: [Hafw; 2],
    webs: [WebServer; 2],
}

impl Pair {
    /// `check`: the keys that say what the check `web` looks at, STATE being a folder of the host.
    fn start(purpose: &str, check: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let webs = Station::NODES.map(|station| WebServer::start(&lab[station]).unwrap());
        let nodes = Station::NODES.map(|station| {
            let host = &lab[station];
            add_eth1(host);
            let text = config(&lab, station, check);
            Hafw::start(host, &text).unwrap()
        });
        let mut pair = Self { lab, nodes, webs };
        pair.settle();
        pair
    }

    /// Waits until lb01 has both VIPs and lb02 stands by for them.
    fn settle(&mut self) {
        for router in [ZERO, MINUS] {
            self.wait(0, router, "active");
            self.wait(1, router, "backup");
        }
    }

    fn wait(&mut self, node: usize, router: &str, state: &str) {
        self.nodes[node]
            .wait_for_router(router, state, Duration::from_secs(20))
            .unwrap();
    }

    /// The page of the node that has the VIP.
    fn page(&self) -> Result<String, String> {
        let url = format!("http://{VIP_WWW}/whoami");
        self.lab[Station::Client]
            .output("curl", &["-sS", "--max-time", "1", &url])
            .map_err(|error| error.to_string())
    }

    fn wait_for_page_of(&self, station: Station) {
        wait_until(Duration::from_secs(10), "the site to answer", || {
            let page = self.page()?;
            if page.starts_with(station.name()) {
                Ok(())
            } else {
                Err(page)
            }
        })
        .unwrap();
    }
}

fn config(lab: &Lab, station: Station, check: &str) -> String {
    let router = |name: &str, vrid, vip| Router {
        name: name.to_owned(),
        vrid,
        vip,
        ..Router::oldboy(station, Timing::V3Tenth)
    };
    let routers = [router(ZERO, 51, VIP_WWW), router(MINUS, 52, VIP_BBS)];
    let check = check.replace("STATE", &lab[station].state().display().to_string());
    let check = format!("\n[[check]]\nname = \"web\"\n{check}\ninterval = \"200ms\"\n");
    let text = hafw_config(&lab[station], &routers, &check);
    let tracked = |text: &str, router: &str, weight: i16| {
        let name = format!("name = \"{router}\"\n");
        let track = format!("track = [{{ check = \"web\", weight = {weight} }}]\n");
        text.replace(&name, &(name.clone() + &track))
    };
    tracked(&tracked(&text, ZERO, 0), MINUS, -60)
}

/// The web server of the Active dies; the VIPs move; it is back; they return.
fn the_vips_follow_the_web_server(purpose: &str, check: &str) {
    let pair = Pair::start(purpose, check);
    pair.wait_for_page_of(Station::Lb01);
    the_vips_follow(purpose, pair, |pair, well| {
        if well {
            pair.webs[0].restart().unwrap();
        } else {
            pair.webs[0].kill().unwrap();
        }
    });
}

/// `make`: makes what lb01's check looks at well, or not.
fn the_vips_follow(purpose: &str, mut pair: Pair, make: impl Fn(&mut Pair, bool)) {
    let observer = Observer::start(&pair.lab[Station::Observer], &[VIP_WWW, VIP_BBS]).unwrap();
    // Something to compare with: who owned the VIPs before.
    pause(Duration::from_millis(300)).unwrap();

    let died = Instant::now();
    make(&mut pair, false);
    pair.wait(0, ZERO, "fault");
    pair.wait(0, MINUS, "backup");
    pair.wait(1, ZERO, "active");
    pair.wait(1, MINUS, "active");
    pair.wait_for_page_of(Station::Lb02);
    let status = pair.nodes[0].status().unwrap().json;
    assert_eq!(status["checks"][0]["up"], false, "{status}");
    assert_eq!(status["routers"][1]["effective_priority"], 90, "{status}");

    make(&mut pair, true);
    pair.settle();
    pair.wait_for_page_of(Station::Lb01);

    let seen = observer.stop().unwrap();
    for (vip, weight) in [(VIP_WWW, 0), (VIP_BBS, -60)] {
        assert_eq!(seen.two_owners(vip), Duration::ZERO, "{vip}");
        let mut owners: Vec<_> = seen.tenures(vip).iter().map(|tenure| tenure.mac).collect();
        owners.dedup();
        let expected = [Station::Lb01, Station::Lb02, Station::Lb01];
        assert_eq!(owners, expected.map(Station::mac), "{vip}");
        report(purpose, weight, took(&seen, vip, died));
    }
}

/// From the death to lb02's first answer.
fn took(seen: &Observation, vip: std::net::Ipv4Addr, died: Instant) -> Duration {
    let tenures = seen.tenures(vip);
    let moved = tenures
        .iter()
        .find(|tenure| tenure.mac == Station::Lb02.mac())
        .unwrap();
    moved.from - died
}

#[expect(clippy::print_stdout, reason = "what was measured")]
fn report(check: &str, weight: i16, took: Duration) {
    println!("{check}, weight {weight}: the VIP moved {took:.0?} after the death");
}

#[test]
#[ignore = "requires root"]
fn a_command_moves_the_vips_and_brings_them_back() {
    let command = r#"command = ["/usr/bin/curl", "-sS", "--max-time", "1", "http://127.0.0.1/"]
fall = 2
rise = 2"#;
    the_vips_follow_the_web_server("command", command);
}

#[test]
#[ignore = "requires root"]
fn an_http_check_moves_the_vips_and_brings_them_back() {
    the_vips_follow_the_web_server(
        "http",
        "http = \"http://127.0.0.1/oldboy.html\"\nfall = 2\nrise = 2",
    );
}

#[test]
#[ignore = "requires root"]
fn a_tcp_check_moves_the_vips_and_brings_them_back() {
    the_vips_follow_the_web_server("tcp", "tcp = \"127.0.0.1:80\"\nfall = 2\nrise = 2");
}

#[test]
#[ignore = "requires root"]
fn a_process_is_missed_at_once_and_its_namesakes_elsewhere_do_not_count() {
    // Every host of the lab has processes of this name.
    the_vips_follow_the_web_server("process", "process = \"nginx\"");
}

#[test]
#[ignore = "requires root"]
fn a_number_in_a_file_takes_a_node_out_and_lets_it_back_in() {
    let pair = Pair::start("file", "file = \"STATE/drain\"");
    the_vips_follow("file", pair, |pair, well| {
        let file = pair.lab[Station::Lb01].state().join("drain");
        if well {
            fs::remove_file(file).unwrap();
        } else {
            fs::write(file, "1\n").unwrap();
        }
    });
}

#[test]
#[ignore = "requires root"]
fn an_interface_that_goes_takes_the_vips_along() {
    let pair = Pair::start("interface", "interface = \"eth1\"");
    the_vips_follow("interface", pair, |pair, well| {
        let lb01 = &pair.lab[Station::Lb01];
        if well {
            add_eth1(lb01);
        } else {
            lb01.output("ip", &["link", "delete", "eth1"]).unwrap();
        }
    });
}

/// An interface beside the one that the VIPs are on.
fn add_eth1(host: &Host) {
    let ip = |args: &[&str]| host.output("ip", args).unwrap();
    ip(&[
        "link",
        "add",
        "eth1",
        "type",
        "veth",
        "peer",
        "name",
        "eth1-peer",
    ]);
    ip(&["link", "set", "eth1", "up"]);
    ip(&["link", "set", "eth1-peer", "up"]);
}
