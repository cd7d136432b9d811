//! One client connection: has its requests answered one by one, and ends it so that the client gets
//! all that was sent.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite as _;

use super::{
    Shared, account::Answered, buffers::Block, duplex::poll_fill, http2, own::Current,
    timers::Timer, wire::Wire,
};
use crate::{plan::Limits, retry::Millis, values::Ends};

/// How long a client may take to read the last answer and close.
pub(super) const LINGER: Millis = 5000;
/// The most bytes that are read from a client after the last answer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A client connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) shared: Rc<Shared>,
    pub(super) stream: Wire,
    pub(super) client: IpAddr,
    /// Where the client's packets come from, if that is the client itself and no proxy before us.
    pub(super) peer: Option<IpAddr>,
    /// The configured address that it came in by.
    pub(super) address: SocketAddr,
    /// The server that the client named when TLS was set up.
    pub(super) named: Option<usize>,
    /// Whether the client may speak HTTP/2 without having said so before.
    pub(super) may_be_http2: bool,
    pub(super) ends: Ends,
    pub(super) timer: Timer,
    /// Bytes that were read and not used yet.
    pub(super) block: Option<Block>,
    /// The request that was read last, once its server is known.
    pub(super) current: Option<Box<Current>>,
    /// What became of it.
    pub(super) answered: Option<Answered>,
}

/// What a client spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is on its way to the client, or all of it will arrive.
    Close,
    /// The client may still be sending: what it sends is read, so that the answer is not lost to a
    /// reset.
    Linger,
    /// The client must see that the answer is cut short.
    Reset,
    /// It does not end: the client speaks HTTP/2.
    Http2,
}

impl Session {
    /// Serves the connection to its end, unless the client turns out to speak HTTP/2.
    pub(super) async fn serve(&mut self) -> Spoken {
        match self.serve_requests().await {
            End::Http2 => return Spoken::Http2,
            End::Close if self.stream.needs_shutdown() => self.shut().await,
            End::Close => {}
            End::Linger => self.linger().await,
            End::Reset => self.stream.reset_on_drop(),
        }
        Spoken::Http1
    }

    async fn serve_requests(&mut self) -> End {
        let mut is_first = true;
        loop {
            let served = match self.next_request(is_first).await {
                // What a request needs goes when it is over: see `arrival::serve`.
                Ok(mut exchange) => Box::pin(self.exchange(&mut exchange)).await,
                Err(end) => Err(end),
            };
            self.account();
            if let Err(end) = served {
                return end;
            }
            is_first = false;
        }
    }

    pub(super) fn into_http2(self) -> http2::Connection {
        http2::Connection {
            shared: self.shared,
            wire: self.stream,
            block: self.block,
            client: self.client,
            peer: self.peer,
            address: self.address,
            named: self.named,
            ends: self.ends,
            timer: self.timer,
        }
    }

    /// The limits that hold until a request has named its host; `None` if the address is no longer
    /// served.
    pub(super) fn waiting_limits(&self) -> Option<Limits> {
        let generation = self.shared.generation.borrow();
        let site = generation.plan.site(self.address)?;
        generation
            .plan
            .servers
            .get(site.first)
            .map(|server| server.options(None).limits)
    }

    /// Sends bytes to the client.
    pub(super) async fn send(&mut self, bytes: &[u8], timeout: Millis) -> Result<(), End> {
        let mut rest = bytes;
        self.timer.arm(timeout);
        poll_fn(|context| {
            while !rest.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, rest) {
                    Poll::Ready(Ok(len)) => {
                        rest = rest.get(len..).unwrap_or_default();
                        self.timer.arm(timeout);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Close)),
                    Poll::Pending if self.timer.has_expired() => {
                        return Poll::Ready(Err(End::Close));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.shared
            .count(|totals| totals.bytes_sent += bytes.len() as u64);
        Ok(())
    }

    /// Waits for bytes from the client, at most until the timer expires.
    pub(super) async fn read(&mut self) -> Result<Block, Silence> {
        poll_fn(|context| self.poll_read(context)).await
    }

    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Block, Silence>> {
        let mut block = self.shared.buffers.block();
        match poll_fill(context, &mut self.stream, &mut block) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Silence::Closed)),
            Poll::Ready(Ok(len)) => {
                self.shared
                    .count(|totals| totals.bytes_received += len as u64);
                Poll::Ready(Ok(block))
            }
            Poll::Pending if self.timer.has_expired() => Poll::Ready(Err(Silence::Timeout)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Says that nothing more comes, after what was written.
    async fn shut(&mut self) {
        self.timer.arm(LINGER);
        poll_fn(|context| {
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            match shut {
                Poll::Pending if !self.timer.has_expired() => Poll::Pending,
                // One that cannot be told will see it when the connection is dropped.
                Poll::Ready(_) | Poll::Pending => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Reads and forgets what the client still sends, so that its kernel does not throw away the
    /// answer when this end closes (RFC 9112 §9.6).
    async fn linger(&mut self) {
        self.shut().await;
        self.timer.arm(LINGER);
        let mut left = LINGER_BYTES;
        while let Ok(block) = self.read().await {
            let Some(less) = left.checked_sub(block.bytes().len()) else {
                return;
            };
            left = less;
        }
    }
}

/// Why no bytes come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Closed,
    Timeout,
}
