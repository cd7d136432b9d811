//! The lesson's network with hafw on both nodes.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use hafw_lab::{
    Host, Lab, LabError, Station, VIP_WWW,
    peers::{ECHO_PORT, Echo, Hafw, NodeState, WebServer},
};

use super::config;
use crate::{
    step::step,
    workspace::{self, binary},
};

/// Where the configurations and logs stay, below the workspace.
pub(super) const FILES: &str = ".hafw-run";

/// The network, while it is up.
pub(super) struct Network {
    pub(super) lab: Lab,
    pub(super) nodes: [Hafw; 2],
    _webs: Vec<WebServer>,
    _echoes: Vec<Echo>,
}

impl Network {
    /// Makes it, and starts the web servers and the nodes.
    pub(super) fn start(release: bool) -> Result<Self> {
        step("making the lesson's network", || {
            let files = workspace::root().join(FILES);
            match fs::remove_dir_all(&files) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(format!("cannot empty {}", files.display()));
                }
                _ => {}
            }
            let lab = Lab::named("hafw", &files)?;
            let (mut webs, mut echoes) = (Vec::new(), Vec::new());
            for web in Station::BACKENDS {
                let host = &lab[web];
                host.accept_vip(VIP_WWW)?;
                webs.push(WebServer::start(host)?);
                echoes.push(Echo::start(host, VIP_WWW, ECHO_PORT)?);
            }
            let program = binary("hafw", release)?;
            let node = |station| Hafw::new(&lab[station], &program, &config::text(&lab[station]));
            let [one, two] = Station::NODES.map(node);
            let mut nodes = [one?, two?];
            for node in &mut nodes {
                node.daemon.start()?;
            }
            Ok(Self {
                lab,
                nodes,
                _webs: webs,
                _echoes: echoes,
            })
        })
    }

    /// The client.
    pub(super) fn client(&self) -> &Host {
        &self.lab[Station::Client]
    }

    /// Waits until a router of a node (0 or 1) is active and the other node stands by.
    pub(super) fn wait_for_owner(&mut self, router: &str, owner: usize) -> Result<(), LabError> {
        let deadline = Duration::from_secs(15);
        self.nodes[owner].wait_for_router(router, "active", deadline)?;
        self.nodes[1 - owner].wait_for_router(router, "backup", deadline)
    }

    /// Each node's state, if it answers.
    pub(super) fn states(&self) -> [Result<NodeState, LabError>; 2] {
        self.nodes.each_ref().map(Hafw::status)
    }

    /// A command line that a person can give, for a program on a host.
    pub(super) fn command(&self, station: Station, rest: &str) -> String {
        let path = self.lab[station].namespace().path();
        format!("nsenter --net={} {rest}", path.display())
    }
}
