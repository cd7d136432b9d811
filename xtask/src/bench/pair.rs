//! Two nodes of one kind in a lab, with what a client reaches through them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use hafw_lab::{
    Daemon, Host, Lab, LabError, Scope, Signal, Station, VIP_WWW,
    peers::{
        ECHO_PORT, Echo, Hafw, Keepalived, LessonProxy, Router, Timing, WebServer, hafw_config,
        keepalived_config,
    },
    probe::{HttpProbe, Observation, Observer, Report, Request, UdpProbe},
    wait_until,
};

use crate::workspace;

const WITHOUT_REALTIME: &str = "[node]\nrealtime_priority = 0\nlock_memory = false";

/// What runs on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// keepalived and nginx, as in the lesson
    Keepalived,
    /// hafw and hafw-l7
    Hafw,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::Hafw => "hafw",
        }
    }
}

/// What a pair is like.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) kind: Kind,
    pub(super) timing: Timing,
    /// Real-time priority for what speaks VRRP; None: as either does without being told.
    pub(super) realtime: Option<bool>,
    /// hafw's `[cluster]` over a path of its own.
    pub(super) cluster: bool,
    /// An optimised build of hafw.
    pub(super) release: bool,
}

/// A pair of nodes: lb01 is meant to be the active one.
pub(super) struct Pair {
    pub(super) lab: Lab,
    pub(super) timing: Timing,
    nodes: Vec<Node>,
    _webs: Vec<WebServer>,
    _echoes: Vec<Echo>,
}

enum Node {
    Keepalived {
        keepalived: Keepalived,
        host: Host,
        _proxy: LessonProxy,
    },
    Hafw(Hafw),
}

/// Probes that run.
pub(super) struct Measurement {
    udp: UdpProbe,
    http: HttpProbe,
    observer: Observer,
}

/// What the probes found.
pub(super) struct Findings {
    /// Datagrams, one a millisecond, to an echo behind the VIP.
    pub(super) udp: Report,
    /// Requests through the proxy, each on a connection of its own.
    pub(super) http: Report,
    /// Who answered for the VIP.
    pub(super) owners: Observation,
}

impl Pair {
    /// Makes the lab and starts everything; returns when lb01 is active and lb02 is not.
    pub(super) fn start(setup: Setup) -> Result<Self> {
        let Setup { kind, timing, .. } = setup;
        let lab = Lab::new("bench")?;
        let webs = Station::BACKENDS.map(|web| WebServer::start(&lab[web]));
        let webs = webs.into_iter().collect::<Result<_, _>>()?;
        // keepalived's node serves the echo itself; behind hafw the backends do (mode dsr).
        let echoing = match kind {
            Kind::Keepalived => &Station::NODES[..],
            Kind::Hafw => &Station::BACKENDS[..],
        };
        let mut echoes = Vec::new();
        for &station in echoing {
            if kind == Kind::Hafw {
                lab[station].accept_vip(VIP_WWW)?;
            }
            echoes.push(Echo::start(&lab[station], VIP_WWW, ECHO_PORT)?);
        }
        let mut nodes = Vec::new();
        let addresses = if setup.cluster {
            Some(lab.link_nodes()?)
        } else {
            None
        };
        for (own, station) in Station::NODES.into_iter().enumerate() {
            let channel = addresses.map_or_else(String::new, |all| channel(own, all));
            let mut node = Node::new(setup, &lab, station, &channel)?;
            node.daemon().start()?;
            nodes.push(node);
        }
        let mut pair = Self {
            lab,
            timing,
            nodes,
            _webs: webs,
            _echoes: echoes,
        };
        pair.settle()?;
        Ok(pair)
    }

    /// Waits until lb01 is active, lb02 is not, and a client gets through.
    pub(super) fn settle(&mut self) -> Result<()> {
        let deadline = self.timing.active_down_interval(100) * 4 + Duration::from_secs(10);
        wait_until(
            deadline,
            "lb01 to be active and lb02 to stand by",
            || match (self.nodes[0].active()?, self.nodes[1].active()?) {
                (true, false) => Ok(()),
                (one, two) => Err(format!("active: lb01 {one}, lb02 {two}")),
            },
        )?;
        let url = format!("http://{VIP_WWW}/");
        wait_until(Duration::from_secs(10), "a client to get through", || {
            let args = [
                "-fsS",
                "--max-time",
                "1",
                "-H",
                "Host: www.oldboy.com",
                &url,
            ];
            self.lab[Station::Client]
                .output("curl", &args)
                .map_err(|error| error.to_string())
        })?;
        Ok(())
    }

    /// Starts the probes.
    pub(super) fn measure(&self) -> Result<Measurement> {
        let client = &self.lab[Station::Client];
        let request = Request {
            to: SocketAddrV4::new(VIP_WWW, 80),
            host: "www.oldboy.com".to_owned(),
            path: "/".to_owned(),
        };
        let echo = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
        Ok(Measurement {
            udp: UdpProbe::start(client, echo, Duration::from_millis(1))?,
            http: HttpProbe::start(client, request, Duration::from_millis(5))?,
            observer: Observer::start(&self.lab[Station::Observer], &[VIP_WWW])?,
        })
    }

    /// Asks who has the VIP, and listens, before all ordinary processes: a late question would miss
    /// an answer.
    pub(super) fn observe(&self) -> Result<Observer> {
        let observer = Observer::start(&self.lab[Station::Observer], &[VIP_WWW])?;
        observer.take_precedence()?;
        Ok(observer)
    }

    /// Fails if a node's daemon ended.
    pub(super) fn expect_running(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.daemon().expect_running()?;
        }
        Ok(())
    }

    /// The VRRP daemon of lb01.
    pub(super) fn daemon(&mut self) -> &mut Daemon {
        self.nodes[0].daemon()
    }

    /// How often each node has become Active, by its log.
    pub(super) fn takeovers(&mut self) -> Result<[usize; 2]> {
        let mut counts = [0; 2];
        for (node, count) in self.nodes.iter_mut().zip(&mut counts) {
            let daemon = node.daemon();
            let log = daemon.log();
            let text =
                fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
            *count = text.matches(node.takeover()).count();
        }
        Ok(counts)
    }

    /// Lets the tracked check of lb01 fail, or succeed again.
    pub(super) fn set_check(&self, up: bool) -> Result<()> {
        let file = check_file(&self.lab[Station::Lb01]);
        let done = if up {
            fs::write(&file, "")
        } else {
            fs::remove_file(&file)
        };
        done.with_context(|| format!("change {}", file.display()))
    }

    /// Signals the whole VRRP daemon of lb01: keepalived's two processes, hafw's controller.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), LabError> {
        let scope = match &self.nodes[0] {
            Node::Keepalived { .. } => Scope::Tree,
            Node::Hafw(_) => Scope::Process,
        };
        self.daemon().signal(scope, signal)
    }
}

impl Node {
    fn new(setup: Setup, lab: &Lab, station: Station, channel: &str) -> Result<Self> {
        let host = &lab[station];
        let check = check_file(host);
        fs::write(&check, "").with_context(|| format!("write {}", check.display()))?;
        let check = check.display();
        let routers = [Router::oldboy(station, setup.timing)];
        Ok(match setup.kind {
            Kind::Keepalived => {
                let globals = match setup.realtime {
                    Some(true) => "    vrrp_rt_priority 50\n    vrrp_no_swap\n",
                    Some(false) | None => "",
                };
                let config = keepalived_config(host, &routers, globals);
                let script = format!(
                    "vrrp_script web {{\n    script \"/usr/bin/test -e {check}\"\n    interval \
                     3\n    user root\n}}\n\nvrrp_instance"
                );
                let track = "    track_script {\n        web\n    }\n    virtual_ipaddress";
                let config = config.replacen("vrrp_instance", &script, 1).replacen(
                    "    virtual_ipaddress",
                    track,
                    1,
                );
                Self::Keepalived {
                    keepalived: Keepalived::with_config(host, &config)?,
                    host: host.clone(),
                    _proxy: LessonProxy::start(host)?,
                }
            }
            Kind::Hafw => {
                let witness = Station::Observer.address();
                let rest = format!(
                    "witness = [\"{witness}\"]\ndeaf_after = \"2s\"\n\
                     track = [{{ check = \"web\", weight = 0 }}]\n\n\
                     [[check]]\nname = \"web\"\ninterval = \"3s\"\nuser = \"root\"\n\
                     command = [\"/usr/bin/test\", \"-e\", \"{check}\"]\n{}{channel}",
                    services()
                );
                let config = hafw_config(host, &routers, &rest);
                let config = match setup.realtime {
                    Some(false) => config.replacen("[node]", WITHOUT_REALTIME, 1),
                    Some(true) | None => config,
                };
                Self::Hafw(Hafw::new(
                    host,
                    &workspace::binary("hafw", setup.release)?,
                    &config,
                )?)
            }
        })
    }

    /// What it logs when it becomes Active.
    const fn takeover(&self) -> &'static str {
        match self {
            Self::Keepalived { .. } => "Entering MASTER STATE",
            Self::Hafw(_) => "to=\"active\"",
        }
    }

    fn daemon(&mut self) -> &mut Daemon {
        match self {
            Self::Keepalived { keepalived, .. } => &mut keepalived.daemon,
            Self::Hafw(hafw) => &mut hafw.daemon,
        }
    }

    /// Whether it owns the VIP, in its own view.
    fn active(&mut self) -> Result<bool, String> {
        let daemon = self.daemon();
        daemon.expect_running().map_err(|error| error.to_string())?;
        match self {
            Self::Keepalived { host, .. } => {
                let addresses = host.output("ip", &["-o", "address"]);
                let addresses = addresses.map_err(|error| error.to_string())?;
                Ok(addresses.contains(&format!(" {VIP_WWW}/24 ")))
            }
            Self::Hafw(hafw) => {
                let status = hafw.status().map_err(|error| error.to_string())?;
                Ok(status.routers.iter().any(|router| router.state == "active"))
            }
        }
    }
}

impl Measurement {
    pub(super) fn stop(self) -> Result<Findings> {
        Ok(Findings {
            udp: self.udp.stop()?,
            http: self.http.stop()?,
            owners: self.observer.stop()?,
        })
    }
}

impl Findings {
    /// What was found in a span of time.
    pub(super) fn within(&self, from: Instant, to: Instant) -> Self {
        Self {
            udp: self.udp.within(from, to),
            http: self.http.within(from, to),
            // With the last answers before, so that a silence that begins with the fault is seen.
            owners: self.owners.within(from - Duration::from_millis(10), to),
        }
    }
}

/// What the tracked check looks at: the web server's pid file, as it were.
fn check_file(host: &Host) -> PathBuf {
    host.state().join("web")
}

/// `[cluster]` of a node, by its place among the nodes and the nodes' addresses.
fn channel(own: usize, addresses: [Ipv4Addr; 2]) -> String {
    let other = Station::NODES[1 - own].name();
    format!(
        "\n[cluster]\nlisten = \"{}:9108\"\nkey = \"{}\"\n\
         peers = [{{ id = \"{other}\", address = \"{}:9108\" }}]\n",
        addresses[own],
        "5a".repeat(32),
        addresses[1 - own]
    )
}

/// The same service and site that [`LessonProxy`] and the nodes' echo are for keepalived.
fn services() -> String {
    let backends: String = Station::BACKENDS
        .map(|web| {
            format!(
                "[[service.backend]]\naddress = \"{}:{ECHO_PORT}\"\n",
                web.address()
            )
        })
        .concat();
    format!(
        "\n[[service]]\nname = \"echo\"\nvip = \"{VIP_WWW}\"\nport = {ECHO_PORT}\n\
         protocol = \"udp\"\nmode = \"dsr\"\n{backends}\n\
         [[upstream]]\nname = \"default\"\nserver = [{{ address = \"{}:80\" }}]\n\n\
         [[server]]\nlisten = [\"{VIP_WWW}:80\"]\nhosts = [\"www.oldboy.com\"]\n\n\
         [[server.route]]\nupstream = \"default\"\n\n\
         [proxy]\nworkers = 1\n",
        Station::Web03.address()
    )
}
