//! systemd, if it started this process (`dist/systemd/hafw.service`): it is told when the node is
//! ready, that it stops, and, with `WatchdogSec=`, that it lives. A node that hangs has lost its
//! VIPs to a peer by then, by its lease; systemd ends it, and starts one that can take them back.

use sd_notify::NotifyState;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use crate::vrrp::Handle;

/// Routers take part, or wait for what they need.
pub(super) fn ready() {
    drop(tell(NotifyState::Ready));
}

/// From now on the end is wanted.
pub(super) fn stopping() {
    drop(tell(NotifyState::Stopping));
}

/// Says that the node lives, while the VRRP thread answers and this event loop runs.
pub(super) fn watch(vrrp: Handle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        // Half of it, as sd_watchdog_enabled(3) advises.
        let mut tick = interval(limit / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // Without an answer nothing is said until there is one, and systemd acts.
            if vrrp.echo().await.is_ok() {
                // One at a time: a manager that does not read must not be written to for ever.
                let _ = tell(NotifyState::Watchdog).await;
            }
        }
    });
}

/// Nothing is sent, and that is well, where no manager waits for it. One that does not read would
/// hold up whoever writes: not the event loop.
fn tell(state: NotifyState<'static>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = sd_notify::notify(&[state]) {
            warn!(%error, "the service manager cannot be told");
        }
    })
}
