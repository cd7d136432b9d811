//! What a service manager such as systemd is told.

use std::{io::ErrorKind, os::unix::net::UnixDatagram, time::Duration};

use hafw_lab::{
    Daemon, Lab, Scope, Signal, Station,
    peers::{Hafw, Router, Timing, hafw_config},
};

use crate::pair::PATIENCE;

const WATCHDOG: Duration = Duration::from_millis(200);

/// The next message, or none within that time.
fn message(manager: &UnixDatagram, patience: Duration) -> Option<String> {
    let mut buffer = [0; 256];
    manager.set_read_timeout(Some(patience)).unwrap();
    loop {
        match manager.recv(&mut buffer) {
            Ok(length) => {
                return Some(String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            // A signal of another test's child: with a time limit the kernel does not go on by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[ignore = "requires root"]
fn a_service_manager_hears_that_a_node_is_ready_lives_and_stops() {
    let lab = Lab::new("notify").unwrap();
    let host = &lab[Station::Lb01];
    let text = hafw_config(host, &[Router::oldboy(Station::Lb01, Timing::V3Tenth)], "");
    let hafw = Hafw::new(host, &Hafw::built().unwrap(), &text).unwrap();
    let path = host.files().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let args = [
        format!("NOTIFY_SOCKET={}", path.display()),
        format!("WATCHDOG_USEC={}", WATCHDOG.as_micros()),
        hafw.binary().display().to_string(),
        "run".to_owned(),
        "-c".to_owned(),
        hafw.config().display().to_string(),
    ];
    let log = host.files().join("notify.log");
    let mut daemon = Daemon::new("hafw under a manager", host.namespace(), "env", args, log);
    daemon.start().unwrap();

    assert_eq!(message(&manager, PATIENCE).as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(message(&manager, PATIENCE).as_deref(), Some("WATCHDOG=1"));
    }

    daemon.signal(Scope::Process, Signal::SIGSTOP).unwrap();
    while message(&manager, WATCHDOG).is_some() {}
    assert_eq!(message(&manager, WATCHDOG * 3), None, "it is stopped");
    daemon.signal(Scope::Process, Signal::SIGCONT).unwrap();
    assert_eq!(message(&manager, PATIENCE).as_deref(), Some("WATCHDOG=1"));

    // Nobody reads meanwhile: a manager that hangs does not hold up a node.
    daemon.stop(PATIENCE).unwrap();
    let mut last = std::iter::from_fn(|| message(&manager, WATCHDOG));
    assert!(last.any(|message| message == "STOPPING=1"));
}
