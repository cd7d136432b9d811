//! The proxy beside nginx and haproxy: what a request costs it, how long requests take, what idle
//! connections hold, and whether a long run or reloads cost requests.
//!
//! One worker on the first core; load and upstream share the second. All of it on the loopback of a
//! namespace.

mod cost;
mod latency;
mod memory;
mod proxies;
mod reload;
mod schedule;
mod shapes;
mod site;
mod soak;

use anyhow::Result;

/// Seconds of a soak and of reloads under `--all`.
const SHORT: u64 = 20;

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
    #[command(flatten)]
    what: What,
}

/// What is measured; the processor time of a request over HTTP/1.1 in clear if nothing is named.
#[derive(clap::Args)]
#[group(multiple = false)]
struct What {
    /// Processor time with clients that speak TLS
    #[arg(long)]
    tls: bool,
    /// Processor time with clients that speak HTTP/2 over TLS
    #[arg(long)]
    http2: bool,
    /// How long requests take at a fixed rate, however late the answers are
    #[arg(long)]
    latency: bool,
    /// Memory of idle connections
    #[arg(long)]
    memory: bool,
    /// So many seconds at 80 % of what the proxy can serve: errors, and memory; hafw-l7 alone unless others are
    /// named
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// So many seconds with a reload in each: requests that fail
    #[arg(long, value_name = "SECONDS")]
    reload: Option<u64>,
    /// All of these, one after the other
    #[arg(long)]
    all: bool,
}

impl Args {
    pub(super) fn needs_hafw(&self) -> bool {
        self.wants(proxies::HAFW)
    }

    fn wants(&self, name: &str) -> bool {
        self.proxy.is_empty() || self.proxy.iter().any(|proxy| proxy == name)
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let What {
        tls,
        http2,
        latency,
        memory,
        soak,
        reload,
        all,
    } = args.what;
    let others = tls || http2 || latency || memory || soak.is_some() || reload.is_some();
    if all || !others {
        cost::run(args, &shapes::CLEAR, args.logs)?;
    }
    if all {
        cost::run(args, &shapes::CLEAR, true)?;
    }
    if all || tls {
        cost::run(args, &shapes::TLS, args.logs)?;
    }
    if all || http2 {
        cost::run(args, &shapes::HTTP2, args.logs)?;
    }
    if all || latency {
        latency::run(args)?;
    }
    if all || memory {
        memory::run(args)?;
    }
    if let Some(seconds) = reload.or(all.then_some(SHORT)) {
        reload::run(args, seconds)?;
    }
    if let Some(seconds) = soak.or(all.then_some(SHORT)) {
        soak::run(args, seconds)?;
    }
    Ok(())
}
