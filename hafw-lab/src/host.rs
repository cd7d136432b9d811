//! One host of the lab, and what can be done to it.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::sys::signal::{Signal, kill};

use crate::{LabError, Namespace, Station, shell, wait_for};

/// A host: its namespace, its address on `eth0`, and its folders.
#[derive(Clone, Debug)]
pub struct Host {
    station: Station,
    namespace: Arc<Namespace>,
    files: PathBuf,
    state: PathBuf,
    pins: PathBuf,
}

impl Host {
    /// Configures the host's end of the link that the switch made.
    pub(crate) fn configure(
        station: Station,
        namespace: Arc<Namespace>,
        [files, state, pins]: [PathBuf; 3],
    ) -> Result<Self, LabError> {
        for dir in [&files, &state] {
            fs::create_dir_all(dir).map_err(LabError::io(format!("make {}", dir.display())))?;
        }
        let host = Self {
            station,
            namespace,
            files,
            state,
            pins,
        };
        host.set_up_link()?;
        Ok(host)
    }

    /// Configures its end of a link that the switch made.
    pub(crate) fn set_up_link(&self) -> Result<(), LabError> {
        let address = format!("{}/24", self.station.address());
        self.output("ip", &["address", "add", &address, "dev", "eth0"])?;
        self.output("ip", &["link", "set", "eth0", "up"])?;
        // Native XDP on veth carries no unfinished checksums, so nobody may leave them undone.
        self.output("ethtool", &["-K", "eth0", "tx", "off"])?;
        Ok(())
    }

    /// Which host it is.
    #[must_use]
    pub const fn station(&self) -> Station {
        self.station
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Folder for what a person may want to read: configurations and logs.
    #[must_use]
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Folder for sockets and process ids; short, as a socket's path has to be.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its folder on the host's bpffs; not made here.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Writes a file below [`Host::files`] and returns its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        let path = self.files.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = made.and_then(|()| fs::write(&path, text));
        written.map_err(LabError::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Runs a program on the host to its end and returns what it printed.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn output(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<String, LabError> {
        self.namespace
            .output(Command::new(program.as_ref()).args(args))
    }

    /// Makes a VIP local without an address, as a backend behind a `dsr` service needs it: the host
    /// accepts what comes for it, and neither answers ARP for it nor asks in its name.
    ///
    /// # Errors
    /// The route or the sysctls cannot be set.
    pub fn accept_vip(&self, vip: impl Into<IpAddr>) -> Result<(), LabError> {
        // Over IPv6 only an address is answered for, a route is not.
        self.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        self.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
        let (name, vip) = (self.namespace.name(), vip.into().to_string());
        shell::run(
            "ip",
            &["-n", name, "route", "add", "local", &vip, "dev", "lo"],
        )
        .map(drop)
    }

    /// Sets a sysctl of the host's network; `key` is a path below /proc/sys.
    ///
    /// # Errors
    /// There is no such key, or the value is refused.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = Path::new("/proc/sys").join(key);
        let written = self
            .namespace
            .run(|| fs::write(&path, value))
            .and_then(|result| result);
        written.map_err(LabError::io(format!("set {key} to {value}")))
    }

    /// Drops what comes in for the host's INPUT chain and matches, such as `meta l4proto 112`: the
    /// lesson's logical cause of a split brain.
    ///
    /// # Errors
    /// nft refuses the rule.
    pub fn drop_input(&self, matches: &str) -> Result<(), LabError> {
        self.firewall("input", matches)
    }

    /// Drops what the host sends through its OUTPUT chain and matches.
    ///
    /// # Errors
    /// nft refuses the rule.
    pub fn drop_output(&self, matches: &str) -> Result<(), LabError> {
        self.firewall("output", matches)
    }

    /// Removes the rules of [`Host::drop_input`] and [`Host::drop_output`].
    ///
    /// # Errors
    /// nft fails.
    pub fn open_firewall(&self) -> Result<(), LabError> {
        self.nft("add table inet lab; delete table inet lab")
    }

    /// Forgets all neighbours, as a host that was away for long.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn flush_neighbours(&self) -> Result<(), LabError> {
        shell::run(
            "ip",
            &["-n", self.namespace.name(), "neigh", "flush", "dev", "eth0"],
        )
        .map(drop)
    }

    /// TCP segments that the host has sent more than once, as its kernel counts them.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn retransmitted(&self) -> Result<u64, LabError> {
        let read = || fs::read_to_string("/proc/thread-self/net/snmp");
        let text = self.namespace.run(read).and_then(|result| result);
        let text = text.map_err(LabError::io("read the counters of TCP"))?;
        // A line of names and a line of values.
        let mut lines = text.lines().filter(|line| line.starts_with("Tcp: "));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let mut counters = names.split(' ').zip(values.split(' '));
        let found = counters.find_map(|(name, value)| {
            (name == "RetransSegs")
                .then(|| value.parse().ok())
                .flatten()
        });
        found.ok_or_else(|| LabError::Unexpected("no RetransSegs in net/snmp".to_owned()))
    }

    /// The node dies: every process on it is stopped, then killed, as by the OOM killer.
    ///
    /// # Errors
    /// A process does not end.
    pub fn kill_processes(&self) -> Result<(), LabError> {
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in self.namespace.processes() {
                // It may have ended meanwhile.
                let _ = kill(pid, signal);
            }
        }
        let what = format!("the processes on {} to end", self.station);
        wait_for(std::time::Duration::from_secs(5), what, || {
            self.namespace.processes().is_empty()
        })
        .map(drop)
    }

    fn firewall(&self, chain: &str, matches: &str) -> Result<(), LabError> {
        self.nft(&format!(
            "add table inet lab; \
             add chain inet lab {chain} {{ type filter hook {chain} priority 0 ; }}; \
             add rule inet lab {chain} {matches} drop"
        ))
    }

    fn nft(&self, rules: &str) -> Result<(), LabError> {
        self.output("nft", &[rules]).map(drop)
    }
}
