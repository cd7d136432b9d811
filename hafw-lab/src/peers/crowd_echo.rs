//! An echo for thousands of connections, in a process of its own: so many do not fit into one process
//! beside their clients' ends.

use std::{net::Ipv4Addr, time::Duration};

use crate::{Daemon, Host, LabError, wait_until};

/// Answers as [`super::Echo`] does over TCP, for all connections in one loop.
const SCRIPT: &str = r#"
import resource, selectors, socket, sys
address, tag, ports = sys.argv[1].split(","), bytes([int(sys.argv[2])]), sys.argv[3].split(",")
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
watch = selectors.DefaultSelector()
for at, port in zip(address, ports):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((at, int(port)))
    listener.listen(4096)
    listener.setblocking(False)
    watch.register(listener, selectors.EVENT_READ, None)
print("listening", flush=True)
while True:
    for key, _ in watch.select():
        if key.data is None:
            try:
                stream, _ = key.fileobj.accept()
            except OSError:
                continue
            watch.register(stream, selectors.EVENT_READ, bytearray())
            continue
        try:
            got = key.fileobj.recv(4096)
            if got:
                key.data.extend(got)
                while len(key.data) >= 8:
                    key.fileobj.sendall(bytes(key.data[:8]) + tag)
                    del key.data[:8]
                continue
        except OSError:
            pass
        watch.unregister(key.fileobj)
        key.fileobj.close()
"#;

/// See the module.
#[derive(Debug)]
pub struct CrowdEcho {
    _daemon: Daemon,
}

impl CrowdEcho {
    /// Serves these addresses, which the host has.
    ///
    /// # Errors
    /// It does not begin to listen.
    pub fn start(host: &Host, at: &[(Ipv4Addr, u16)]) -> Result<Self, LabError> {
        let list = |texts: Vec<String>| texts.join(",");
        let args = [
            "-c".to_owned(),
            SCRIPT.to_owned(),
            list(at.iter().map(|(address, _)| address.to_string()).collect()),
            host.station().address().octets()[3].to_string(),
            list(at.iter().map(|(_, port)| port.to_string()).collect()),
        ];
        let name = format!("echo on {}", host.station());
        let log = host.files().join("echo.log");
        let mut daemon = Daemon::new(&name, host.namespace(), "/usr/bin/python3", args, log);
        daemon.start()?;
        wait_until(Duration::from_secs(20), format!("{name} to listen"), || {
            let log = daemon.log_tail();
            log.contains("listening").then_some(()).ok_or(log)
        })?;
        Ok(Self { _daemon: daemon })
    }
}
