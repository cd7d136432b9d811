//! keepalived, as the lesson runs it.

use std::fmt::Write as _;

use crate::{Daemon, Host, LabError, peers::Router};

/// A keepalived on a node.
#[derive(Debug)]
pub struct Keepalived {
    /// Its process. The tree of it is what a node has: keepalived runs VRRP in a child.
    pub daemon: Daemon,
}

impl Keepalived {
    /// Writes `keepalived.conf` on the host. It is not started yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(host: &Host, routers: &[Router]) -> Result<Self, LabError> {
        Self::with_config(host, &keepalived_config(host, routers, ""))
    }

    /// The same with a configuration of one's own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn with_config(host: &Host, config: &str) -> Result<Self, LabError> {
        let file = host.write("keepalived.conf", config)?;
        let mut args = vec![
            "--dont-fork".to_owned(),
            "--log-console".to_owned(),
            "--log-detail".to_owned(),
            "--vrrp".to_owned(),
        ];
        args.extend(["--use-file".to_owned(), file.display().to_string()]);
        // Several instances run on one machine and must not see each other's process ids.
        for (option, name) in [("--pid", "keepalived.pid"), ("--vrrp_pid", "vrrp.pid")] {
            args.extend([
                option.to_owned(),
                host.state().join(name).display().to_string(),
            ]);
        }
        let log = host.files().join("keepalived.log");
        let name = format!("keepalived on {}", host.station());
        Ok(Self {
            daemon: Daemon::new(name, host.namespace(), "keepalived", args, log),
        })
    }
}

/// Text of a `keepalived.conf` for a host; `globals` stands in its `global_defs` as it is.
#[must_use]
pub fn keepalived_config(host: &Host, routers: &[Router], globals: &str) -> String {
    let id = host.station().name();
    let mut text = format!("global_defs {{\n    router_id {id}\n{globals}");
    if routers.iter().any(|router| router.timing.version() == 3) {
        text += "    vrrp_version 3\n";
    }
    text += "}\n";
    for router in routers {
        let Router {
            name,
            vrid,
            priority,
            vip,
            timing,
        } = router;
        let state = if *priority > 100 { "MASTER" } else { "BACKUP" };
        let seconds = timing.interval().as_secs_f64();
        let _ = write!(
            text,
            "\nvrrp_instance {name} {{\n    state {state}\n    interface eth0\n    \
             virtual_router_id {vrid}\n    priority {priority}\n    advert_int {seconds}\n"
        );
        if timing.version() == 2 {
            text += "    authentication {\n        auth_type PASS\n        auth_pass 1111\n    }\n";
        }
        let _ = write!(
            text,
            "    virtual_ipaddress {{\n        {vip}/24\n    }}\n}}\n"
        );
    }
    text
}
