//! A client's HTTP/2 connection beneath the codec: what is read from it goes by the
//! [`Screen`] first.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    http2::screen::Screen,
    proxy::{Shared, buffers::Block, timers::Timer, wire::Wire},
};

/// The most bytes that are read after the connection was refused.
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection of which some bytes were read already.
pub(super) struct Screened {
    block: Option<Block>,
    wire: Rc<RefCell<Wire>>,
    screen: Screen,
    shared: Rc<Shared>,
    verdict: Rc<Cell<Verdict>>,
}

/// What came of the screening, for whoever holds the codec.
pub(super) struct Refused {
    wire: Rc<RefCell<Wire>>,
    verdict: Rc<Cell<Verdict>>,
}

/// Whether the connection has to end, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Refused(Reason),
    /// The client is being told.
    Told(Reason),
}

impl Screened {
    pub(super) fn new(block: Option<Block>, wire: Wire, shared: Rc<Shared>) -> Self {
        Self {
            block,
            wire: Rc::new(RefCell::new(wire)),
            screen: Screen::new(),
            shared,
            verdict: Rc::new(Cell::new(Verdict::Good)),
        }
    }

    pub(super) fn refused(&self) -> Refused {
        Refused {
            wire: Rc::clone(&self.wire),
            verdict: Rc::clone(&self.verdict),
        }
    }

    fn fill(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut block) = self.block.take() else {
            return Pin::new(&mut *self.wire.borrow_mut()).poll_read(context, room);
        };
        let len = block.bytes().len().min(room.remaining());
        room.put_slice(block.bytes().get(..len).unwrap_or_default());
        block.consume(len);
        self.block = Some(block).filter(|block| !block.is_empty());
        Poll::Ready(Ok(()))
    }
}

impl Refused {
    /// The reason, once, for telling the client.
    pub(super) fn take(&self) -> Option<Reason> {
        match self.verdict.get() {
            Verdict::Refused(reason) => {
                self.verdict.set(Verdict::Told(reason));
                Some(reason)
            }
            Verdict::Good | Verdict::Told(_) => None,
        }
    }

    /// Why the connection ends.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self.verdict.get() {
            Verdict::Good => None,
            Verdict::Refused(reason) | Verdict::Told(reason) => Some(reason),
        }
    }

    /// Reads and forgets what the client still sends until the timer expires, so that its kernel
    /// does not throw away what it was told.
    pub(super) async fn linger(&self, timer: &Timer) {
        let mut left = LINGER_BYTES;
        let mut bytes = [0; 4096];
        poll_fn(|context| {
            loop {
                let mut room = ReadBuf::new(&mut bytes);
                match Pin::new(&mut *self.wire.borrow_mut()).poll_read(context, &mut room) {
                    Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                        let Some(less) = left.checked_sub(room.filled().len()) else {
                            return Poll::Ready(());
                        };
                        left = less;
                    }
                    Poll::Pending if !timer.has_expired() => return Poll::Pending,
                    Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

impl AsyncRead for Screened {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.verdict.get() != Verdict::Good {
            // The connection's task ends it before it waits.
            return Poll::Pending;
        }
        let before = room.filled().len();
        let filled = this.fill(context, room);
        let fresh = room.filled_mut().get_mut(before..).unwrap_or_default();
        if !fresh.is_empty()
            && let Err(stop) = this.screen.look(fresh, this.shared.timers.now())
        {
            this.verdict.set(Verdict::Refused(stop.reason));
            room.set_filled(before + stop.at);
            if stop.at == 0 {
                return Poll::Pending;
            }
        }
        filled
    }
}

impl AsyncWrite for Screened {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut *this.wire.borrow_mut()).poll_write(context, bytes);
        if let Poll::Ready(Ok(len)) = written {
            this.screen.note_sent(len);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().wire.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().wire.borrow_mut()).poll_shutdown(context)
    }
}
