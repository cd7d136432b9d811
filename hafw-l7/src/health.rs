//! Probes of upstream servers. The main thread makes them, once for all workers, and tells these
//! what it has found.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

use crate::{
    model::{Address, Health, ProxyConfig},
    proxy::worker::HealthReports,
};

/// The longest status line that is read.
const STATUS_LINE: usize = 64;

/// The probes of one configuration; they end when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Probers {
    tasks: Vec<JoinHandle<()>>,
}

impl Probers {
    /// Starts the probes of a configuration whose names have been resolved. Must be called within
    /// a `LocalSet`.
    pub(crate) fn start(config: &ProxyConfig, reports: &HealthReports) -> Self {
        let mut tasks = Vec::new();
        for upstream in &config.upstreams {
            let Some(health) = &upstream.health else {
                continue;
            };
            for server in &upstream.servers {
                // One that has no address yet.
                if matches!(server.address, Address::Name { .. }) {
                    continue;
                }
                let prober = Prober {
                    upstream: upstream.name.clone(),
                    address: server.address.clone(),
                    health: health.clone(),
                };
                tasks.push(tokio::task::spawn_local(prober.run(reports.clone())));
            }
        }
        Self { tasks }
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Prober {
    upstream: String,
    address: Address,
    health: Health,
}

impl Prober {
    async fn run(self, reports: HealthReports) {
        let mut ticks = interval(self.health.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut verdict = Verdict::default();
        loop {
            ticks.tick().await;
            let probed = self.probe().await;
            if let Some(is_up) = verdict.observe(probed.is_ok(), &self.health) {
                let (upstream, address) = (&self.upstream, &self.address);
                match probed {
                    Ok(()) => info!(upstream, %address, "probes say that the server is up"),
                    Err(why) => warn!(upstream, %address, why, "probes say that it is down"),
                }
                reports.tell(upstream, address, is_up);
            }
        }
    }

    async fn probe(&self) -> Result<(), String> {
        let Health {
            timeout: patience, ..
        } = self.health;
        let probed = timeout(patience, async {
            match &self.address {
                Address::Ip(address) => {
                    let mut address = *address;
                    address.set_port(self.health.port.unwrap_or(address.port()));
                    let stream = TcpStream::connect(address).await;
                    self.ask(stream.map_err(|error| error.to_string())?).await
                }
                Address::Unix(path) => {
                    let stream = UnixStream::connect(path).await;
                    self.ask(stream.map_err(|error| error.to_string())?).await
                }
                Address::Name { .. } => Err("the name has no address".to_owned()),
            }
        });
        let failed = || format!("no answer within {patience:?}");
        probed.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Asks for the path that is to be looked at, if there is one.
    async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
        let Some(path) = &self.health.http else {
            return Ok(());
        };
        let address = match &self.address {
            // As nginx names one.
            Address::Unix(_) => "localhost".to_owned(),
            address @ (Address::Ip(_) | Address::Name { .. }) => address.to_string(),
        };
        let host = self.health.host.as_deref().unwrap_or(&address);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hafw\r\nConnection: close\r\n\r\n"
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let mut part = [0; STATUS_LINE];
        while bytes.len() < STATUS_LINE && !bytes.contains(&b'\n') {
            let len = stream.read(&mut part).await;
            match len.map_err(|error| error.to_string())? {
                0 => break,
                len => bytes.extend_from_slice(part.get(..len).unwrap_or_default()),
            }
        }
        let line = String::from_utf8_lossy(&bytes);
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let status: Option<u16> = status.and_then(|status| status.parse().ok());
        match status {
            Some(status) if self.health.expect_status.contains(&status) => Ok(()),
            Some(status) => Err(format!("status {status}")),
            None => Err("an answer that is not HTTP".to_owned()),
        }
    }
}

/// What the last probes come to.
#[derive(Debug, Default)]
struct Verdict {
    is_up: Option<bool>,
    last: bool,
    in_a_row: u32,
}

impl Verdict {
    /// The verdict, if this probe has changed it. The first one counts as a change: the workers
    /// may know otherwise from an earlier configuration.
    fn observe(&mut self, good: bool, health: &Health) -> Option<bool> {
        if self.last != good {
            self.in_a_row = 0;
        }
        self.last = good;
        self.in_a_row = self.in_a_row.saturating_add(1);
        let enough = if good { health.rise } else { health.fall };
        let changes = self.in_a_row >= enough && self.is_up != Some(good);
        changes.then(|| *self.is_up.insert(good))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_verdict_needs_enough_probes_in_a_row_and_is_told_once() {
        let health = Health {
            http: None,
            host: None,
            expect_status: Vec::new(),
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        };
        let mut verdict = Verdict::default();
        let probes = [
            true, true, true, false, false, true, false, false, false, false, true, true,
        ];

        let told: Vec<_> = probes
            .into_iter()
            .map(|good| verdict.observe(good, &health))
            .collect();

        let mut expected = [None; 12];
        expected[1] = Some(true);
        expected[8] = Some(false);
        expected[11] = Some(true);
        assert_eq!(told, expected);
    }
}
