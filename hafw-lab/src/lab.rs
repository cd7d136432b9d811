//! The lab as a whole.

use std::{
    net::Ipv4Addr,
    ops::Index,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};

use crate::{
    Host, LabError, Namespace, Station,
    registry::{self, Claim},
    shell,
    switch::Switch,
    wait_for,
};

/// The lesson's network: seven hosts on one switch. Dropping it removes whatever it made, and ends
/// every process in it.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: the claim ends the processes and deletes what goes by the lab's name.
    claim: Claim,
    hosts: Vec<Host>,
    switch: Switch,
}

impl Lab {
    /// Makes a lab with a name of its own, so that any number of them run side by side.
    ///
    /// # Errors
    /// Not root; a tool is missing; the kernel lacks something.
    pub fn new(purpose: &str) -> Result<Self, LabError> {
        static SEQUENCE: AtomicU32 = AtomicU32::new(0);
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        Self::create(
            &format!("hafw-{purpose}-{}-{sequence}", process::id()),
            None,
        )
    }

    /// Makes a lab with this very name, whose hosts are `NAME-lb01` and so on, and whose
    /// configurations and logs stay in `files`.
    ///
    /// # Errors
    /// As [`Lab::new`]; also a lab or a namespace of that name is there.
    pub fn named(name: &str, files: &Path) -> Result<Self, LabError> {
        Self::create(name, Some(files))
    }

    fn create(name: &str, files: Option<&Path>) -> Result<Self, LabError> {
        if !geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        registry::sweep()?;
        let claim = Claim::new(name)?;
        let dir = claim.dir();
        let mut namespaces = Vec::new();
        for station in Station::ALL {
            let name = registry::qualified(name, station.name());
            namespaces.push((station, Arc::new(Namespace::create(&name)?)));
        }
        let switch = Switch::create(name)?;
        let mut hosts = Vec::new();
        for (station, namespace) in namespaces {
            let host = station.name();
            let files = files.map_or_else(|| dir.join(host), |files| files.join(host));
            let folders = [
                files,
                dir.join(host).join("state"),
                registry::pin_dir(name, host),
            ];
            hosts.push(Host::configure(station, namespace, folders)?);
        }
        Ok(Self {
            claim,
            hosts,
            switch,
        })
    }

    /// Gives every host an address on 2001:db8::/64, and waits until all of its addresses, the
    /// link-local one too, were found to be no duplicates.
    ///
    /// # Errors
    /// `ip` fails, or that takes too long.
    pub fn enable_ipv6(&self) -> Result<(), LabError> {
        for host in &self.hosts {
            let address = format!("{}/64", host.station().address_v6());
            let args = ["-6", "address", "add", &address, "dev", "eth0", "nodad"];
            host.output("ip", &args)?;
        }
        for host in &self.hosts {
            let what = format!("the IPv6 addresses of {}", host.station());
            wait_for(Duration::from_secs(10), what, || {
                let addresses = host.output("ip", &["-6", "-o", "address", "show", "dev", "eth0"]);
                addresses.is_ok_and(|text| text.contains(" fe80::") && !text.contains(" tentative"))
            })?;
        }
        Ok(())
    }

    /// The lab's folder: it goes with the lab.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.claim.dir()
    }

    /// The switch's namespace, where port `lb01` leads to lb01.
    #[must_use]
    pub fn switch(&self) -> &Arc<Namespace> {
        self.switch.namespace()
    }

    /// Lays a cable between the two nodes, apart from the switch: `ctl0` on each. Returns their
    /// addresses there, which are in 10.9.0.0/24.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn link_nodes(&self) -> Result<[Ipv4Addr; 2], LabError> {
        let [one, other] = Station::NODES.map(|station| self[station].namespace().name());
        let pair = ["type", "veth", "peer", "name", "ctl0", "netns", other];
        let link = ["link", "add", "ctl0", "netns", one];
        shell::run("ip", &[&link[..], &pair].concat())?;
        for (node, last) in [(one, 5), (other, 6)] {
            let address = format!("10.9.0.{last}/24");
            shell::run(
                "ip",
                &["-n", node, "address", "add", &address, "dev", "ctl0"],
            )?;
            shell::run("ip", &["-n", node, "link", "set", "ctl0", "up"])?;
        }
        Ok([5, 6].map(|last| Ipv4Addr::new(10, 9, 0, last)))
    }

    /// Forwards nothing from and to a host any more. Its carrier stays, and nobody is told.
    ///
    /// # Errors
    /// nft fails.
    pub fn cut(&self, station: Station) -> Result<(), LabError> {
        self.switch
            .change(&[(Some(station), None), (None, Some(station))], &[])
    }

    /// Forwards nothing that a host sends; it still hears.
    ///
    /// # Errors
    /// nft fails.
    pub fn mute(&self, station: Station) -> Result<(), LabError> {
        self.switch.change(&[(Some(station), None)], &[])
    }

    /// Forwards nothing to a host; what it sends still arrives.
    ///
    /// # Errors
    /// nft fails.
    pub fn deafen(&self, station: Station) -> Result<(), LabError> {
        self.switch.change(&[(None, Some(station))], &[])
    }

    /// Forwards nothing between two hosts, which everybody else still reaches.
    ///
    /// # Errors
    /// nft fails.
    pub fn part(&self, one: Station, other: Station) -> Result<(), LabError> {
        self.switch
            .change(&[(Some(one), Some(other)), (Some(other), Some(one))], &[])
    }

    /// Ends what [`Lab::cut`], [`Lab::mute`], [`Lab::deafen`] and [`Lab::part`] began.
    ///
    /// # Errors
    /// nft fails.
    pub fn heal(&self) -> Result<(), LabError> {
        self.switch.heal()
    }

    /// Deletes a host's `eth0`, and the port of the switch with it.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn unplug(&self, station: Station) -> Result<(), LabError> {
        self[station]
            .output("ip", &["link", "delete", "eth0"])
            .map(drop)
    }

    /// Makes a host's `eth0` anew after [`Lab::unplug`]: another device, with the MAC and the IPv4
    /// address of before.
    ///
    /// # Errors
    /// `ip` or `ethtool` fails.
    pub fn plug_in(&self, station: Station) -> Result<(), LabError> {
        self.plug_in_as(station, None)
    }

    /// The same under a kernel index that is free again.
    ///
    /// # Errors
    /// As [`Lab::plug_in`]; the index is taken.
    pub fn plug_in_as(&self, station: Station, index: Option<&str>) -> Result<(), LabError> {
        let host = &self[station];
        self.switch
            .plug_in(station, host.namespace().name(), index)?;
        host.set_up_link()
    }

    /// Takes the carrier from a host, or gives it back, as a switch port that goes down and up.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn set_carrier(&self, station: Station, up: bool) -> Result<(), LabError> {
        self.switch.set_carrier(station, up)
    }
}

impl Index<Station> for Lab {
    type Output = Host;

    fn index(&self, station: Station) -> &Host {
        let found = self.hosts.iter().find(|host| host.station() == station);
        found.expect("a lab has every station")
    }
}

/// Whether pins can be made.
pub(crate) fn require_bpffs() -> Result<(), LabError> {
    match statfs("/sys/fs/bpf") {
        Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        _ => Err(LabError::NoBpffs),
    }
}
