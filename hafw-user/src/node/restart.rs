//! `hafw restart`: this process becomes the binary that is on disk now, within its leases. The maps
//! and the programs stay, and the successor goes on with both as after a crash, only that nothing
//! was lost in between.

use std::{
    collections::BTreeSet,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use hafw_vrrp::VirtualRouter;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info};

use super::run::Node;
use crate::{control::Answer, sys::clock, vrrp::Snapshot};

/// More than a start takes until it renews a lease. Routers with shorter ones are handed over.
const START: Duration = Duration::from_millis(200);
/// The longest that a check of the file by the successor may take.
const CHECK: Duration = Duration::from_secs(10);
/// What the answer to whoever asked takes to leave.
const LAST_ANSWER: Duration = Duration::from_millis(20);
/// What alerts that wait may still take.
const LAST_ALERTS: Duration = Duration::from_secs(1);

/// What the node is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To end in order.
    Stop,
    /// To put the changed file into force.
    Reload,
    /// To become the binary on disk.
    Restart,
}

impl Node {
    /// On request.
    pub(super) async fn answer_restart(&mut self) -> Answer {
        match self.check_successor().await {
            Ok(()) => {
                self.wish = Some(Wish::Restart);
                Answer::Done("restarting within the leases".to_owned())
            }
            Err(error) => Answer::Error(format!("{error:#}; nothing was changed")),
        }
    }

    /// Lets the binary on disk look at the file on disk: what it would refuse must not end this
    /// process.
    pub(super) async fn check_successor(&self) -> anyhow::Result<()> {
        let exe = &self.exe;
        let check = tokio::process::Command::new(exe)
            .arg("check")
            .arg("-c")
            .arg(&self.file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(CHECK, check)
            .await
            .with_context(|| format!("{} check did not end", exe.display()))?
            .with_context(|| format!("cannot run {}", exe.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} would not start: {}", exe.display(), said.trim());
        }
        Ok(())
    }

    /// Replaces this process. Routers whose leases are too short for that go to a peer first, and
    /// come back by their priority. Returns only if it fails; the node then goes on.
    pub(super) async fn restart_without_loss(&mut self) {
        let short = self.short_leases();
        let taken = self.hand_over_all(short.clone());
        tokio::select! {
            () = self.serve() => {}
            () = taken => {}
        }
        sleep(LAST_ANSWER).await;
        self.alerts.finish(LAST_ALERTS).await;
        self.wait_for_fresh_leases().await;
        info!("restarting");
        let mut args = std::env::args_os();
        let mut command = Command::new(&self.exe);
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        let error = command.args(args).exec();
        error!(%error, exe = %self.exe.display(), "cannot restart: going on");
        for index in short {
            self.tracking.hand_over(index, false);
        }
    }

    /// Routers whose lease may be shorter than a start.
    fn short_leases(&self) -> BTreeSet<usize> {
        let snapshots = self.vrrp.snapshots();
        let short = |(index, snapshot): (usize, &Snapshot)| {
            (snapshot.router.is_active() && fresh_lease(&snapshot.router) < START).then_some(index)
        };
        snapshots.iter().enumerate().filter_map(short).collect()
    }

    /// Waits for a moment in which each lease was renewed just before, or is long anyway. With many
    /// routers there may be none: then not for ever.
    async fn wait_for_fresh_leases(&self) {
        let snapshots = self.vrrp.snapshots();
        let routers = || snapshots.iter().map(|snapshot| &snapshot.router);
        let longest = routers()
            .map(|router| router.config().interval.as_duration())
            .max();
        let fresh = || {
            let now = clock::now();
            routers().enumerate().all(|(index, router)| {
                let until = self.leases.lease(index).attract_until;
                let left = hafw_vrrp::Instant::from_nanos(until).saturating_duration_since(now);
                let enough = fresh_lease(router).min(START * 5);
                !self.leases.is_attracting(index, now) || left >= enough
            })
        };
        let deadline = Instant::now() + longest.unwrap_or_default() * 2;
        while !fresh() && Instant::now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What is left of a lease that was renewed a moment ago, at the least.
fn fresh_lease(router: &VirtualRouter) -> Duration {
    router.lease_length() - router.config().interval.as_duration() / 4
}
