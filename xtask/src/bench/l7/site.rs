//! Where the proxies run: a namespace with the upstream, certificates, and the proxies asked for.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use hafw_lab::{Daemon, Host, Lab, Station, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    Args,
    proxies::{self, PROXIES, Proxy, Setting},
    shapes::FILES,
};

/// The core of the proxy, and the one of everything else.
pub(super) const PROXY_CORE: &str = "0";
pub(super) const LOAD_CORE: &str = "1";

/// The host of every request, and of the certificate.
pub(super) const NAME: &str = "www.oldboy.com";

/// A namespace with an upstream.
pub(super) struct Site {
    _upstream: Daemon,
    /// A certificate with its key, and each alone.
    both: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    lab: Lab,
}

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) proxy: &'static Proxy,
    pub(super) daemon: Daemon,
}

impl Site {
    pub(super) fn new(purpose: &str) -> Result<Self> {
        // Whatever is started from here inherits the limit.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let lab = Lab::new(purpose)?;
        let host = &lab[Station::Client];
        // Others' congestion control need not be allowed in a namespace, and pacing costs timers.
        host.sysctl("net/ipv4/tcp_congestion_control", "reno")?;
        // A connection per request uses many ports.
        host.sysctl("net/ipv4/ip_local_port_range", "10240 65535")?;
        host.sysctl("net/core/somaxconn", "4096")?;
        let [both, certificate, key] = certificate(host)?;
        Ok(Self {
            _upstream: upstream(host)?,
            both,
            certificate,
            key,
            lab,
        })
    }

    pub(super) fn host(&self) -> &Host {
        &self.lab[Station::Client]
    }

    /// Starts the proxies that `args` asks for.
    pub(super) fn start_all(&self, args: &Args, logs: bool) -> Result<Vec<Running>> {
        let wanted = PROXIES.iter().filter(|proxy| args.wants(proxy.name));
        wanted.map(|proxy| self.start(proxy, logs)).collect()
    }

    /// Starts a proxy, and waits until it answers.
    pub(super) fn start(&self, proxy: &'static Proxy, logs: bool) -> Result<Running> {
        let host = self.host();
        let file = format!("{}.conf", proxy.name.replace(' ', "-"));
        let setting = Setting {
            host,
            port: proxy.port,
            tls_port: proxy.tls_port(),
            both: &self.both,
            certificate: &self.certificate,
            key: &self.key,
            logs,
        };
        let config = host.write(&file, &(proxy.config)(&setting))?;
        let args = ["-c", PROXY_CORE].map(str::to_owned).into_iter();
        let args = args.chain((proxy.command)(&config)?);
        let log = host.files().join(format!("{file}.log"));
        let mut daemon = Daemon::new(proxy.name, host.namespace(), "taskset", args, log);
        daemon.start()?;
        answers(host, &mut daemon, proxy.port)?;
        Ok(Running { proxy, daemon })
    }
}

/// An nginx that serves the bodies as fast as it can.
fn upstream(host: &Host) -> Result<Daemon> {
    for file in &FILES {
        let body = "x".repeat(file.length);
        for prefix in ["upload", "static", "other"] {
            host.write(&format!("upstream/{prefix}/{}", file.name), &body)?;
        }
    }
    let config = host.write("upstream.conf", &proxies::upstream(host))?;
    let args = ["-c", LOAD_CORE, "nginx", "-e", "stderr", "-c"]
        .map(str::to_owned)
        .into_iter();
    let args = args.chain([config.display().to_string()]);
    let log = host.files().join("upstream.log");
    let mut daemon = Daemon::new("the upstream", host.namespace(), "taskset", args, log);
    daemon.start()?;
    answers(host, &mut daemon, proxies::UPSTREAM_PORT)?;
    Ok(daemon)
}

/// A certificate with its key in one file, and each in its own.
fn certificate(host: &Host) -> Result<[PathBuf; 3]> {
    let [both, certificate, key] =
        ["both.pem", "cert.pem", "key.pem"].map(|name| host.files().join(name));
    let (subject, name) = (format!("/CN={NAME}"), format!("subjectAltName=DNS:{NAME}"));
    let [certificate_path, key_path] = [&certificate, &key].map(|path| path.display().to_string());
    let args = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "7",
        "-subj",
        &subject,
        "-addext",
        &name,
        "-out",
        &certificate_path,
        "-keyout",
        &key_path,
    ];
    host.output("openssl", &args)?;
    let text = [&certificate, &key].map(std::fs::read_to_string);
    let [first, second] = text;
    host.write("both.pem", &(first? + &second?))?;
    Ok([both, certificate, key])
}

fn answers(host: &Host, daemon: &mut Daemon, port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/upload/small");
    let header = format!("Host: {NAME}");
    let ready = wait_until(
        Duration::from_secs(10),
        format!("{} to answer", daemon.name()),
        || {
            let args = ["-fsS", "--max-time", "1", "-H", &header, &url];
            host.output("curl", &args)
                .map_err(|error| error.to_string())
        },
    );
    daemon.expect_running()?;
    Ok(ready.map(drop)?)
}
