//! The body that comes in by a stream, as HTTP/1.1 writes it.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use crate::http2::{self, Framing};

/// A message that is read: text that was made of frames, then the body.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Head and framing not read yet.
    text: Vec<u8>,
    /// How much of it was read.
    read: usize,
    /// Content not read yet.
    data: Bytes,
    framing: Framing,
    body: Option<RecvStream>,
}

impl Inbound {
    /// A message that starts with `head`. `body` is what its stream has to follow.
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: RecvStream) -> Self {
        Self {
            text: head,
            read: 0,
            data: Bytes::new(),
            framing,
            body: Some(body).filter(|_| framing != Framing::None),
        }
    }

    /// Whether everything was read.
    pub(super) fn has_ended(&self) -> bool {
        self.body.is_none() && self.data.is_empty() && self.read == self.text.len()
    }

    /// Whether there are bytes to read without waiting.
    pub(super) fn has_bytes(&self) -> bool {
        !self.data.is_empty() || self.read < self.text.len()
    }

    /// Reads what is there. Ready without bytes at the end of the message.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            self.give(room)?;
            let is_full = room.remaining() == 0;
            let received = match &mut self.body {
                Some(body) if !is_full => poll_body(context, body),
                Some(_) | None => Poll::Ready(Ok(None)),
            };
            if room.filled().len() > before && (is_full || received.is_pending()) {
                return Poll::Ready(Ok(()));
            }
            match ready!(received)? {
                Some(Part::Data(data)) => self.take_in(data),
                Some(Part::End(trailers)) => {
                    if self.framing == Framing::Chunked {
                        self.restart_text();
                        http2::trailers(trailers.as_ref(), &mut self.text);
                    }
                    self.body = None;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies what was received.
    fn give(&mut self, room: &mut ReadBuf<'_>) -> io::Result<()> {
        let text = self.text.get(self.read..).unwrap_or_default();
        let len = text.len().min(room.remaining());
        room.put_slice(text.get(..len).unwrap_or_default());
        self.read += len;
        let len = self.data.len().min(room.remaining());
        if len == 0 {
            return Ok(());
        }
        room.put_slice(self.data.get(..len).unwrap_or_default());
        self.data.advance(len);
        if let Some(body) = &mut self.body {
            let released = body.flow_control().release_capacity(len);
            released.map_err(io::Error::other)?;
        }
        if self.data.is_empty() && self.framing == Framing::Chunked {
            self.restart_text();
            self.text.extend_from_slice(b"\r\n");
            return self.give(room);
        }
        Ok(())
    }

    fn take_in(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.framing == Framing::Chunked {
            if self.read == self.text.len() {
                self.restart_text();
            }
            self.text
                .extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        self.data = data;
    }

    fn restart_text(&mut self) {
        if self.read == self.text.len() {
            self.text.clear();
            self.read = 0;
        }
    }
}

enum Part {
    Data(Bytes),
    End(Option<http::HeaderMap>),
}

fn poll_body(context: &mut Context<'_>, body: &mut RecvStream) -> Poll<io::Result<Option<Part>>> {
    let part = match ready!(body.poll_data(context)) {
        Some(data) => data.map(Part::Data),
        None => ready!(body.poll_trailers(context)).map(Part::End),
    };
    Poll::Ready(part.map(Some).map_err(io::Error::other))
}
