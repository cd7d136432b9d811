//! Ctrl-C: the signals that ask a process to end set a flag, every wait in a lab looks at it, and
//! the lab is then dropped in the ordinary way.

use std::{
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static FLAG: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process.
///
/// # Errors
/// The handlers cannot be installed.
pub fn handle_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&FLAG))?;
    }
    Ok(())
}

/// Whether such a signal came.
#[must_use]
pub fn interrupted() -> bool {
    FLAG.load(Ordering::Relaxed)
}
