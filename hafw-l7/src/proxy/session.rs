//! One client connection: has its requests answered one by one, and ends it so that the client gets
//! all that was sent.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{io::AsyncWrite as _, net::TcpStream};

use super::{Shared, buffers::Block, duplex::poll_fill, own::Current, timers::Timer};
use crate::{plan::Limits, retry::Millis, values::Ends};

/// How long a client may take to read the last answer and close.
pub(super) const LINGER: Millis = 5000;
/// The most bytes that are read from a client after the last answer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A client connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) shared: Rc<Shared>,
    pub(super) stream: TcpStream,
    pub(super) client: IpAddr,
    /// The configured address that it came in by.
    pub(super) address: SocketAddr,
    pub(super) ends: Ends,
    pub(super) timer: Timer,
    /// Bytes that were read and not used yet.
    pub(super) block: Option<Block>,
    /// The request that was read last, once its server is known.
    pub(super) current: Option<Current>,
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
}

/// Serves a connection that came in by the listening address `address`, to its end.
pub(crate) async fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    client: SocketAddr,
    address: SocketAddr,
) {
    shared.count(|totals| {
        totals.accepted += 1;
        totals.active += 1;
    });
    let local = match address.ip().is_unspecified() {
        true => stream.local_addr().unwrap_or(address),
        false => address,
    };
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let mut session = Session {
        stream,
        client: client.ip(),
        address,
        ends: Ends::new(client, local),
        timer: shared.timers.timer(waker),
        block: None,
        current: None,
        shared: Rc::clone(&shared),
    };
    match session.serve_requests().await {
        End::Close => {}
        End::Linger => session.linger().await,
        End::Reset => {
            // If this fails, the client sees an end of data instead of a reset.
            let _ = session.stream.set_zero_linger();
        }
    }
    drop(session);
    shared.count(|totals| totals.active -= 1);
    if shared.totals.borrow().active == 0 {
        shared.emptied.notify_one();
    }
}

impl Session {
    async fn serve_requests(&mut self) -> End {
        let mut is_first = true;
        loop {
            let served = async {
                let exchange = self.next_request(is_first).await?;
                self.exchange(exchange).await
            };
            if let Err(end) = served.await {
                return end;
            }
            is_first = false;
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

    /// Reads and forgets what the client still sends, so that its kernel does not throw away the
    /// answer when this end closes (RFC 9112 §9.6).
    async fn linger(&mut self) {
        let shut = poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await;
        if shut.is_err() {
            return;
        }
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
