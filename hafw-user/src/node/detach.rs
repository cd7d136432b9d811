//! `hafw detach`: takes away what a dead controller left.

use std::path::Path;

use anyhow::Context as _;
use hafw_l7::control::{SOCKET_NAME, client::Control};
use tokio::runtime;

use super::{start::Parts, stop::withdraw, system};
use crate::{
    config::{self, Remains},
    datapath::PinDir,
    net::{Routes, Sysctls, Watch},
};

/// Removes links, pins, routes, filters and saved sysctls of the node that this file describes, and
/// stops its proxy. Refused while a controller runs.
///
/// # Errors
/// The file, a running controller, or the kernel.
pub fn detach(file: &Path) -> anyhow::Result<()> {
    let Remains {
        state_dir,
        pin_dir,
        interfaces,
    } = config::remains(file)?;
    system::check()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let pins = PinDir::lock(&pin_dir)?;
        // Fails where no proxy runs.
        let _ = Control::new(state_dir.join(SOCKET_NAME)).stop().await;
        let watch = Watch::open()?;
        let parts = Parts {
            routes: Routes::new(watch.handle()),
            sysctls: Sysctls::new(&state_dir),
            pins,
        };
        withdraw(parts, &interfaces).await?;
        // Fails where there is none.
        let _ = std::fs::remove_file(state_dir.join("control.sock"));
        Ok(())
    })
}
