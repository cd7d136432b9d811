//! A client that sends HTTP/2 frames as they are told, right or wrong.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::harness::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = len[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The number in the payload of RST_STREAM (at 0) and GOAWAY (at 4).
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Header fields as literals that are not indexed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // A prefix of seven bits.
            match u8::try_from(text.len()) {
                Ok(len @ 0..127) => block.push(len),
                _ => {
                    block.push(127);
                    let mut rest = text.len() - 127;
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The fields of a usual request, with these.
pub(crate) fn request(method: &'static str, more: &[(&'static str, &'static str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.oldboy.com"),
    ];
    fields.extend(more);
    block(&fields)
}

/// One setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    bytes: Vec<u8>,
}

impl Raw {
    /// Connects and sends the preface, these settings, and the answer to the proxy's.
    pub(crate) fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        Self::connect_silently(address).begin(settings)
    }

    /// The same by TLS, asking for a name.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &'static str,
    ) -> Self {
        let name = ServerName::try_from(name).unwrap();
        let tls = ClientConnection::new(config, name).unwrap();
        let raw = Self {
            stream: Box::new(StreamOwned::new(tls, tcp(address))),
            bytes: Vec::new(),
        };
        raw.begin(&[])
    }

    fn begin(self, settings: &[u8]) -> Self {
        let mut raw = self;
        raw.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(&Frame::new(SETTINGS, 0, 0, settings));
        loop {
            let frame = raw.frame().expect("the proxy's settings");
            match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => raw.send(&Frame::new(SETTINGS, ACK, 0, [])),
                (SETTINGS, _) => return raw,
                _ => {}
            }
        }
    }

    /// Connects and sends nothing.
    pub(crate) fn connect_silently(address: SocketAddr) -> Self {
        Self {
            stream: Box::new(tcp(address)),
            bytes: Vec::new(),
        }
    }

    /// Sends a frame; the proxy may have closed.
    pub(crate) fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }

    /// The next frame; `None` once the proxy has closed.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let head = self.take(9)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
        let payload = self.take(number(&head[..3]) as usize)?;
        Some(Frame::new(head[3], head[4], number(&head[5..]), payload))
    }

    /// The next frame that is of this kind and no acknowledgement of settings.
    #[track_caller]
    pub(crate) fn frame_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == kind && (kind != SETTINGS || frame.flags & ACK == 0) {
                return Some(frame);
            }
        }
    }

    /// Reads bytes, whatever they are; `false` once the proxy has closed.
    #[track_caller]
    pub(crate) fn bytes_left(&mut self) -> bool {
        self.take(1).is_some()
    }

    #[track_caller]
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.bytes.len() < len {
            let mut block = [0; 64 * 1024];
            match self.stream.read(&mut block) {
                Ok(0) => return None,
                Ok(len) => self.bytes.extend_from_slice(&block[..len]),
                Err(error) if is_end(error.kind()) => return None,
                Err(error) => panic!("no frame: {error}"),
            }
        }
        Some(self.bytes.drain(..len).collect())
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Whether the other end has closed, with or without a reset and TLS's goodbye.
fn is_end(kind: ErrorKind) -> bool {
    kind == ErrorKind::ConnectionReset || kind == ErrorKind::UnexpectedEof
}
