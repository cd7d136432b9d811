//! One request at one server: connects or takes a kept connection, sends, and reads the answer's
//! head.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use rustix::io::Errno;
use tokio::io::AsyncWrite as _;
use tracing::debug;

use super::{
    buffers::{Block, Text},
    duplex::{Download, Ending, Upload, UploadError, poll_fill},
    generation::Turn,
    intake::Exchange,
    judge::{Final, Start},
    session::Session,
    wire::{Sign, Wire},
};
use crate::{
    compress::Compressor,
    model::RetryCondition,
    retry::{Millis, Repeatable},
};

/// What an attempt at one server came to.
pub(super) enum Attempt {
    Answer(Box<Answer>),
    /// It answered in a way for which another server is asked, and another is there.
    Next(RetryCondition),
    /// No answer came; another server may be asked.
    Failed(RetryCondition, Repeatable),
    /// The request cannot go on, whatever the servers do.
    Over(Ending),
}

/// An answer to be passed on.
pub(super) struct Answer {
    pub(super) server: Wire,
    pub(super) status: u16,
    /// The head for the client.
    pub(super) head: Text,
    /// The body, of which the first bytes have come.
    pub(super) download: Download,
    /// Whether the server keeps its connection.
    pub(super) server_stays: bool,
    /// Whether the client's connection closes afterwards.
    pub(super) close: bool,
}

/// A request at a server, until its answer's head has come.
pub(super) struct Pending<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) upload: &'a mut Option<Upload>,
    /// Bytes of the message that the server has got.
    sent: usize,
    /// Whether the server takes no more bytes.
    is_deaf: bool,
    /// Whether the server has sent nothing.
    is_silent: bool,
    /// Bytes of the answer.
    block: Option<Block>,
    deadline: Millis,
    /// Whether to look out for the client's end.
    watch: bool,
}

/// Why no answer came.
enum Failure {
    /// The connection could not be made, closed or broke.
    Broken,
    Timeout,
    Invalid,
    Over(Ending),
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Ended(ending) => Self::Over(ending),
            UploadError::ServerTimeout => Self::Timeout,
        }
    }
}

impl Failure {
    fn into_attempt(self, request: Repeatable) -> Attempt {
        match self {
            Self::Broken => Attempt::Failed(RetryCondition::Error, request),
            Self::Timeout => Attempt::Failed(RetryCondition::Timeout, request),
            Self::Invalid => Attempt::Failed(RetryCondition::InvalidHeader, request),
            Self::Over(ending) => Attempt::Over(ending),
        }
    }
}

impl Session {
    /// Asks one server. A kept connection that turns out to be closed is replaced by a new one.
    pub(super) async fn attempt(
        &mut self,
        exchange: &Exchange,
        upload: &mut Option<Upload>,
        turn: &Turn,
        server: usize,
    ) -> Attempt {
        let mut kept = turn.cluster().and_then(|cluster| cluster.take_idle(server));
        let mut is_fresh = false;
        loop {
            let mut is_kept = kept.is_some();
            let unsent = Repeatable {
                sent: false,
                idempotent: exchange.is_idempotent,
                body_gone: upload.as_ref().is_some_and(|upload| upload.has_begun),
            };
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => match Box::pin(self.connect(exchange, turn, server, is_fresh)).await {
                    Ok(stream) => stream,
                    Err(failure) => return failure.into_attempt(unsent),
                },
            };
            is_kept |= stream.is_shared();
            is_fresh = true;
            if let Some(upload) = upload {
                upload.restart();
            }
            let mut pending = Pending {
                exchange,
                deadline: self.timer.deadline(exchange.limits().send),
                watch: true,
                upload,
                sent: 0,
                is_deaf: false,
                is_silent: true,
                block: None,
            };
            let asked = self.ask(&mut pending, &mut stream, turn).await;
            let Pending {
                sent, is_silent, ..
            } = pending;
            let request = Repeatable {
                sent: sent > 0,
                body_gone: upload.as_ref().is_some_and(|upload| upload.has_begun),
                ..unsent
            };
            let asked = asked.and_then(|(head, block)| self.take_answer(head, block, exchange));
            match asked {
                Ok((head, download)) => return self.weigh(head, download, stream, turn, server),
                Err(Failure::Broken)
                    if is_kept
                        && is_silent
                        && exchange.options().policy.again_on_stale(request) =>
                {
                    self.shared.count(|totals| totals.stale_replaced += 1);
                }
                Err(failure) => return failure.into_attempt(request),
            }
        }
    }

    async fn connect(
        &mut self,
        exchange: &Exchange,
        turn: &Turn,
        server: usize,
        is_fresh: bool,
    ) -> Result<Wire, Failure> {
        let cluster = turn.cluster().ok_or(Failure::Broken)?;
        let address = {
            let mut group = cluster.group.borrow_mut();
            group.count_connect(server);
            group.address(server).cloned().ok_or(Failure::Broken)?
        };
        self.timer.arm(exchange.limits().connect);
        let ends = self.ends.addresses();
        let mut connecting = pin!(cluster.dial.connect(server, &address, ends, is_fresh));
        let mut watch = true;
        let connected = poll_fn(|context| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
                return Poll::Ready(connected.map_err(|error| {
                    debug!(%address, %error, "cannot connect");
                    connect_failure(&error)
                }));
            }
            if self.timer.has_expired() {
                return Poll::Ready(Err(Failure::Timeout));
            }
            if self.is_client_gone(context, &mut watch) {
                return Poll::Ready(Err(Failure::Over(Ending::ClientGone)));
            }
            Poll::Pending
        });
        connected.await
    }

    /// Sends the request and reads until the head of the final answer has come.
    async fn ask(
        &mut self,
        pending: &mut Pending<'_>,
        stream: &mut Wire,
        turn: &Turn,
    ) -> Result<(Final, Block), Failure> {
        loop {
            poll_fn(|context| self.poll_answer(context, pending, stream)).await?;
            while let Some(mut block) = pending.block.take() {
                match self.judge(pending, block.bytes(), turn) {
                    Start::Incomplete => {
                        pending.block = Some(block);
                        break;
                    }
                    Start::Invalid => return Err(Failure::Invalid),
                    Start::Interim(len, text) => {
                        block.consume(len);
                        pending.block = Some(block).filter(|block| !block.is_empty());
                        if let Some(text) = text {
                            let sent = self.send(&text, pending.exchange.limits().send).await;
                            sent.map_err(|_| Failure::Over(Ending::ClientGone))?;
                        }
                    }
                    Start::Final(head) => return Ok((head, block)),
                }
            }
        }
    }

    /// Sends what can be sent and reads what is there. Ready when bytes of the answer have come.
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        pending: &mut Pending<'_>,
        stream: &mut Wire,
    ) -> Poll<Result<(), Failure>> {
        let limits = pending.exchange.limits();
        self.poll_message(context, pending, stream);
        let mut is_uploading = false;
        if pending.sent == pending.exchange.message.len()
            && let Some(upload) = pending.upload
            && upload.is_active()
        {
            let (timer, buffers) = (&self.timer, &self.shared.buffers);
            let client = &mut self.stream;
            match upload.poll(context, client, stream, timer, buffers, &mut self.block) {
                Poll::Ready(Ok(())) => pending.deadline = timer.deadline(limits.read),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    is_uploading = true;
                    pending.deadline = upload.deadline();
                }
            }
        }
        let mut block = match pending.block.take() {
            Some(block) => block,
            None => self.shared.buffers.block(),
        };
        let filled = poll_fill(context, stream, &mut block);
        pending.block = Some(block).filter(|block| !block.is_empty());
        match filled {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Failure::Broken)),
            Poll::Ready(Ok(_)) => {
                pending.is_silent = false;
                pending.deadline = self.timer.deadline(limits.read);
                return Poll::Ready(Ok(()));
            }
            Poll::Pending => {}
        }
        if !is_uploading {
            if self.timer.has_passed(pending.deadline) {
                return Poll::Ready(Err(Failure::Timeout));
            }
            if self.is_client_gone(context, &mut pending.watch) {
                return Poll::Ready(Err(Failure::Over(Ending::ClientGone)));
            }
        }
        self.timer.arm_at(pending.deadline);
        Poll::Pending
    }

    /// Sends what is left of the message, as far as the server takes it.
    fn poll_message(
        &self,
        context: &mut Context<'_>,
        pending: &mut Pending<'_>,
        stream: &mut Wire,
    ) {
        let message = &pending.exchange.message;
        let limits = pending.exchange.limits();
        while !pending.is_deaf
            && let Some(rest) = message.get(pending.sent..).filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut *stream).poll_write(context, rest) {
                Poll::Ready(Ok(len)) => {
                    pending.sent += len;
                    let is_sent = pending.sent == message.len();
                    let limit = if is_sent { limits.read } else { limits.send };
                    pending.deadline = self.timer.deadline(limit);
                }
                // It may have answered before it closed: that is for the reading side.
                Poll::Ready(Err(_)) => pending.is_deaf = true,
                Poll::Pending => return,
            }
        }
    }

    /// Whether the client has closed or broken its connection. Nothing is read; once there are
    /// bytes of a next request, the end behind them cannot be seen and `watch` is turned off.
    pub(super) fn is_client_gone(&mut self, context: &mut Context<'_>, watch: &mut bool) -> bool {
        if !*watch {
            return false;
        }
        match self.stream.poll_sign(context) {
            Sign::Gone => true,
            Sign::Bytes => {
                *watch = false;
                false
            }
            Sign::Quiet => false,
        }
    }

    /// Takes account of the part of the body that came with the head.
    fn take_answer(
        &self,
        head: Final,
        mut block: Block,
        exchange: &Exchange,
    ) -> Result<(Final, Download), Failure> {
        block.consume(head.len);
        let mut download = Download::new(head.body, head.unchunked, exchange.limits());
        if let Some(coding) = head.coding {
            match Compressor::new(coding) {
                Ok(compressor) => download.code(compressor),
                Err(error) => {
                    debug!(%error, "cannot compress");
                    return Err(Failure::Over(Ending::Answer(500)));
                }
            }
        }
        download.begin(block).map_err(|error| {
            debug!(%error, "an answer with bad framing");
            Failure::Invalid
        })?;
        Ok((head, download))
    }

    /// Makes an answer of it, unless another server is asked.
    fn weigh(
        &self,
        head: Final,
        download: Download,
        stream: Wire,
        turn: &Turn,
        server: usize,
    ) -> Attempt {
        let Some(condition) = head.retry else {
            return Attempt::Answer(Box::new(Answer {
                server: stream,
                status: head.status,
                head: head.head,
                download,
                server_stays: head.server_stays,
                close: head.close,
            }));
        };
        if head.server_stays
            && download.is_received()
            && let Some(cluster) = turn.cluster()
        {
            cluster.keep(server, stream, self.shared.timers.now());
        }
        Attempt::Next(condition)
    }
}

/// A process that has no descriptor, port or memory left must not hold it against the server.
fn connect_failure(error: &io::Error) -> Failure {
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    match Errno::from_io_error(error) {
        Some(errno) if own.contains(&errno) => Failure::Over(Ending::Answer(503)),
        _ => Failure::Broken,
    }
}
