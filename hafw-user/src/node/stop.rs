//! Stopping in order: release, serve what still arrives, and leave nothing behind.

use std::{pin::pin, time::Duration};

use anyhow::Context as _;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use super::{
    run::{Node, Proxy},
    start::Parts,
};
use crate::{datapath::remove_filters, sys::clock, vrrp::Snapshot};

/// Neighbours have learnt of the new owner when nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How long the last alerts may take.
const LAST_ALERTS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

impl Node {
    /// Releases every router, serves what still arrives while the proxy ends its requests, and takes
    /// everything out of the kernel. `again`: do not wait any longer.
    pub(super) async fn stop(mut self, again: impl Future<Output = ()>) -> anyhow::Result<()> {
        let before = self.vrrp.snapshots();
        self.vrrp.shutdown();
        let released = before
            .iter()
            .any(|snapshot| snapshot.router.is_active() || snapshot.in_grace);
        let deadline = Instant::now() + self.config.node.stop_timeout;
        let mut again = pin!(again);
        let mut hurried = false;
        if released {
            // Handshakes under way come to their end: what they open is still the proxy's.
            hurried = tokio::select! {
                () = sleep_until(deadline.min(Instant::now() + QUIET)) => false,
                () = &mut again => true,
            };
        }
        let mut proxy = self.proxy.take();
        if let Some(Proxy { handle, .. }) = &proxy
            && let Err(error) = handle.stop().await
        {
            warn!(%error, "the proxy");
        }
        if !hurried {
            let drained = timeout_at(deadline, self.drain(released, proxy.as_mut()));
            hurried = tokio::select! {
                drained = drained => {
                    if drained.is_err() {
                        let limit = self.config.node.stop_timeout;
                        warn!("not all has ended after {limit:?}: stopping all the same");
                    }
                    false
                }
                () = again => true,
            };
        }
        if hurried {
            warn!("told again to stop: not waiting any longer");
        }
        if let Some(proxy) = proxy {
            proxy.task.abort();
        }
        self.tell_the_end(if hurried { LOOK } else { LAST_ALERTS })
            .await;
        if let Err(error) = std::fs::remove_file(&self.socket) {
            warn!(%error, socket = %self.socket.display(), "cannot remove the control socket");
        }
        let names = self.ports.iter().map(|port| port.spec.name.clone());
        let names: Vec<_> = names.collect();
        let parts = self
            .parts
            .take()
            .context("the node was not started whole")?;
        withdraw(parts, &names).await?;
        info!("stopped");
        Ok(())
    }

    /// Once the routers have stopped, and that is known where alerts are made of it.
    async fn tell_the_end(&self, limit: Duration) {
        let start = Instant::now();
        let stopped = |snapshot: &Snapshot| {
            snapshot.router.state().kind() == hafw_vrrp::StateKind::Initialize
        };
        loop {
            let stopped = self.vrrp.snapshots().iter().all(stopped);
            sleep(LOOK).await;
            if stopped || start.elapsed() >= limit {
                break;
            }
        }
        self.alerts.finish(limit).await;
    }

    /// Waits for the last request of the proxy, of which nothing may be heard for long, and then
    /// until neighbours send nothing here any more.
    async fn drain(&self, released: bool, proxy: Option<&mut Proxy>) {
        if let Some(proxy) = proxy {
            // It ends with the proxy's process; it does not panic.
            let _ = (&mut proxy.task).await;
        }
        while released && !self.is_quiet() {
            sleep(LOOK).await;
        }
    }

    fn is_quiet(&self) -> bool {
        let now = clock::now();
        (0..self.routers.len()).all(|router| self.leases.idle_in_grace(router, now) >= QUIET)
    }
}

/// Takes links, pins, filters, routes and sysctls out of the kernel: the programs first, so that
/// nothing is answered without them, the sysctls last, which keep the kernel silent until then.
/// Every step is tried, whatever became of the ones before; the first failure is returned.
pub(super) async fn withdraw(parts: Parts, interfaces: &[String]) -> anyhow::Result<()> {
    let Parts {
        routes,
        sysctls,
        pins,
    } = parts;
    let cleared = pins.clear();
    interfaces.iter().for_each(|name| remove_filters(name));
    let routes = routes.clear().await;
    let restored = sysctls.restore();
    let removed = pins.remove_dir();
    cleared?;
    routes?;
    restored?;
    removed?;
    Ok(())
}
