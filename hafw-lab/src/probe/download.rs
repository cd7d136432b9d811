//! A request of which every byte of the answer counts.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddrV4, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{Host, LabError};

/// A connection that is silent for longer is given up.
const GIVE_UP: Duration = Duration::from_secs(20);

/// A request under way, on a connection of its own that is never opened again.
#[derive(Debug)]
pub struct Download {
    received: Arc<AtomicUsize>,
    thread: JoinHandle<io::Result<Vec<u8>>>,
}

impl Download {
    /// Asks for a path from a host.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(host: &Host, to: SocketAddrV4, path: &str) -> Result<Self, LabError> {
        let received = Arc::new(AtomicUsize::new(0));
        let (count, path) = (Arc::clone(&received), path.to_owned());
        let fetch = move || fetch(to, &path, &count);
        let thread = host.namespace().thread("download", fetch);
        Ok(Self {
            received,
            thread: thread.map_err(LabError::io("start a download"))?,
        })
    }

    /// How many bytes of the answer have come.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits for the end of the answer and returns its body.
    ///
    /// # Errors
    /// The connection broke or stood still, or the status was not 200.
    pub fn finish(self) -> Result<Vec<u8>, LabError> {
        let outcome = self
            .thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.map_err(LabError::io("download"))
    }
}

fn fetch(to: SocketAddrV4, path: &str, received: &AtomicUsize) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(GIVE_UP))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let length = stream.read(&mut buffer).map_err(|error| {
            let text = format!("after {} bytes: {error}", answer.len());
            io::Error::new(error.kind(), text)
        })?;
        if length == 0 {
            break;
        }
        answer.extend(&buffer[..length]);
        received.store(answer.len(), Ordering::Relaxed);
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.map(|end| answer.split_off(end + 4));
    match body {
        Some(body) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(body),
        Some(_) | None => Err(io::Error::other(
            String::from_utf8_lossy(&answer).into_owned(),
        )),
    }
}
