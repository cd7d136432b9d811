//! Two nodes on the lesson's network, lb01 Active and lb02 standing by, for the tests that say what
//! they do.

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use hafw_lab::{
    Host, Lab, Scope, Signal, Station,
    peers::{Hafw, NodeState, Router, Timing, hafw_config},
    wait_until,
};

/// How long anything may take that takes well under a second on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    /// lb01 and lb02.
    pub(crate) nodes: [Hafw; 2],
}

impl Pair {
    /// Starts `hafw run` on both, with the router `oldboy` and `rest` as it is.
    pub(crate) fn start(lab: Lab, timing: Timing, rest: &str) -> Self {
        let nodes = Station::NODES.map(|station| {
            let host = &lab[station];
            let config = hafw_config(host, &[Router::oldboy(station, timing)], rest);
            Hafw::start(host, &config).unwrap()
        });
        let mut pair = Self { lab, nodes };
        pair.settle();
        pair
    }

    /// Waits until lb01 is Active and lb02 stands by.
    pub(crate) fn settle(&mut self) {
        self.wait(0, "active");
        self.wait(1, "backup");
    }

    /// Waits until a node's router is in a state.
    pub(crate) fn wait(&mut self, node: usize, state: &str) {
        self.nodes[node]
            .wait_for_router("oldboy", state, PATIENCE)
            .unwrap_or_else(|error| panic!("{state}: {error}\n{}", self.logs()));
    }

    /// Waits until both nodes' status is as wanted.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        check: impl Fn(&NodeState) -> Result<(), String>,
    ) {
        for node in &mut self.nodes {
            node.wait_for(what, PATIENCE, &check).unwrap();
        }
    }

    /// To a node's controller, not to its proxy.
    pub(crate) fn signal(&mut self, node: usize, signal: Signal) {
        let daemon = &mut self.nodes[node].daemon;
        daemon.signal(Scope::Process, signal).unwrap();
    }

    /// The ends of both nodes' logs.
    pub(crate) fn logs(&self) -> String {
        self.nodes
            .iter()
            .map(|node| node.daemon.log_tail())
            .collect::<Vec<_>>()
            .join("\n---\n")
    }
}

/// Waits until a peer that makes addresses of its VIPs has this one, or has not.
pub(crate) fn wait_for_address(host: &Host, address: &str, has: bool) {
    let what = format!("{} to have {address}: {has}", host.station());
    wait_until(PATIENCE, what, || {
        let addresses = host
            .output("ip", &["-o", "address"])
            .map_err(|error| error.to_string())?;
        if addresses.contains(&format!(" {address} ")) == has {
            Ok(())
        } else {
            Err(addresses)
        }
    })
    .unwrap();
}

/// A `dsr` service over the three web servers; `more` are its other keys.
pub(crate) fn dsr_service(protocol: &str, vip: Ipv4Addr, port: u16, more: &str) -> String {
    let mut text = format!(
        "\n[[service]]\nname = \"{protocol}-{port}\"\nvip = \"{vip}\"\nport = {port}\n\
         protocol = \"{protocol}\"\nmode = \"dsr\"\n{more}\n"
    );
    for web in Station::BACKENDS {
        let address = web.address();
        let _ = write!(
            text,
            "[[service.backend]]\naddress = \"{address}:{port}\"\n"
        );
    }
    text
}
