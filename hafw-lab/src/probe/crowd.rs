//! Thousands of connections to an echo, held by one thread.

use std::{
    io,
    net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::tcp;
use crate::{Host, LabError, Station};

/// For a connection to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    streams: Vec<TcpStream>,
    asked: u64,
}

impl Crowd {
    /// Opens so many connections from a host, one after the other.
    ///
    /// # Errors
    /// One does not come about.
    pub fn connect(host: &Host, to: SocketAddrV4, count: usize) -> Result<Self, LabError> {
        let what = || format!("open {count} connections to {to}");
        raise_limit().map_err(LabError::io(what()))?;
        let connect = || TcpStream::connect_timeout(&SocketAddr::from(to), PATIENCE);
        // A socket stays in the namespace in which it was opened, whoever uses it.
        let all = || {
            (0..count)
                .map(|_| connect())
                .collect::<io::Result<Vec<_>>>()
        };
        let streams = host.namespace().run(all).and_then(|streams| streams);
        Ok(Self {
            streams: streams.map_err(LabError::io(what()))?,
            asked: 0,
        })
    }

    /// Sends a message over each, then waits for all the answers. Who answered each, or what became
    /// of it; after `patience` nothing is waited for any more.
    pub fn ask(&mut self, patience: Duration) -> Vec<io::Result<Station>> {
        let deadline = Instant::now() + patience;
        self.asked += 1;
        let number = self.asked;
        let sent: Vec<_> = self
            .streams
            .iter_mut()
            .map(|stream| tcp::send(stream, number))
            .collect();
        let receive = |(stream, sent): (&mut TcpStream, io::Result<()>)| {
            sent?;
            let left = deadline.saturating_duration_since(Instant::now());
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let nobody = || io::Error::other("the answer names nobody");
            tcp::receive(stream, number)?.ok_or_else(nobody)
        };
        self.streams.iter_mut().zip(sent).map(receive).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for stream in &self.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Both ends of all connections may be in this process.
fn raise_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
