//! One request of a client as a connection of its own: what is read is the request, what is written
//! is the answer.

use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::Method;
use tokio::io::ReadBuf;

use super::{connection::Live, inbound::Inbound, outbound::Outbound};
use crate::{
    http1::{self, Body, MAX_HEAD, response},
    http2,
    proxy::wire::Sign,
};

/// A stream that a client opened.
#[derive(Debug)]
pub(crate) struct Downstream {
    request: Inbound,
    answer: Answer,
    respond: SendResponse<Bytes>,
    is_head: bool,
    live: Rc<Live>,
    /// Whether the client has given the request up.
    is_reset: bool,
}

#[derive(Debug)]
enum Answer {
    /// The head, as far as it was written.
    Head(Vec<u8>),
    Body(Outbound),
}

impl Downstream {
    pub(super) fn new(
        request: http::Request<h2::RecvStream>,
        respond: SendResponse<Bytes>,
        live: Rc<Live>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let mut head = Vec::with_capacity(512);
        let framing = http2::request_head(&parts, !body.is_end_stream(), &mut head);
        Self {
            is_head: parts.method == Method::HEAD,
            request: Inbound::new(head, framing, body),
            answer: Answer::Head(Vec::new()),
            respond,
            live,
            is_reset: false,
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.request.has_ended() {
            let read = ready!(self.request.poll_read(context, room));
            if read.is_err() {
                self.note_reset();
            }
            return Poll::Ready(read);
        }
        // There is one request; after its answer comes the end.
        match (self.is_answered(), self.poll_sign(context)) {
            (true, _) | (_, Sign::Gone) => Poll::Ready(Ok(())),
            (false, Sign::Quiet | Sign::Bytes) => Poll::Pending,
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.answer {
            Answer::Body(body) => {
                let written = ready!(body.poll_write(context, bytes));
                if written.is_err() {
                    self.note_reset();
                }
                Poll::Ready(written)
            }
            Answer::Head(head) if head.is_empty() => {
                let used = self.take_head(bytes)?;
                Poll::Ready(Ok(used.unwrap_or_else(|| {
                    self.answer = Answer::Head(bytes.to_vec());
                    bytes.len()
                })))
            }
            Answer::Head(head) => {
                let before = head.len();
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                match self.take_head(&head)? {
                    Some(used) => Poll::Ready(Ok(used.saturating_sub(before))),
                    None => {
                        self.answer = Answer::Head(head);
                        Poll::Ready(Ok(bytes.len()))
                    }
                }
            }
        }
    }

    /// Ends the answer.
    pub(crate) fn finish(&mut self) {
        match &mut self.answer {
            Answer::Body(body) => body.finish(),
            Answer::Head(_) => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    pub(crate) fn reset(&mut self) {
        match &mut self.answer {
            Answer::Body(body) if body.is_over() => {}
            Answer::Body(body) => body.stream().send_reset(Reason::INTERNAL_ERROR),
            Answer::Head(_) => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Whether the client goes on with the request.
    pub(crate) fn poll_sign(&mut self, context: &mut Context<'_>) -> Sign {
        if self.request.has_bytes() {
            return Sign::Bytes;
        }
        let reset = match &mut self.answer {
            Answer::Head(_) => self.respond.poll_reset(context),
            Answer::Body(body) => body.stream().poll_reset(context),
        };
        if reset.is_ready() {
            self.note_reset();
            return Sign::Gone;
        }
        Sign::Quiet
    }

    fn is_answered(&self) -> bool {
        matches!(&self.answer, Answer::Body(body) if body.is_over())
    }

    fn note_reset(&mut self) {
        if !std::mem::replace(&mut self.is_reset, true) {
            self.live.note_reset();
        }
    }

    /// Sends the head at the start of `bytes`. Returns how many these are; `None` if it is not
    /// complete.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let mut slots = http1::slots();
        let parsed = response::parse(bytes, self.is_head, &mut slots).map_err(io::Error::other)?;
        let Some(head) = parsed else {
            // What is added to a head on its way is less than a head.
            return if bytes.len() <= 2 * MAX_HEAD {
                Ok(None)
            } else {
                Err(io::ErrorKind::InvalidData.into())
            };
        };
        let response = http2::response(&head).map_err(io::Error::other)?;
        if head.is_interim() {
            let sent = self.respond.send_informational(response);
            sent.map_err(io::Error::other)?;
            return Ok(Some(head.bytes.len()));
        }
        let is_over = head.body == Body::Length(0);
        let sent = self.respond.send_response(response, is_over);
        let stream = sent.map_err(io::Error::other)?;
        self.answer = Answer::Body(Outbound::new(stream, head.body, is_over));
        Ok(Some(head.bytes.len()))
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.live.note_end(self.is_answered() && !self.is_reset);
    }
}
