//! `hafw reload`, SIGHUP and `hafw restart` under load: nothing is lost, and a bad file changes
//! nothing.

use std::{fs, net::SocketAddrV4, path::PathBuf, time::Duration};

use hafw_lab::{
    Host, Lab, Scope, Signal, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, Hafw, NodeState, Router, Timing, WebServer, hafw_config},
    probe::{HttpProbe, Request, UdpProbe},
};

use crate::pair::PATIENCE;

/// A node that is alone, with an L4 service and a site, and clients of both.
struct Loaded {
    node: Hafw,
    timing: Timing,
    config: PathBuf,
    lab: Lab,
    udp: UdpProbe,
    http: HttpProbe,
    _peers: (Vec<WebServer>, Vec<Echo>),
}

impl Loaded {
    fn start(purpose: &str, timing: Timing) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let webs = Station::BACKENDS.map(|web| WebServer::start(&lab[web]).unwrap());
        let echoes = Station::BACKENDS.map(|web| {
            lab[web].accept_vip(VIP_WWW).unwrap();
            Echo::start(&lab[web], VIP_WWW, ECHO_PORT).unwrap()
        });
        let host = &lab[Station::Lb01];
        let text = file(
            host,
            timing,
            &[Station::Web01, Station::Web02],
            Station::Web03,
        );
        let mut node = Hafw::start(host, &text).unwrap();
        node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
        let request = Request {
            to: SocketAddrV4::new(VIP_WWW, 80),
            host: "www.oldboy.com".to_owned(),
            path: "/whoami".to_owned(),
        };
        let client = &lab[Station::Client];
        let echo = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
        let udp = UdpProbe::start(client, echo, Duration::from_millis(1)).unwrap();
        let http = HttpProbe::start(client, request, Duration::from_millis(5)).unwrap();
        pause(Duration::from_millis(300)).unwrap();
        Self {
            config: node.config().to_path_buf(),
            node,
            timing,
            udp,
            http,
            _peers: (webs.into(), echoes.into()),
            lab,
        }
    }

    fn host(&self) -> &Host {
        &self.lab[Station::Lb01]
    }

    fn wait(&mut self, what: &str, check: impl Fn(&NodeState) -> bool) {
        let check = |state: &NodeState| {
            if check(state) {
                Ok(())
            } else {
                Err(state.json.to_string())
            }
        };
        self.node.wait_for(what, PATIENCE, check).unwrap();
    }

    fn assert_nothing_lost(self) {
        pause(Duration::from_millis(300)).unwrap();
        let udp = self.udp.stop().unwrap();
        let http = self.http.stop().unwrap();
        assert!(udp.samples.len() > 500 && http.samples.len() > 50);
        assert_eq!(udp.lost(), 0, "gaps: {:?}", udp.gaps());
        assert!(http.errors().is_empty(), "{:?}", http.errors());
    }
}

/// The node's file: the service's backends, and the site's.
fn file(host: &Host, timing: Timing, backends: &[Station], web: Station) -> String {
    let backends: String = backends
        .iter()
        .map(|web| {
            format!(
                "[[service.backend]]\naddress = \"{}:{ECHO_PORT}\"\n",
                web.address()
            )
        })
        .collect();
    let rest = format!(
        r#"
[[service]]
name = "echo"
vip = "{VIP_WWW}"
port = {ECHO_PORT}
protocol = "udp"
mode = "dsr"
slots = 4099
{backends}
[[upstream]]
name = "web"
server = [{{ address = "{}:80" }}]

[[server]]
listen = ["{VIP_WWW}:80"]
hosts = ["www.oldboy.com"]
[[server.route]]
upstream = "web"

[proxy]
workers = 1
"#,
        web.address()
    );
    hafw_config(host, &[Router::oldboy(Station::Lb01, timing)], &rest)
}

/// Those that get new flows. One that has gone stays until its last flow has.
fn backends(state: &NodeState) -> usize {
    let backends = state.services[0].backends.iter();
    backends.filter(|backend| backend.weight > 0).count()
}

#[test]
#[ignore = "requires root"]
fn a_reload_loses_nothing() {
    let mut loaded = Loaded::start("reload", Timing::V3Tenth);
    let pid = loaded.node.status().unwrap().json["pid"].clone();
    let text = file(
        loaded.host(),
        loaded.timing,
        &Station::BACKENDS,
        Station::Web01,
    );
    fs::write(
        &loaded.config,
        text.replace("priority = 150", "priority = 120"),
    )
    .unwrap();

    loaded.node.ask(&["reload"]).unwrap();

    loaded.wait("three backends and the new priority", |state| {
        backends(state) == 3 && state.routers[0].effective_priority == 120
    });
    let text = file(
        loaded.host(),
        loaded.timing,
        &[Station::Web03],
        Station::Web02,
    );
    fs::write(&loaded.config, text).unwrap();
    loaded
        .node
        .daemon
        .signal(Scope::Process, Signal::SIGHUP)
        .unwrap();
    loaded.wait("one backend", |state| {
        backends(state) == 1 && state.routers[0].effective_priority == 150
    });
    pause(Duration::from_millis(500)).unwrap();
    assert_eq!(loaded.node.status().unwrap().json["pid"], pid);
    let url = format!("http://{VIP_WWW}/whoami");
    let page = loaded.lab[Station::Client]
        .output("curl", &["-sS", "-H", "Host: www.oldboy.com", &url])
        .unwrap();
    assert!(page.starts_with("web02"), "{page}");
    loaded.assert_nothing_lost();
}

#[test]
#[ignore = "requires root"]
fn a_file_that_is_wrong_changes_nothing() {
    let mut loaded = Loaded::start("unfit", Timing::V3Tenth);
    let good = fs::read_to_string(&loaded.config).unwrap();
    let before = loaded.node.status().unwrap();
    for (wrong, said) in [
        (good.replace("slots = 4099", "slots = 4100"), "slots"),
        (good.replace("10.0.0.8:", "10.0.0.5:"), "10.0.0.5"),
        (good.replace("eth0", "eth7"), "eth7"),
    ] {
        fs::write(&loaded.config, wrong).unwrap();
        let refused = loaded.node.ask(&["reload"]).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(refused.contains("nothing was changed"), "{refused}");
    }
    let after = loaded.node.status().unwrap();
    assert_eq!(backends(&after), backends(&before));
    assert_eq!(
        after.json["routers"][0]["transitions"],
        before.json["routers"][0]["transitions"]
    );
    loaded.wait("it to go on", |state| state.routers[0].attracting);
    loaded.assert_nothing_lost();
}

#[test]
#[ignore = "requires root"]
fn a_restart_loses_nothing() {
    // A start of a debug build on a busy machine takes longer than shorter leases last.
    let mut loaded = Loaded::start("reexec", Timing::V2Second);
    pause(Duration::from_millis(300)).unwrap();

    loaded.node.ask(&["restart"]).unwrap();

    loaded.wait("the successor", |state| {
        state.adopted && state.routers[0].attracting
    });
    let status = loaded.node.status().unwrap();
    assert_eq!(
        status.json["routers"][0]["transitions"], 1,
        "it went on as Active"
    );
    loaded.assert_nothing_lost();
}

#[test]
#[ignore = "requires root"]
fn a_reload_that_needs_more_restarts_within_the_leases() {
    let mut loaded = Loaded::start("second", Timing::V2Second);
    let good = fs::read_to_string(&loaded.config).unwrap();
    let second = "\n[[virtual_router]]\nname = \"oldgirl\"\ninterface = \"eth0\"\nvrid = 52\n\
                  vips = [\"10.0.0.4/24\"]\n";
    fs::write(&loaded.config, good + second).unwrap();

    let said = loaded.node.ask(&["reload"]).unwrap();

    assert!(said.contains("other virtual routers"), "{said}");
    loaded.wait("both routers to be active", |state| {
        state.adopted
            && state.routers.len() == 2
            && state.routers.iter().all(|router| router.attracting)
    });
    loaded.assert_nothing_lost();
}
