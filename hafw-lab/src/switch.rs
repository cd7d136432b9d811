//! The switch between the hosts: a bridge in a namespace of its own, and what can go wrong with it.

use std::{
    collections::BTreeSet,
    os::fd::OwnedFd,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{LabError, Namespace, Station, registry, shell, xdp_pass};

/// A direction in which the switch forwards nothing; `None` stands for every port.
type Block = (Option<Station>, Option<Station>);

#[derive(Debug)]
pub(crate) struct Switch {
    namespace: Arc<Namespace>,
    blocks: Mutex<BTreeSet<Block>>,
    /// The programs on the nodes' ports, which go with these.
    pass: Mutex<Vec<OwnedFd>>,
}

impl Switch {
    /// Makes the bridge and connects the hosts, whose namespaces exist.
    pub(crate) fn create(lab: &str) -> Result<Self, LabError> {
        let namespace = Namespace::create(&registry::qualified(lab, registry::SWITCH))?;
        let name = namespace.name().to_owned();
        shell::run(
            "ip",
            &[
                "-n",
                &name,
                "link",
                "add",
                "br0",
                "up",
                "type",
                "bridge",
                "stp_state",
                "0",
                "forward_delay",
                "0",
                "mcast_snooping",
                "0",
            ],
        )?;
        let switch = Self {
            namespace: Arc::new(namespace),
            blocks: Mutex::default(),
            pass: Mutex::default(),
        };
        for station in Station::ALL {
            switch.plug_in(station, &registry::qualified(lab, station.name()), None)?;
        }
        Ok(switch)
    }

    /// Makes a host's link: its `eth0`, perhaps with this kernel index, and the port that it leads
    /// to.
    pub(crate) fn plug_in(
        &self,
        station: Station,
        host: &str,
        index: Option<&str>,
    ) -> Result<(), LabError> {
        let (name, port) = (self.namespace.name(), station.name());
        let mac = station.mac_text();
        let mut args = vec![
            "link", "add", port, "netns", name, "type", "veth", "peer", "name", "eth0", "address",
            &mac, "netns", host,
        ];
        args.extend(index.iter().flat_map(|index| ["index", *index]));
        shell::run("ip", &args)?;
        shell::run(
            "ip",
            &["-n", name, "link", "set", port, "master", "br0", "up"],
        )?;
        if station.is_node() {
            let attach = || xdp_pass::attach(port);
            let pass = self.namespace.run(attach).and_then(|result| result);
            let pass = pass.map_err(LabError::io("attach an XDP program to the switch's port"))?;
            let mut all = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(pass);
        }
        Ok(())
    }

    pub(crate) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Takes the carrier from a host, or gives it back.
    pub(crate) fn set_carrier(&self, station: Station, up: bool) -> Result<(), LabError> {
        let state = if up { "up" } else { "down" };
        let name = self.namespace.name();
        shell::run("ip", &["-n", name, "link", "set", station.name(), state]).map(drop)
    }

    /// Adds and removes directions in which nothing is forwarded, all at the same moment.
    pub(crate) fn change(&self, add: &[Block], remove: &[Block]) -> Result<(), LabError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.extend(add);
        blocks.retain(|block| !remove.contains(block));
        self.load(&blocks)
    }

    /// Forwards everything again.
    pub(crate) fn heal(&self) -> Result<(), LabError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.clear();
        self.load(&blocks)
    }

    /// One nft transaction. The carrier stays, and nobody is told.
    fn load(&self, blocks: &BTreeSet<Block>) -> Result<(), LabError> {
        let mut rules = String::from(
            "add table bridge hafw; delete table bridge hafw; add table bridge hafw; \
             add chain bridge hafw forward { type filter hook forward priority 0 ; }",
        );
        for (from, to) in blocks {
            let from = from
                .map(|from| format!(" iifname {}", from.name()))
                .unwrap_or_default();
            let to = to
                .map(|to| format!(" oifname {}", to.name()))
                .unwrap_or_default();
            rules += &format!("; add rule bridge hafw forward{from}{to} drop");
        }
        self.namespace
            .output(Command::new("nft").arg(rules))
            .map(drop)
    }
}
