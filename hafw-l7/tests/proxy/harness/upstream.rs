//! A server that answers as a test's script says, and remembers what it was asked.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{PATIENCE, client::header};

/// A server on a port of its own. Its threads end with the test's process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Request line and header lines.
    pub(crate) head: String,
    /// The body as it was on the wire.
    pub(crate) body: Vec<u8>,
    /// How many requests came before it on its connection.
    pub(crate) nth: usize,
}

/// A connection from the proxy.
pub(crate) struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    is_open: bool,
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl Upstream {
    /// A server that has `script` answer each request, once it was read in full.
    pub(crate) fn start(
        script: impl Fn(&Request, &mut Connection) + Send + Sync + 'static,
    ) -> Self {
        Self::start_raw(move |connection, seen| {
            let mut nth = 0;
            while connection.is_open
                && let Some(request) = connection.request(nth)
            {
                seen.lock().unwrap().push(request.clone());
                script(&request, connection);
                nth += 1;
            }
        })
    }

    /// A server that answers every request alike.
    pub(crate) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |_, connection| connection.send(&answer))
    }

    /// A server that has `script` do what it wants with each connection.
    pub(crate) fn start_raw(
        script: impl Fn(&mut Connection, &Mutex<Vec<Request>>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let upstream = Self {
            address,
            seen: Arc::clone(&seen),
            connections: Arc::clone(&connections),
        };
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                thread::spawn(move || script(&mut Connection::new(stream), &seen));
            }
        });
        upstream
    }

    /// An address where connections are refused.
    pub(crate) fn refused() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
            is_open: true,
        }
    }

    /// Sends bytes; the proxy may have closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.is_open &= self.stream.write_all(bytes.as_ref()).is_ok();
    }

    pub(crate) fn close(&mut self) {
        self.is_open = false;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes with a reset.
    pub(crate) fn reset(&mut self) {
        self.is_open = false;
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }

    /// Waits until the proxy closes; true if it does.
    pub(crate) fn wait_for_close(&mut self) -> bool {
        self.is_open = false;
        loop {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Reads a request with its body; `None` if the proxy closed.
    pub(crate) fn request(&mut self, nth: usize) -> Option<Request> {
        let head = self.head()?;
        let body = if let Some(len) = header(&head, "content-length") {
            self.take(len.parse().ok()?)?
        } else if header(&head, "transfer-encoding").is_some() {
            self.chunked_body()?
        } else {
            Vec::new()
        };
        Some(Request { head, body, nth })
    }

    /// Reads a request's head.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = loop {
            let end = self
                .bytes
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => self.fill()?,
            }
        };
        let head = self.take(end + 2)?;
        self.take(2)?;
        String::from_utf8(head).ok()
    }

    /// Reads that many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.bytes.len() < len {
            self.fill()?;
        }
        Some(self.bytes.drain(..len).collect())
    }

    fn chunked_body(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split([';', '\r']).next()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            body.extend(line.bytes());
            if size == 0 {
                break;
            }
            body.extend(self.take(size + 2)?);
        }
        // Trailers, up to the empty line.
        loop {
            let line = self.line()?;
            body.extend(line.bytes());
            if line == "\r\n" {
                return Some(body);
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.take(1)?);
        }
        String::from_utf8(line).ok()
    }

    fn fill(&mut self) -> Option<()> {
        let mut block = [0; 64 * 1024];
        let len = self.stream.read(&mut block).ok().filter(|len| *len > 0)?;
        self.bytes.extend_from_slice(&block[..len]);
        Some(())
    }
}
