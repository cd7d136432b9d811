//! FRR's vrrpd: version 3, one virtual router of each family.

use std::{path::PathBuf, time::Duration};

use crate::{Daemon, Host, LabError, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6, wait_for};

/// Where Debian has the daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// Its macvlan for each family, with the MAC that makes vrrpd take it for a router of VRID 51.
const LINKS: [(&str, &str); 2] = [
    ("vrrp4", "00:00:5e:00:01:33"),
    ("vrrp6", "00:00:5e:00:02:33"),
];

/// FRR on a node: VRID 51 with [`VIP_WWW`], and with [`VIP_LINK_LOCAL`] and [`VIP_WWW_V6`].
#[derive(Debug)]
pub struct Frr {
    zebra: Daemon,
    vrrpd: Daemon,
    host: Host,
    /// Their sockets.
    dir: PathBuf,
}

impl Frr {
    /// Makes the macvlans with their VIPs, which vrrpd only sets up and down, and writes the files.
    /// Nothing is started yet.
    ///
    /// # Errors
    /// `ip` fails, or a file cannot be written.
    pub fn new(host: &Host, priority: u8, interval: Duration) -> Result<Self, LabError> {
        // A VIP stays an address of a macvlan that is set down; the kernel would answer for it by
        // eth0.
        host.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        let ip = |args: &str| {
            let args: Vec<_> = args.split(' ').collect();
            host.output("ip", &args).map(drop)
        };
        for (link, mac) in LINKS {
            ip(&format!(
                "link add {link} link eth0 address {mac} type macvlan mode bridge"
            ))?;
            // Its only link-local address is the VIP.
            ip(&format!("link set {link} addrgenmode none"))?;
        }
        ip(&format!("address add {VIP_WWW}/32 dev vrrp4"))?;
        // Detecting a duplicate would find the VIP's owner.
        ip(&format!(
            "-6 address add {VIP_LINK_LOCAL}/64 dev vrrp6 nodad"
        ))?;
        ip(&format!("-6 address add {VIP_WWW_V6}/64 dev vrrp6 nodad"))?;
        for (link, _) in LINKS {
            ip(&format!("link set {link} up"))?;
        }
        let config = format!(
            "interface eth0\n vrrp 51 version 3\n vrrp 51 priority {priority}\n \
             vrrp 51 advertisement-interval {}\n vrrp 51 ip {VIP_WWW}\n \
             vrrp 51 ipv6 {VIP_LINK_LOCAL}\n vrrp 51 ipv6 {VIP_WWW_V6}\n",
            interval.as_millis()
        );
        let config = host.write("vrrpd.conf", &config)?;
        let dir = host.state().join("frr");
        let sockets = dir.display().to_string();
        host.output("install", &["-d", "-o", "frr", "-g", "frrvty", &sockets])?;
        let daemon = |name: &str, config: &str| {
            let options = [
                ("-f", config.to_owned()),
                ("-i", format!("{sockets}/{name}.pid")),
                ("-z", format!("{sockets}/zserv.api")),
                ("--vty_socket", sockets.clone()),
                ("--log", "stdout".to_owned()),
            ];
            let args = options
                .into_iter()
                .flat_map(|(option, value)| [option.to_owned(), value]);
            let log = host.files().join(format!("{name}.log"));
            let title = format!("{name} on {}", host.station());
            let program = format!("{DAEMONS}/{name}");
            Daemon::new(title, host.namespace(), program, args, log)
        };
        let zebra_config = host.write("zebra.conf", "")?;
        Ok(Self {
            zebra: daemon("zebra", &zebra_config.display().to_string()),
            vrrpd: daemon("vrrpd", &config.display().to_string()),
            host: host.clone(),
            dir,
        })
    }

    /// Starts zebra, which tells vrrpd of the interfaces, and vrrpd.
    ///
    /// # Errors
    /// One of them cannot be started.
    pub fn start(&mut self) -> Result<(), LabError> {
        if !self.zebra.running() {
            self.zebra.start()?;
            // vrrpd would try again in ten seconds only.
            let socket = self.dir.join("zserv.api");
            wait_for(Duration::from_secs(10), "zebra's socket", || {
                socket.exists()
            })?;
        }
        self.vrrpd.start()
    }

    /// Ends vrrpd, which gives up its VIPs.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop(&mut self, patience: Duration) -> Result<(), LabError> {
        self.vrrpd.stop(patience).map(drop)
    }

    /// The states of the routers over IPv4 and IPv6 in FRR's words, such as `Master`.
    ///
    /// # Errors
    /// vrrpd does not answer, or has no such router yet.
    pub fn states(&self) -> Result<[String; 2], LabError> {
        let sockets = self.dir.display().to_string();
        let args = ["--vty_socket", &sockets, "-c", "show vrrp json"];
        let text = self.host.output("vtysh", &args)?;
        let routers: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| LabError::Unexpected(format!("vtysh said {text:?}: {error}")))?;
        let state = |family: &str| {
            let status = routers[0][family]["status"].as_str();
            status
                .map(str::to_owned)
                .ok_or_else(|| LabError::Unexpected(format!("no {family} router in {text}")))
        };
        Ok([state("v4")?, state("v6")?])
    }
}
