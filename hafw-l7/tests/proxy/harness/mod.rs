//! Runs the proxy, servers that do as they are told, and clients that send raw bytes. Everything
//! blocks, with a time limit on each step, so that a test reads from top to bottom.

mod authority;
mod client;
mod nginx;
mod proxy;
mod upstream;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) use authority::{Authority, Identity};
pub(crate) use client::{Client, Response};
pub(crate) use nginx::Nginx;
pub(crate) use proxy::Proxy;
pub(crate) use upstream::Upstream;

/// How long a step may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An address that nobody else uses: each call has a loopback address of its own, and processes
/// that run at the same time differ in the third byte.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    let third = u8::try_from(std::process::id() % 251).unwrap();
    let host = Ipv4Addr::new(127, 77, third, last);
    let listener = TcpListener::bind((host, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Waits until `condition` gives a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status} Reason\r\nContent-Length: {len}\r\n\r\n{body}")
}
