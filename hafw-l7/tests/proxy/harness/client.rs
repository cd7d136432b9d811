//! A client that sends bytes and reads answers.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::PATIENCE;

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection to the proxy.
pub(crate) struct Client {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    bytes: Vec<u8>,
}

/// An answer, its body as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and header lines.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The value of a header line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// The value of the first line with this name.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            tls: None,
            bytes: Vec::new(),
        }
    }

    /// Connects by TLS and asks for a name. The error is what ended the handshake.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &'static str,
    ) -> std::io::Result<Self> {
        let mut client = Self::connect(address);
        let name = ServerName::try_from(name).unwrap();
        let mut tls = ClientConnection::new(config, name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut client.stream)?;
        }
        // A server may refuse a client after its own part of the handshake.
        tls.complete_io(&mut client.stream)?;
        client.tls = Some(tls);
        Ok(client)
    }

    /// What the server has shown of itself.
    pub(crate) fn tls(&self) -> &ClientConnection {
        self.tls.as_ref().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a GET for a host.
    #[track_caller]
    pub(crate) fn get(&mut self, host: &str, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }

    /// Reads an answer, whose body ends by length, chunks or the connection's end.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_head();
        if let Some(len) = response.header("content-length") {
            let len = len.parse().unwrap();
            response.body = self.take(len);
        } else if response.header("transfer-encoding").is_some() {
            while !response.body.ends_with(b"0\r\n\r\n") {
                let more = self.take(1);
                response.body.extend(more);
            }
        } else if response.status != 204 && response.status != 304 {
            response.body = self.rest();
        }
        response
    }

    /// Reads the head of an answer.
    #[track_caller]
    pub(crate) fn response_head(&mut self) -> Response {
        let end = loop {
            let end = self
                .bytes
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => assert!(
                    self.fill() > 0,
                    "closed instead of an answer: {:?}",
                    self.bytes
                ),
            }
        };
        let head = String::from_utf8(self.take(end + 2)).unwrap();
        self.take(2);
        Response {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        }
    }

    /// Sends bytes and reads until the proxy closes; the error is what ended the connection.
    pub(crate) fn send_and_read(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut stream = self.stream();
        stream.write_all(bytes)?;
        match stream.read_to_end(&mut answer) {
            // Closed without TLS's goodbye.
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
            Ok(_) | Err(_) => Ok(answer),
        }
    }

    /// Reads until the proxy closes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.bytes)
    }

    /// Whether the proxy has closed without sending more; waits for it.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Whether the connection ends in an error at once.
    pub(crate) fn is_broken(&mut self) -> bool {
        self.stream().read(&mut [0]).is_err()
    }

    /// Whether the connection ends in a reset, whatever comes before.
    #[track_caller]
    pub(crate) fn is_reset(&mut self) -> bool {
        let mut byte = [0; 4096];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Closes with a reset, as a client that was killed with bytes unread does.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        while self.bytes.len() < len {
            assert!(self.fill() > 0, "closed within an answer");
        }
        self.bytes.drain(..len).collect()
    }

    fn stream(&mut self) -> Box<dyn Stream + '_> {
        match &mut self.tls {
            Some(tls) => Box::new(rustls::Stream::new(tls, &mut self.stream)),
            None => Box::new(&mut self.stream),
        }
    }

    #[track_caller]
    fn fill(&mut self) -> usize {
        let mut block = [0; 64 * 1024];
        let len = match self.stream().read(&mut block) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        };
        self.bytes.extend_from_slice(&block[..len]);
        len
    }
}
