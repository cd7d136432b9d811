//! Messages of the eBPF programs: rare events, such as a lease that an advert ended.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{debug, warn};

/// Passes what a program instance logs on to this process's log, until the runtime ends.
pub(super) fn forward(ebpf: &mut Ebpf) {
    let logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        // A build without log messages has no map for them.
        Err(error) => return debug!(%error, "the programs' messages cannot be read"),
    };
    // SAFETY: the logger's descriptor is its ring's, which it owns and keeps for its whole life.
    match unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) } {
        Ok(mut logger) => {
            tokio::spawn(async move {
                while let Ok(mut guard) = logger.readable_mut().await {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
            });
        }
        Err(error) => warn!(%error, "the programs' messages are not waited for"),
    }
}
