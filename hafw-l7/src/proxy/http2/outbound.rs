//! The body that goes out by a stream, made of what HTTP/1.1 writes.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::SendStream;

use crate::{
    http1::Body,
    http2::{self, Uncarried},
};

/// A body under way.
#[derive(Debug)]
pub(super) struct Outbound {
    stream: SendStream<Bytes>,
    body: Body,
    /// The chunked framing since the last content: in the end, the trailers.
    framing: Vec<u8>,
    is_over: bool,
}

impl Outbound {
    /// `is_over`: there is no body, and the head has said so.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, is_over: bool) -> Self {
        Self {
            stream,
            body,
            framing: Vec::new(),
            is_over,
        }
    }

    /// Whether the other end knows that nothing more comes.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.stream
    }

    /// Takes bytes, as many as the other end lets it send.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let mut taken = 0;
        while !self.is_over
            && let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty())
        {
            match self.poll_some(context, rest)? {
                Poll::Ready(len) => taken += len,
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Ends a body whose end only the writer knows. Any other that is not over breaks off.
    pub(super) fn finish(&mut self) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        let ended =
            self.body == Body::UntilClose && self.stream.send_data(Bytes::new(), true).is_ok();
        if !ended {
            self.stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }

    fn poll_some(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Body::Chunked(chunks) = &mut self.body else {
            let len = ready!(poll_room(context, &mut self.stream, bytes.len()))?;
            let bytes = bytes.get(..len).unwrap_or_default();
            let len = self.body.advance(bytes).map_err(io::Error::other)?;
            self.is_over = self.body.is_done();
            self.send(bytes.get(..len).unwrap_or_default(), self.is_over)?;
            return Poll::Ready(Ok(len));
        };
        let mut probe = *chunks;
        let piece = probe.next(bytes).map_err(io::Error::other)?;
        let Some(piece) = piece else {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        };
        if piece.is_data {
            let room = ready!(poll_room(context, &mut self.stream, piece.len))?;
            let bytes = bytes.get(..room).unwrap_or_default();
            // Fewer bytes of the same chunk are content too.
            chunks.next(bytes).map_err(io::Error::other)?;
            self.framing.clear();
            self.send(bytes, false)?;
            return Poll::Ready(Ok(room));
        }
        *chunks = probe;
        self.framing
            .extend_from_slice(bytes.get(..piece.len).unwrap_or_default());
        if self.body.is_done() {
            self.is_over = true;
            self.end_chunks()?;
        }
        Poll::Ready(Ok(piece.len))
    }

    fn end_chunks(&mut self) -> io::Result<()> {
        // [CRLF] 0 [extension] CRLF trailers CRLF
        let framing = self.framing.trim_ascii_start();
        let after = memchr::memchr(b'\n', framing).map_or(0, |at| at + 1);
        let section = framing.get(after..).unwrap_or_default();
        let trailers = http2::trailer_fields(section);
        let trailers = trailers.map_err(|error: Uncarried| io::Error::other(error))?;
        if trailers.is_empty() {
            return self.send(&[], true);
        }
        self.stream
            .send_trailers(trailers)
            .map_err(io::Error::other)
    }

    fn send(&mut self, bytes: &[u8], is_last: bool) -> io::Result<()> {
        let sent = self
            .stream
            .send_data(Bytes::copy_from_slice(bytes), is_last);
        sent.map_err(io::Error::other)
    }
}

/// How many of `len` bytes may be sent now; at least one.
fn poll_room(
    context: &mut Context<'_>,
    stream: &mut SendStream<Bytes>,
    len: usize,
) -> Poll<io::Result<usize>> {
    stream.reserve_capacity(len);
    loop {
        let room = stream.capacity().min(len);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        match ready!(stream.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}
