//! What a request costs in the proxy: its own processor time, beside nginx and haproxy.
//!
//! One worker on the first core; load and upstream share the second. All of it on the loopback of a
//! namespace. The figure is the proxy's processor time for a request, not requests per second: with
//! a fast proxy the second core is the limit.

mod proxies;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use hafw_lab::{Daemon, Host, Lab, Station, wait_until};

use super::stats::{Series, print_table};
use proxies::{PROXIES, Proxy};

/// The core of the proxy, and the one of everything else.
const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of proxies; all if not given
    #[arg(long, value_parser = proxies::names())]
    proxy: Vec<String>,
    /// How often each is repeated
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// How long each load lasts, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// With access logs: nginx's combined format, haproxy's httplog
    #[arg(long)]
    logs: bool,
}

/// A kind of load.
struct Shape {
    name: &'static str,
    connections: &'static str,
    /// The file asked for, below each prefix.
    file: &'static str,
    /// Its length in bytes.
    length: usize,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "64 keep-alive",
        connections: "64",
        file: "small",
        length: 27,
    },
    Shape {
        name: "1024 keep-alive",
        connections: "1024",
        file: "small",
        length: 27,
    },
    Shape {
        name: "64 KB",
        connections: "64",
        file: "64k",
        length: 64 << 10,
    },
    Shape {
        name: "1 MB",
        connections: "16",
        file: "1m",
        length: 1 << 20,
    },
];

impl Args {
    pub(super) fn needs_hafw(&self) -> bool {
        self.wants(proxies::HAFW)
    }

    fn wants(&self, name: &str) -> bool {
        self.proxy.is_empty() || self.proxy.iter().any(|proxy| proxy == name)
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let lab = Lab::new("l7")?;
    let host = &lab[Station::Client];
    // Others' congestion control need not be allowed in a namespace, and pacing costs timers.
    host.sysctl("net/ipv4/tcp_congestion_control", "reno")?;
    let _upstream = upstream(host)?;
    let mut running = Vec::new();
    for proxy in PROXIES.iter().filter(|proxy| args.wants(proxy.name)) {
        running.push((
            proxy,
            start(proxy, host, args.logs)?,
            SHAPES.map(|_| Series::default()),
        ));
    }
    for round in 1..=args.repeat {
        for (column, shape) in SHAPES.iter().enumerate() {
            eprintln!("{}: run {round} of {}", shape.name, args.repeat);
            for (proxy, daemon, figures) in &mut running {
                let figure = load(host, proxy, daemon, shape, args.seconds)
                    .with_context(|| format!("{}, {}", proxy.name, shape.name))?;
                figures[column].push(figure);
            }
        }
    }
    println!(
        "Processor time of the proxy{}, µs a request, median (min-max) of {} runs.",
        if args.logs { " with access logs" } else { "" },
        args.repeat
    );
    let headings: Vec<_> = ["proxy"]
        .into_iter()
        .chain(SHAPES.map(|shape| shape.name))
        .collect();
    let rows: Vec<Vec<_>> = running
        .iter()
        .map(|(proxy, _, figures)| {
            let figures = figures.iter().map(ToString::to_string);
            [proxy.name.to_owned()].into_iter().chain(figures).collect()
        })
        .collect();
    print_table(&headings, &rows);
    Ok(())
}

/// An nginx that serves the bodies as fast as it can.
fn upstream(host: &Host) -> Result<Daemon> {
    for shape in &SHAPES {
        let body = "x".repeat(shape.length);
        for prefix in ["upload", "static", "other"] {
            host.write(&format!("upstream/{prefix}/{}", shape.file), &body)?;
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

fn start(proxy: &Proxy, host: &Host, logs: bool) -> Result<Daemon> {
    let file = format!("{}.conf", proxy.name.replace(' ', "-"));
    let config = host.write(&file, &(proxy.config)(host, proxy.port, logs))?;
    let args = ["-c", PROXY_CORE].map(str::to_owned).into_iter();
    let args = args.chain((proxy.command)(&config)?);
    let log = host.files().join(format!("{file}.log"));
    let mut daemon = Daemon::new(proxy.name, host.namespace(), "taskset", args, log);
    daemon.start()?;
    answers(host, &mut daemon, proxy.port)?;
    Ok(daemon)
}

fn answers(host: &Host, daemon: &mut Daemon, port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/upload/small");
    let ready = wait_until(
        Duration::from_secs(10),
        format!("{} to answer", daemon.name()),
        || {
            let args = [
                "-fsS",
                "--max-time",
                "1",
                "-H",
                "Host: www.oldboy.com",
                &url,
            ];
            host.output("curl", &args)
                .map_err(|error| error.to_string())
        },
    );
    daemon.expect_running()?;
    Ok(ready.map(drop)?)
}

/// µs of processor time for a request.
fn load(host: &Host, proxy: &Proxy, daemon: &Daemon, shape: &Shape, seconds: u64) -> Result<f64> {
    let script = host.write(&format!("{}.lua", shape.file), &script(shape.file))?;
    let url = format!("http://127.0.0.1:{}/", proxy.port);
    let wrk = |duration: &str| {
        let mut command = Command::new("taskset");
        command.args([
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            "-c",
            shape.connections,
            "-d",
            duration,
        ]);
        command
            .arg("--timeout")
            .arg("10s")
            .arg("-s")
            .arg(&script)
            .arg(&url);
        host.namespace().output(&mut command)
    };
    // Connections to the upstream, and caches.
    wrk("1s")?;
    let (before, start) = (daemon.cpu_time(), Instant::now());
    let text = wrk(&format!("{seconds}s"))?;
    let (used, took) = (daemon.cpu_time() - before, start.elapsed());
    let requests = text.lines().find_map(|line| {
        let (number, rest) = line.trim().split_once(' ')?;
        rest.starts_with("requests in")
            .then(|| number.parse::<f64>().ok())?
    });
    let requests = requests.filter(|&requests| requests > 0.0);
    let requests = requests.with_context(|| format!("wrk counted no requests:\n{text}"))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("not every request was answered well:\n{text}");
    }
    if used > took {
        bail!("the proxy used more than one core");
    }
    Ok(used.as_secs_f64() * 1e6 / requests)
}

/// Requests as browsers send them: three prefixes by three browsers.
fn script(file: &str) -> String {
    format!(
        r#"local agents = {{
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
  "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
}}
local requests, next = {{}}, 0
init = function()
  for _, prefix in ipairs({{ "upload", "static", "other" }}) do
    for _, agent in ipairs(agents) do
      requests[#requests + 1] = wrk.format("GET", "/" .. prefix .. "/{file}", {{
        ["Host"] = "www.oldboy.com",
        ["User-Agent"] = agent,
        ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
        ["Accept-Language"] = "en-GB,en;q=0.5",
        ["Accept-Encoding"] = "gzip, deflate, br",
        ["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=light",
      }})
    end
  end
end
request = function()
  next = next % #requests + 1
  return requests[next]
end
"#
    )
}
