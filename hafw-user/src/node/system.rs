//! What the machine must offer before anything is touched.

use std::{fs, path::Path};

use aya::util::KernelVersion;
use rustix::process::geteuid;
use thiserror::Error;

/// bpf_link for XDP, ring buffers, mmapable arrays and `bpf_loop`-free programs of this size are
/// older; what needs 6.1 is the test coverage: Debian 12's kernel is the oldest that is run.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// The machine cannot run a node.
#[derive(Debug, Error)]
pub(super) enum SystemError {
    /// Not root.
    #[error(
        "not permitted: loading BPF programs, raw sockets and routes need root (or CAP_BPF, \
         CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON and CAP_SYS_RESOURCE); try `sudo`"
    )]
    NotRoot,
    /// The kernel is too old.
    #[error("kernel {0} is too old: hafw needs 6.1 or newer")]
    Kernel(String),
}

/// Checks privileges and the kernel.
///
/// # Errors
/// See [`SystemError`].
pub(super) fn check() -> Result<(), SystemError> {
    if KernelVersion::current().is_ok_and(|kernel| kernel < OLDEST) {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        return Err(SystemError::Kernel(release.trim().to_owned()));
    }
    if !geteuid().is_root() && !has_capabilities() {
        return Err(SystemError::NotRoot);
    }
    Ok(())
}

/// CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_SYS_RESOURCE (24), CAP_PERFMON (38), CAP_BPF (39):
/// include/uapi/linux/capability.h.
fn has_capabilities() -> bool {
    const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 24 | 1 << 38 | 1 << 39;
    let Ok(status) = fs::read_to_string(Path::new("/proc/self/status")) else {
        return false;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|effective| effective & NEEDED == NEEDED)
}
