//! Stopping in order: release, serve what still arrives, and leave nothing behind.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{run::Node, start::Parts};
use crate::{datapath::remove_egress_filter, sys::clock};

/// A stop ends when nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

impl Node {
    /// Releases every router, serves the grace, stops the proxy, and takes everything out of the
    /// kernel. `again`: do not wait any longer.
    pub(super) async fn stop(mut self, again: impl Future<Output = ()>) -> anyhow::Result<()> {
        let before = self.vrrp.snapshots();
        self.vrrp.shutdown();
        if before
            .iter()
            .any(|snapshot| snapshot.router.is_active() || snapshot.in_grace)
        {
            tokio::select! {
                () = self.serve_grace() => {}
                () = again => warn!("told again to stop: not waiting for neighbours any longer"),
            }
        }
        if let Some(proxy) = self.proxy.take() {
            if let Err(error) = proxy.handle.stop().await {
                warn!(%error, "the proxy");
            }
            proxy.task.abort();
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            warn!(%error, socket = %self.socket.display(), "cannot remove the control socket");
        }
        let names: Vec<_> = self.attached.iter().map(|a| a.name.clone()).collect();
        let parts = self
            .parts
            .take()
            .context("the node was not started whole")?;
        withdraw(parts, &names).await?;
        info!("stopped");
        Ok(())
    }

    async fn serve_grace(&self) {
        let start = Instant::now();
        let limit = self.config.node.stop_timeout;
        while start.elapsed() < limit {
            sleep(LOOK).await;
            let now = clock::now();
            let quiet = |router| self.leases.idle_in_grace(router, now) >= QUIET;
            if start.elapsed() >= QUIET && (0..self.routers.len()).all(quiet) {
                return;
            }
        }
        warn!("neighbours still send here after {limit:?}: stopping all the same");
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
    interfaces
        .iter()
        .for_each(|name| remove_egress_filter(name));
    let routes = routes.clear().await;
    let restored = sysctls.restore();
    let removed = pins.remove_dir();
    cleared?;
    routes?;
    restored?;
    removed?;
    Ok(())
}
