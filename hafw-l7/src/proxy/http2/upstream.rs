//! Requests to upstream servers over HTTP/2: connections that many share, and one request as a
//! connection of its own.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future as _,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::io::ReadBuf;
use tracing::debug;

use super::{inbound::Inbound, outbound::Outbound};
use crate::{
    http1::{Body, MAX_HEAD},
    http2::{self, Framing},
    proxy::wire::Wire,
};

/// Bytes of one answer, and of all of them, that a server may send ahead.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 128 * 1024;
/// Sweeps without a request after which a connection is closed.
const IDLE_SWEEPS: u32 = 60;

/// The shared connections to the servers of a cluster, by server.
#[derive(Debug)]
pub(crate) struct Links(RefCell<Vec<Vec<Link>>>);

/// A connection.
#[derive(Clone)]
struct Link {
    send: SendRequest<Bytes>,
    scheme: &'static str,
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Cell<usize>,
    is_over: Cell<bool>,
    idle_sweeps: Cell<u32>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UpstreamStream {
    link: Link,
    phase: Phase,
    /// Whether others have used the connection before.
    pub(crate) is_shared: bool,
}

enum Phase {
    /// The head, as far as it was written.
    Head(Vec<u8>),
    Sent {
        request: Outbound,
        response: ResponseFuture,
        /// An interim answer that was not read to its end, then the answer.
        interim: Vec<u8>,
    },
    Answered {
        request: Outbound,
        answer: Inbound,
    },
    Failed,
}

impl Links {
    pub(crate) fn new(servers: usize) -> Self {
        Self(RefCell::new(vec![Vec::new(); servers]))
    }

    /// A request on a connection that is there and takes one more.
    pub(crate) fn take(&self, server: usize) -> Option<UpstreamStream> {
        let mut servers = self.0.borrow_mut();
        let links = servers.get_mut(server)?;
        links.retain(|link| !link.state.is_over.get());
        let link = links
            .iter()
            .find(|link| link.state.open.get() < link.send.current_max_send_streams())?;
        Some(UpstreamStream::new(link.clone(), true))
    }

    /// Starts HTTP/2 on a new connection, for a request and those that follow.
    pub(crate) async fn add(
        &self,
        server: usize,
        wire: Wire,
        scheme: &'static str,
    ) -> io::Result<UpstreamStream> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .max_send_buffer_size(SEND_BUFFER);
        let started = builder.handshake::<_, Bytes>(wire).await;
        let (send, connection) = started.map_err(io::Error::other)?;
        let state = Rc::<State>::default();
        let link = Link {
            send,
            scheme,
            state: Rc::clone(&state),
        };
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(%error, "an HTTP/2 connection to a server broke");
            }
            state.is_over.set(true);
        });
        if let Some(links) = self.0.borrow_mut().get_mut(server) {
            links.push(link.clone());
        }
        Ok(UpstreamStream::new(link, false))
    }

    /// Closes connections that have been without a request for long. Is called once per second.
    pub(crate) fn sweep(&self) {
        for links in self.0.borrow_mut().iter_mut() {
            links.retain(|link| {
                let state = &link.state;
                let sweeps = match state.open.get() {
                    0 => state.idle_sweeps.get() + 1,
                    _ => 0,
                };
                state.idle_sweeps.set(sweeps);
                sweeps < IDLE_SWEEPS && !state.is_over.get()
            });
        }
    }
}

impl UpstreamStream {
    fn new(link: Link, is_shared: bool) -> Self {
        link.state.open.set(link.state.open.get() + 1);
        Self {
            link,
            phase: Phase::Head(Vec::new()),
            is_shared,
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.phase {
            Phase::Head(head) => {
                let before = head.len();
                head.extend_from_slice(bytes);
                let Some(end) = memchr::memmem::find(head, b"\r\n\r\n").map(|at| at + 4) else {
                    return Poll::Ready(Ok(bytes.len()));
                };
                // The connection takes a request when it has room for one more stream.
                match self.link.send.poll_ready(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return self.fail(io::Error::other(error)),
                    Poll::Pending => {
                        head.truncate(before);
                        return Poll::Pending;
                    }
                }
                let head = head.get(..end).unwrap_or_default().to_vec();
                match self.send_head(&head) {
                    Ok(()) => Poll::Ready(Ok(end - before)),
                    Err(error) => self.fail(error),
                }
            }
            Phase::Sent { request, .. } | Phase::Answered { request, .. } => {
                request.poll_write(context, bytes)
            }
            Phase::Failed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.phase {
                Phase::Head(_) => return Poll::Pending,
                Phase::Failed => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Phase::Answered { answer, .. } => return answer.poll_read(context, room),
                Phase::Sent {
                    response, interim, ..
                } => {
                    if !interim.is_empty() {
                        let len = interim.len().min(room.remaining());
                        room.put_slice(interim.get(..len).unwrap_or_default());
                        interim.drain(..len);
                        return Poll::Ready(Ok(()));
                    }
                    if let Poll::Ready(Some(Ok(answer))) = response.poll_informational(context) {
                        http2::response_head(&answer.into_parts().0, false, interim);
                        continue;
                    }
                    match Pin::new(response).poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(error)) => return self.fail(io::Error::other(error)),
                        Poll::Ready(Ok(answer)) => self.take_answer(answer),
                    }
                }
            }
        }
    }

    fn send_head(&mut self, head: &[u8]) -> io::Result<()> {
        let (request, body) = http2::request(head, self.link.scheme).map_err(io::Error::other)?;
        let is_over = body == Body::Length(0);
        let sent = self.link.send.send_request(request, is_over);
        let (response, stream) = sent.map_err(io::Error::other)?;
        self.phase = Phase::Sent {
            request: Outbound::new(stream, body, is_over),
            response,
            interim: Vec::new(),
        };
        Ok(())
    }

    fn take_answer(&mut self, answer: http::Response<h2::RecvStream>) {
        let (parts, body) = answer.into_parts();
        let mut head = Vec::with_capacity(512);
        let framing: Framing = http2::response_head(&parts, !body.is_end_stream(), &mut head);
        let phase = std::mem::replace(&mut self.phase, Phase::Failed);
        if let Phase::Sent { request, .. } = phase {
            self.phase = Phase::Answered {
                request,
                answer: Inbound::new(head, framing, body),
            };
        }
    }

    fn fail<T>(&mut self, error: io::Error) -> Poll<io::Result<T>> {
        debug!(%error, "a request over HTTP/2");
        self.phase = Phase::Failed;
        Poll::Ready(Err(error))
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let open = &self.link.state.open;
        open.set(open.get().saturating_sub(1));
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("state", &self.state).finish()
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(_) => "Head",
            Self::Sent { .. } => "Sent",
            Self::Answered { .. } => "Answered",
            Self::Failed => "Failed",
        })
    }
}
