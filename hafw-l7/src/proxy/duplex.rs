//! The two directions of an exchange as poll functions, so that one task can drive both: the
//! request's body to the server, and the answer to the client. Each borrows a block only while
//! there are bytes in it.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{
    buffers::{Block, Buffers},
    timers::Timer,
    wire::Wire,
};
use crate::{
    compress::Compressor,
    http1::{Body, ChunkError},
    plan::Limits,
    retry::Millis,
};

/// A request body that is passed on as it comes.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Bytes that the server has not got yet.
    block: Option<Block>,
    body: Body,
    limits: Limits,
    deadline: Millis,
    /// Whether the server has got any of it.
    pub(crate) has_begun: bool,
    /// Whether nothing more is sent, because all was or because the server takes no more.
    is_over: bool,
    /// Whether all of it was read from the client.
    pub(crate) is_complete: bool,
    /// Bytes written to the server.
    pub(crate) sent: u64,
}

/// Why a request ends without an answer of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    ClientGone,
    /// The fault is not the server's: the status to answer with.
    Answer(u16),
}

/// Why a request body cannot be passed on any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadError {
    Ended(Ending),
    /// The server does not take it.
    ServerTimeout,
}

/// The rest of an answer that does not fit into one block.
#[derive(Debug)]
pub(crate) struct Download {
    /// Bytes that the client has not got yet.
    block: Option<Block>,
    body: Body,
    /// The chunked framing is taken off.
    unchunked: bool,
    /// What codes the body on its way, until the body has ended.
    compressor: Option<Compressor>,
    /// Coded bytes that do not fit into the block; from this place on.
    coded: (Vec<u8>, usize),
    is_coded: bool,
    /// The server has sent more than the body.
    has_excess: bool,
    limits: Limits,
    deadline: Millis,
    /// Bytes written to the client.
    pub(crate) sent: u64,
}

/// Why an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownloadError {
    ClientGone,
    /// The client does not take what is sent to it.
    ClientTimeout,
    /// The server closed, broke the framing or fell silent.
    Truncated,
}

/// Reads what is there into the room of `block`. Ready with 0 means that the other end has closed.
pub(crate) fn poll_fill(
    context: &mut Context<'_>,
    stream: &mut Wire,
    block: &mut Block,
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(block.room());
    ready!(Pin::new(stream).poll_read(context, &mut room))?;
    let len = room.filled().len();
    block.filled(len);
    Poll::Ready(Ok(len))
}

/// Writes what is in `block`, at most in one go.
fn poll_drain(
    context: &mut Context<'_>,
    stream: &mut Wire,
    block: &mut Block,
) -> Poll<io::Result<usize>> {
    let len = ready!(Pin::new(stream).poll_write(context, block.bytes()))?;
    block.consume(len);
    Poll::Ready(Ok(len))
}

impl Upload {
    /// A body of which `block` holds the first bytes. What comes after the body is left in `rest`.
    pub(crate) fn begin(
        body: Body,
        block: Option<Block>,
        limits: Limits,
        buffers: &Rc<Buffers>,
        rest: &mut Option<Block>,
    ) -> Result<Self, Ending> {
        let mut upload = Self {
            block: None,
            body,
            limits,
            deadline: Millis::MAX,
            has_begun: false,
            is_over: false,
            is_complete: false,
            sent: 0,
        };
        if let Some(block) = block {
            upload.take_in(block, buffers, rest)?;
        }
        Ok(upload)
    }

    /// Another server is asked: the body goes there, if the last one has got nothing of it.
    pub(crate) fn restart(&mut self) {
        self.deadline = Millis::MAX;
        if !self.has_begun && !self.is_complete {
            self.is_over = false;
        }
    }

    /// Whether there is more to send.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_over
    }

    /// When to be polled again at the latest.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline
    }

    /// Moves bytes from `client` to `server` until one of them is not ready or the body has ended.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Wire,
        server: &mut Wire,
        timer: &Timer,
        buffers: &Rc<Buffers>,
        rest: &mut Option<Block>,
    ) -> Poll<Result<(), UploadError>> {
        if self.deadline == Millis::MAX {
            self.deadline = timer.deadline(self.limits.client_body);
        }
        while self.is_active() {
            if let Some(block) = &mut self.block {
                match poll_drain(context, server, block) {
                    Poll::Ready(Ok(len)) => {
                        self.has_begun = true;
                        self.sent += len as u64;
                        self.deadline = timer.deadline(self.limits.send);
                        if block.is_empty() {
                            self.block = None;
                            self.deadline = timer.deadline(self.limits.client_body);
                        }
                    }
                    // It may have answered before it closed: that is for the reading side.
                    Poll::Ready(Err(_)) => self.is_over = true,
                    Poll::Pending if timer.has_passed(self.deadline) => {
                        return Poll::Ready(Err(UploadError::ServerTimeout));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            if self.body.is_done() {
                self.is_over = true;
                self.is_complete = true;
                continue;
            }
            let mut block = buffers.block();
            match poll_fill(context, client, &mut block) {
                Poll::Ready(Ok(0) | Err(_)) => return ended(Ending::ClientGone),
                Poll::Ready(Ok(_)) => {
                    self.deadline = timer.deadline(self.limits.send);
                    if let Err(ending) = self.take_in(block, buffers, rest) {
                        return ended(ending);
                    }
                }
                Poll::Pending if timer.has_passed(self.deadline) => {
                    return ended(Ending::Answer(408));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take_in(
        &mut self,
        mut block: Block,
        buffers: &Rc<Buffers>,
        rest: &mut Option<Block>,
    ) -> Result<(), Ending> {
        let taken = self.body.advance(block.bytes());
        let taken = taken.map_err(|_| Ending::Answer(400))?;
        if self.body.chunked_content() > self.limits.body_size {
            return Err(Ending::Answer(413));
        }
        if let Some(after) = block.bytes().get(taken..).filter(|after| !after.is_empty()) {
            let mut next = buffers.block();
            next.append(after);
            *rest = Some(next);
        }
        block.truncate(taken);
        self.block = Some(block).filter(|block| !block.is_empty());
        Ok(())
    }
}

fn ended(ending: Ending) -> Poll<Result<(), UploadError>> {
    Poll::Ready(Err(UploadError::Ended(ending)))
}

impl Download {
    pub(crate) fn new(body: Body, unchunked: bool, limits: Limits) -> Self {
        Self {
            block: None,
            body,
            unchunked,
            compressor: None,
            coded: (Vec::new(), 0),
            is_coded: false,
            has_excess: false,
            limits,
            deadline: Millis::MAX,
            sent: 0,
        }
    }

    /// Has the body coded, which goes out in chunks.
    pub(crate) fn code(&mut self, compressor: Compressor) {
        self.unchunked = true;
        self.is_coded = true;
        self.compressor = Some(compressor);
    }

    /// Takes the first bytes of the body.
    pub(crate) fn begin(&mut self, mut block: Block) -> Result<(), ChunkError> {
        self.take_in(&mut block)?;
        self.block = Some(block);
        self.refill();
        Ok(())
    }

    /// Puts the head before the body. Returns whether there was room.
    #[must_use]
    pub(crate) fn prepend(&mut self, head: &[u8], buffers: &Rc<Buffers>) -> bool {
        self.block
            .get_or_insert_with(|| buffers.block())
            .prepend(head)
    }

    /// Whether the server has sent the body, and nothing after it.
    pub(crate) fn is_received(&self) -> bool {
        self.body.is_done() && !self.has_excess
    }

    /// Whether the client can tell a body that breaks off from a whole one.
    pub(crate) fn has_visible_end(&self) -> bool {
        self.is_coded || self.body != Body::UntilClose && !self.unchunked
    }

    /// When to be polled again at the latest.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline
    }

    /// The client gets its time from now on.
    pub(crate) fn wait_for_client(&mut self, timer: &Timer) {
        self.deadline = timer.deadline(self.limits.send);
    }

    /// The server gets its time from now on.
    pub(crate) fn wait_for_server(&mut self, timer: &Timer) {
        self.deadline = timer.deadline(self.limits.read);
    }

    /// Moves bytes from `server` to `client` until one of them is not ready or the body has ended
    /// and the client has got all of it.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Wire,
        server: Option<&mut Wire>,
        timer: &Timer,
        buffers: &Rc<Buffers>,
    ) -> Poll<Result<(), DownloadError>> {
        let mut server = server;
        loop {
            if let Some(block) = &mut self.block {
                match poll_drain(context, client, block) {
                    Poll::Ready(Ok(len)) => {
                        self.sent += len as u64;
                        self.deadline = timer.deadline(self.limits.send);
                        if block.is_empty() {
                            self.block = None;
                            self.deadline = timer.deadline(self.limits.read);
                        }
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(DownloadError::ClientGone)),
                    Poll::Pending if timer.has_passed(self.deadline) => {
                        return Poll::Ready(Err(DownloadError::ClientTimeout));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            if self.coded.1 < self.coded.0.len() {
                self.block = Some(buffers.block());
                self.refill();
                continue;
            }
            let Some(server) = server.as_deref_mut().filter(|_| !self.body.is_done()) else {
                return Poll::Ready(Ok(()));
            };
            let mut block = buffers.block();
            match poll_fill(context, server, &mut block) {
                Poll::Ready(Ok(0)) if self.body == Body::UntilClose => {
                    if self.compressor.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                    self.end_code().map_err(|_| DownloadError::Truncated)?;
                    // Nothing more is read: what is left is coded.
                    self.body = Body::Length(0);
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(DownloadError::Truncated));
                }
                Poll::Ready(Ok(_)) => {
                    self.deadline = timer.deadline(self.limits.send);
                    self.take_in(&mut block)
                        .map_err(|_| DownloadError::Truncated)?;
                    self.block = Some(block).filter(|block| !block.is_empty());
                }
                Poll::Pending if timer.has_passed(self.deadline) => {
                    return Poll::Ready(Err(DownloadError::Truncated));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes account of bytes that the server sent, and cuts off what is not for the client.
    fn take_in(&mut self, block: &mut Block) -> Result<(), ChunkError> {
        let before = block.bytes().len();
        let (passed, kept) = if self.unchunked {
            self.body.advance_unchunked(block.bytes_mut())?
        } else {
            let passed = self.body.advance(block.bytes())?;
            (passed, passed)
        };
        self.has_excess |= passed < before;
        block.truncate(kept);
        if let Some(compressor) = &mut self.compressor {
            let coded = compressor.write(block.bytes(), &mut self.coded.0);
            block.truncate(0);
            coded.map_err(|_| ChunkError::Size)?;
            if self.body.is_done() {
                self.end_code().map_err(|_| ChunkError::Size)?;
            }
        }
        Ok(())
    }

    fn end_code(&mut self) -> io::Result<()> {
        match self.compressor.take() {
            Some(compressor) => compressor.finish(&mut self.coded.0),
            None => Ok(()),
        }
    }

    /// Moves coded bytes into the block, as far as there is room.
    fn refill(&mut self) {
        let (coded, done) = &mut self.coded;
        if let Some(block) = &mut self.block {
            *done += block.append(coded.get(*done..).unwrap_or_default());
        }
        if *done == coded.len() {
            coded.clear();
            *done = 0;
        }
    }
}
