//! hafw itself: the built binary, from outside.

use std::{
    env,
    fmt::Write as _,
    net::SocketAddrV4,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{Daemon, Host, LabError, Station, lab, peers::Router, wait_until};

/// A hafw on a node.
#[derive(Debug)]
pub struct Hafw {
    /// The controller's process. Its tree has the proxy too.
    pub daemon: Daemon,
    host: Host,
    binary: PathBuf,
    config: PathBuf,
}

/// What `hafw status --json` says, as far as the lab looks at it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeState {
    /// Whether the controller took the maps over from an earlier one.
    pub adopted: bool,
    /// Interfaces.
    pub interfaces: Vec<InterfaceState>,
    /// Virtual routers.
    pub routers: Vec<RouterState>,
    /// L4 services.
    pub services: Vec<ServiceState>,
    /// All of it.
    #[serde(skip)]
    pub json: serde_json::Value,
}

/// One interface.
#[derive(Clone, Debug, Deserialize)]
pub struct InterfaceState {
    /// Name.
    pub name: String,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// Its MAC; empty while it is missing.
    pub mac: String,
    /// Why it cannot be used; empty while it can.
    pub trouble: String,
}

/// One virtual router.
#[derive(Clone, Debug, Deserialize)]
pub struct RouterState {
    /// Name.
    pub name: String,
    /// `active`, `backup`, `fault` or `initialize`.
    pub state: String,
    /// VRID.
    pub vrid: u8,
    /// What is advertised.
    pub effective_priority: u8,
    /// Answers ARP for its VIPs.
    pub attracting: bool,
    /// VIPs.
    pub vips: Vec<String>,
    /// Why it is in a fault, or its priority another than configured.
    pub reasons: Vec<String>,
}

/// One L4 service.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceState {
    /// Name.
    pub name: String,
    /// Backends.
    pub backends: Vec<BackendState>,
}

/// One backend of a service.
#[derive(Clone, Debug, Deserialize)]
pub struct BackendState {
    /// Address and port.
    pub address: String,
    /// Its weight; 0 of one that is drained or has gone.
    pub weight: u32,
    /// Gets new flows.
    pub up: bool,
    /// The next hop's MAC; empty while it is not resolved.
    pub next_hop: String,
    /// Frames steered to it.
    pub packets: u64,
}

/// What `hafw trace` says of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The backend that the flow's hash names.
    pub backend: Option<Station>,
    /// `steered`, `local`, `passed`, or `dropped` and why.
    pub verdict: String,
}

impl Hafw {
    /// The binary beside the program that runs: cargo builds tests into the same target folder.
    ///
    /// # Errors
    /// It is not built.
    pub fn built() -> Result<PathBuf, LabError> {
        let own = env::current_exe().map_err(LabError::io("find this program's file"))?;
        let mut dirs = own.ancestors().skip(1).take(2).map(|dir| dir.join("hafw"));
        dirs.find(|file| file.is_file()).ok_or_else(|| {
            let dir = own.parent().unwrap_or(&own).display();
            LabError::Unexpected(format!(
                "no hafw beside {dir}; `cargo xtask build` builds it"
            ))
        })
    }

    /// Writes `hafw.toml` on the host. It is not started yet. [`hafw_config`] makes a file's text.
    ///
    /// # Errors
    /// The file cannot be written; there is no bpffs.
    pub fn new(host: &Host, binary: &Path, config: &str) -> Result<Self, LabError> {
        lab::require_bpffs()?;
        let config = host.write("hafw.toml", config)?;
        let args = [
            "run".to_owned(),
            "-c".to_owned(),
            config.display().to_string(),
        ];
        let name = format!("hafw on {}", host.station());
        let log = host.files().join("hafw.log");
        let daemon = Daemon::new(name, host.namespace(), binary, args, log);
        Ok(Self {
            daemon,
            host: host.clone(),
            binary: binary.to_owned(),
            config,
        })
    }

    /// Starts the built binary on the host, with this file.
    ///
    /// # Errors
    /// As [`Hafw::built`] and [`Hafw::new`]; it cannot be started.
    pub fn start(host: &Host, config: &str) -> Result<Self, LabError> {
        let mut hafw = Self::new(host, &Self::built()?, config)?;
        hafw.daemon.start()?;
        Ok(hafw)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The binary that it runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.host.state().join("control.sock")
    }

    /// Runs a command of the binary against this node, such as `trace`, and returns what it prints.
    ///
    /// # Errors
    /// The command fails.
    pub fn ask(&self, args: &[&str]) -> Result<String, LabError> {
        let socket = self.socket();
        let socket = socket.to_string_lossy();
        let args: Vec<_> = args.iter().copied().chain(["--socket", &socket]).collect();
        self.host.output(&self.binary, &args)
    }

    /// Asks the node where a flow goes.
    ///
    /// # Errors
    /// It does not answer, or not in the form that is expected.
    pub fn trace(
        &self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        protocol: &str,
    ) -> Result<Traced, LabError> {
        let (from, to) = (from.to_string(), to.to_string());
        let text = self.ask(&["trace", "--from", &from, "--to", &to, "--proto", protocol])?;
        let backend = text.lines().find_map(|line| {
            let (address, _) = line.strip_prefix("backend ")?.split_once(':')?;
            Station::ALL
                .into_iter()
                .find(|station| station.address().to_string() == address)
        });
        let verdict = text.lines().find_map(|line| line.strip_prefix("=> "));
        let unexpected = || LabError::Unexpected(format!("hafw trace has no verdict: {text}"));
        Ok(Traced {
            backend,
            verdict: verdict.ok_or_else(unexpected)?.to_owned(),
        })
    }

    /// Asks the node for its status.
    ///
    /// # Errors
    /// It does not answer, or not in the form that is expected.
    pub fn status(&self) -> Result<NodeState, LabError> {
        let text = self.ask(&["status", "--json"])?;
        let unexpected =
            |error| LabError::Unexpected(format!("hafw status --json: {error}: {text}"));
        let json: serde_json::Value = serde_json::from_str(&text).map_err(unexpected)?;
        let state = NodeState::deserialize(&json).map_err(unexpected)?;
        Ok(NodeState { json, ..state })
    }

    /// Waits until a router is in a state.
    ///
    /// # Errors
    /// It is not in time, or the controller ended.
    pub fn wait_for_router(
        &mut self,
        router: &str,
        state: &str,
        deadline: Duration,
    ) -> Result<(), LabError> {
        let what = format!("{}: {router} to be {state}", self.daemon.name());
        self.wait_for(what, deadline, |status| {
            let found = status.routers.iter().find(|found| found.name == router);
            match found {
                Some(found) if found.state == state => Ok(()),
                Some(found) => Err(format!("it is {}", found.state)),
                None => Err("there is no such router".to_owned()),
            }
        })
    }

    /// Waits until the status is as wanted; `check` says what is not.
    ///
    /// # Errors
    /// It is not in time, or the controller ended.
    pub fn wait_for(
        &mut self,
        what: impl Into<String>,
        deadline: Duration,
        mut check: impl FnMut(&NodeState) -> Result<(), String>,
    ) -> Result<(), LabError> {
        let mut ended = None;
        wait_until(deadline, what, || {
            if let Err(error) = self.daemon.expect_running() {
                ended = Some(error);
                return Ok(());
            }
            self.status()
                .map_err(|error| error.to_string())
                .and_then(|status| check(&status))
        })?;
        ended.map_or(Ok(()), Err)
    }
}

/// Text of a `hafw.toml` for a host: node, interface and routers, then `rest` as it is.
#[must_use]
pub fn hafw_config(host: &Host, routers: &[Router], rest: &str) -> String {
    let mut text = format!(
        "[node]\nid = \"{id}\"\nstate_dir = \"{state}\"\npin_dir = \"{pins}\"\n\n\
         [[interface]]\nname = \"eth0\"\n",
        id = host.station().name(),
        state = host.state().display(),
        pins = host.pins().display(),
    );
    for router in routers {
        let Router {
            name,
            vrid,
            priority,
            vip,
            timing,
        } = router;
        let interval = timing.interval();
        let _ = write!(
            text,
            "\n[[virtual_router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\n\
             version = {version}\npriority = {priority}\nadvertisement_interval = \"{interval:?}\"\n",
            version = timing.version(),
        );
        if timing.version() == 2 {
            text += "authentication = { type = \"pass\", password = \"1111\" }\n";
        }
        let _ = writeln!(text, "vips = [\"{vip}/24\"]");
    }
    text + rest
}
