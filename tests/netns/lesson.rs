//! The lesson's site (S1 to S3, S11, S13): two nodes with the proxy, real nginx behind them.

use std::time::Duration;

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_BBS, VIP_WWW, pause,
    peers::{Hafw, Router, Timing, WebServer, hafw_config, lesson_sites},
    probe::Observer,
    wait_until,
};

struct Site {
    lab: Lab,
    nodes: [Hafw; 2],
    _webs: Vec<WebServer>,
}

impl Site {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let webs = Station::BACKENDS.map(|web| WebServer::start(&lab[web]).unwrap());
        let nodes = Station::NODES.map(|station| {
            let routers = [
                Router::oldboy(station, Timing::V3Tenth),
                Router::oldgirl(station, Timing::V3Tenth),
            ];
            let config = hafw_config(
                &lab[station],
                &routers,
                &(CHECK.to_owned() + &lesson_sites()),
            );
            // The proxy that does not serve gives its VIPs up.
            let config = config.replace("\nvips = ", "\ntrack = [{ check = \"proxy\" }]\nvips = ");
            Hafw::start(&lab[station], &config).unwrap()
        });
        let mut site = Self {
            lab,
            nodes,
            _webs: webs.into(),
        };
        site.settle();
        site
    }

    fn settle(&mut self) {
        self.wait(0, "oldboy", "active");
        self.wait(1, "oldgirl", "active");
        self.wait(0, "oldgirl", "backup");
        self.wait(1, "oldboy", "backup");
        wait_until(Duration::from_secs(10), "the sites to answer", || {
            self.get("www.oldboy.com", VIP_WWW, "/oldboy.html", "curl")
                .map(drop)?;
            self.get("bbs.oldboy.com", VIP_BBS, "/oldboy.html", "curl")
                .map(drop)
        })
        .unwrap();
    }

    fn wait(&mut self, node: usize, router: &str, state: &str) {
        self.nodes[node]
            .wait_for_router(router, state, Duration::from_secs(20))
            .unwrap();
    }

    fn get(
        &self,
        host: &str,
        to: std::net::Ipv4Addr,
        path: &str,
        agent: &str,
    ) -> Result<String, String> {
        let (header, url) = (format!("Host: {host}"), format!("http://{to}{path}"));
        let args = [
            "-sS",
            "--max-time",
            "3",
            "-w",
            " %{http_code}",
            "-A",
            agent,
            "-H",
            &header,
            &url,
        ];
        let answer = self.lab[Station::Client].output("curl", &args);
        answer
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
            .map_err(|e| e.to_string())
    }
}

const CHECK: &str = r#"
[[check]]
name = "proxy"
l7 = true
interval = "200ms"
fall = 2

"#;

#[test]
#[ignore = "requires root"]
fn requests_reach_the_cluster_that_the_lesson_names() {
    let site = Site::start("site");
    let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)";
    let chrome = "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0";

    for (path, agent, expected) in [
        (
            "/upload/oldboy.html",
            "curl",
            "upload-web cluster_10.0.0.8 200",
        ),
        (
            "/static/oldboy.html",
            "curl",
            "static-web cluster_10.0.0.7 200",
        ),
        ("/oldboy.html", "curl", "default_access 10.0.0.9 200"),
        ("/oldboy.html", iphone, "iphone_access 10.0.0.7 200"),
        ("/oldboy.html", chrome, "google_access 10.0.0.8 200"),
        (
            "/whoami",
            "curl",
            "web03 host=www.oldboy.com xff=10.0.0.1 from=10.0.0.5 200",
        ),
    ] {
        assert_eq!(
            site.get("www.oldboy.com", VIP_WWW, path, agent).unwrap(),
            expected,
            "{path}"
        );
    }
}

#[test]
#[ignore = "requires root"]
fn a_site_is_on_its_vip_only() {
    let site = Site::start("safe");

    let other = site.get("bbs.oldboy.com", VIP_WWW, "/oldboy.html", "curl");
    assert_eq!(other.unwrap(), "421", "a status and no page");
    for node in Station::NODES {
        let refused = site
            .get("www.oldboy.com", node.address(), "/", "curl")
            .unwrap_err();
        assert!(refused.contains("curl: (7)"), "{refused}");
    }
}

#[test]
#[ignore = "requires root"]
fn only_the_owner_answers_arp() {
    let site = Site::start("arp");
    let observer = Observer::start(&site.lab[Station::Observer], &[VIP_WWW, VIP_BBS]).unwrap();
    pause(Duration::from_secs(1)).unwrap();

    let seen = observer.stop().unwrap();
    for (vip, owner) in [(VIP_WWW, Station::Lb01), (VIP_BBS, Station::Lb02)] {
        assert!(
            seen.replies_by(vip, owner) > 10,
            "{owner} hardly answered for {vip}"
        );
        for other in Station::ALL.into_iter().filter(|station| *station != owner) {
            assert_eq!(seen.replies_by(vip, other), 0, "{other} answered for {vip}");
        }
    }
}

#[test]
#[ignore = "requires root"]
fn a_proxy_that_hangs_gives_the_vip_up_and_takes_it_back() {
    let mut site = Site::start("hang");
    let pid = site.nodes[0].status().unwrap().json["proxy"]["pid"]
        .as_i64()
        .unwrap();
    let signal = |name: &str| {
        let kill = std::process::Command::new("kill")
            .args([name, &pid.to_string()])
            .status();
        assert!(kill.unwrap().success());
    };

    signal("-STOP");
    site.wait(0, "oldboy", "fault");
    site.wait(1, "oldboy", "active");
    site.get("www.oldboy.com", VIP_WWW, "/oldboy.html", "curl")
        .unwrap();

    signal("-CONT");
    site.settle();
}

#[test]
#[ignore = "requires root"]
fn the_proxy_outlives_its_controller() {
    let mut site = Site::start("outlive");
    let pid = |site: &Site| site.nodes[0].status().unwrap().json["proxy"]["pid"].as_i64();
    let before = pid(&site);
    assert!(before > Some(0));

    site.nodes[0]
        .daemon
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();
    site.nodes[0]
        .daemon
        .wait_for_end(Duration::from_secs(5))
        .unwrap();
    site.nodes[0].daemon.start().unwrap();
    site.settle();

    assert_eq!(pid(&site), before);
}
