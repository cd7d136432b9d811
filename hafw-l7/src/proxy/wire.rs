//! A connection to a client or to an upstream server, whatever lies beneath its bytes. What is above
//! reads and writes HTTP/1.1 and does not ask.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

use super::http2::{Downstream, UpstreamStream};

/// A connection.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    Tls(Box<Ahead<TlsStream<TcpStream>>>),
    /// To a server on this machine.
    Unix(Box<Ahead<UnixStream>>),
    /// One request of an HTTP/2 connection.
    Downstream(Box<Downstream>),
    /// One request to a server over HTTP/2.
    Upstream(Box<UpstreamStream>),
}

/// A connection that cannot be peeked at, with the byte that was read to see whether the other end
/// is still there.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    stream: S,
    ahead: Option<u8>,
}

/// What can be seen of the other end without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It has sent nothing that was not read.
    Quiet,
    /// There are bytes to read.
    Bytes,
    /// It has closed or broken the connection.
    Gone,
}

impl Wire {
    pub(crate) fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Box::new(Ahead {
            stream: stream.into(),
            ahead: None,
        }))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self::Unix(Box::new(Ahead {
            stream,
            ahead: None,
        }))
    }

    /// Looks whether the other end has sent anything or gone; the task is woken when that changes.
    pub(crate) fn poll_sign(&mut self, context: &mut Context<'_>) -> Sign {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [0];
                match stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
                    Poll::Ready(Ok(0) | Err(_)) => Sign::Gone,
                    Poll::Ready(Ok(_)) => Sign::Bytes,
                    Poll::Pending => Sign::Quiet,
                }
            }
            Self::Tls(secured) => secured.poll_sign(context),
            Self::Unix(stream) => stream.poll_sign(context),
            Self::Downstream(stream) => stream.poll_sign(context),
            Self::Upstream(_) => Sign::Quiet,
        }
    }

    /// Whether an idle connection has neither bytes nor an end to read. Costs a system call only if
    /// the reactor has seen something.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        match self {
            Self::Tcp(stream) => match stream.poll_read_ready(&mut context) {
                Poll::Pending => true,
                Poll::Ready(_) => {
                    let read = stream.try_read(&mut [0]);
                    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
                }
            },
            // Session tickets may come at any time; they are no bytes of the connection.
            Self::Tls(secured) => secured.poll_sign(&mut context) == Sign::Quiet,
            Self::Unix(stream) => stream.poll_sign(&mut context) == Sign::Quiet,
            // They are not kept: their connections are.
            Self::Downstream(_) | Self::Upstream(_) => false,
        }
    }

    /// Makes the other end see a break instead of an end when the connection is dropped.
    pub(crate) fn reset_on_drop(&mut self) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(secured) => secured.stream.get_ref().0,
            Self::Downstream(stream) => return stream.reset(),
            Self::Upstream(_) | Self::Unix(_) => return,
        };
        // If this fails, the other end sees an end of data.
        let _ = stream.set_zero_linger();
    }

    /// Whether dropping the connection loses bytes that were written to it.
    pub(crate) fn needs_shutdown(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Upstream(_) => false,
            Self::Tls(_) | Self::Downstream(_) => true,
        }
    }

    /// Whether other requests have used the connection beneath before.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Upstream(stream) if stream.is_shared)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ahead<S> {
    fn poll_sign(&mut self, context: &mut Context<'_>) -> Sign {
        if self.ahead.is_some() {
            return Sign::Bytes;
        }
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Ready(Ok(())) => match room.filled().first() {
                Some(byte) => {
                    self.ahead = Some(*byte);
                    Sign::Bytes
                }
                None => Sign::Gone,
            },
            Poll::Ready(Err(_)) => Sign::Gone,
            Poll::Pending => Sign::Quiet,
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever waits for bytes has written what it has to write; part of that may still be here.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(context) {
            return Poll::Ready(Err(error));
        }
        let Some(byte) = self.ahead.take() else {
            return Pin::new(&mut self.stream).poll_read(context, room);
        };
        room.put_slice(&[byte]);
        // An error or an end comes up again at the next read.
        let _ = Pin::new(&mut self.stream).poll_read(context, room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(secured) => secured.poll_read(context, room),
            Self::Unix(stream) => stream.poll_read(context, room),
            Self::Downstream(stream) => stream.poll_read(context, room),
            Self::Upstream(stream) => stream.poll_read(context, room),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(&mut stream.stream).poll_write(context, bytes),
            Self::Downstream(stream) => stream.poll_write(context, bytes),
            Self::Upstream(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(&mut stream.stream).poll_flush(context),
            // The connection's own task sends.
            Self::Downstream(_) | Self::Upstream(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(secured) => {
                ready!(Pin::new(&mut secured.stream).poll_flush(context))?;
                Pin::new(&mut secured.stream).poll_shutdown(context)
            }
            Self::Unix(stream) => Pin::new(&mut stream.stream).poll_shutdown(context),
            Self::Downstream(stream) => {
                stream.finish();
                Poll::Ready(Ok(()))
            }
            Self::Upstream(_) => Poll::Ready(Ok(())),
        }
    }
}
