//! A network namespace for one test.

use std::{process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread with a network namespace of its own. Both end together, and with the
/// namespace its links; what the thread starts inherits it.
///
/// # Panics
/// There is no new namespace (it needs CAP_SYS_ADMIN); and as `test` does.
pub fn in_namespace(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new namespace");
            ip("link set lo up");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `ip` with these arguments.
///
/// # Panics
/// It fails.
pub fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments}"
    );
}
