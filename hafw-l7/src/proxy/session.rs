//! One client connection: reads request heads, routes them, and has them answered one by one.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{io::AsyncWrite as _, net::TcpStream};
use tracing::debug;

use super::{
    Shared,
    buffers::{Block, Text},
    duplex::poll_fill,
    generation::Generation,
    pages,
    timers::Timer,
};
use crate::{
    counters::class,
    http1::{
        self, Body, MAX_HEAD,
        forward::{self, Ends},
        request::{self, RequestBody, RequestHead},
    },
    plan::{Limits, ServerPlan},
    retry::Millis,
    route::path,
};

/// The largest request body that is read before a server is asked, and can be sent again.
const SMALL_BODY: u64 = 16 * 1024;
/// How long a client may take to read the last answer and close.
const LINGER: Millis = 5000;
/// The most bytes that are read from a client after the last answer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A client connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) shared: Rc<Shared>,
    pub(super) stream: TcpStream,
    pub(super) client: IpAddr,
    /// The configured address that it came in by.
    address: SocketAddr,
    ends: Ends,
    pub(super) timer: Timer,
    /// Bytes that were read and not used yet.
    pub(super) block: Option<Block>,
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

/// A request that has been read and routed.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) generation: Rc<Generation>,
    /// Index of the virtual server.
    server: usize,
    /// Index of the cluster.
    pub(super) cluster: usize,
    /// What the upstream server is sent: the head, and a small body in full.
    pub(super) message: Text,
    /// Bytes of a small body that have not come yet.
    missing: usize,
    /// A body that is passed on as it comes.
    pub(super) body: Option<Body>,
    pub(super) is_head: bool,
    pub(super) http11: bool,
    pub(super) keep_alive: bool,
    pub(super) is_idempotent: bool,
    expects_continue: bool,
}

/// A request that is answered without asking a server.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    status: u16,
    is_head: bool,
}

impl Exchange {
    pub(super) fn server(&self) -> &ServerPlan {
        self.generation
            .plan
            .servers
            .get(self.server)
            .expect("a request's server is one of its generation's")
    }

    pub(super) fn limits(&self) -> Limits {
        self.server().limits
    }
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

    /// Reads and routes the next request.
    async fn next_request(&mut self, is_first: bool) -> Result<Exchange, End> {
        let limits = self.waiting_limits().ok_or(End::Close)?;
        let mut partial: Option<Text> = None;
        if self.block.is_none() {
            self.timer.arm(if is_first {
                limits.client_header
            } else {
                limits.keepalive
            });
            self.block = Some(self.read_idle().await?);
        }
        self.timer.arm(limits.client_header);
        loop {
            if let Some(block) = self.block.take() {
                match self.begin_with(&mut partial, block) {
                    Ok(Some(exchange)) => return Ok(exchange),
                    Ok(None) => {}
                    Err(refusal) => return Err(self.refuse(refusal).await),
                }
            }
            match self.read().await {
                Ok(block) => self.block = Some(block),
                Err(Silence::Timeout) => {
                    self.shared.count(|totals| totals.client_timeouts += 1);
                    let refusal = Refusal {
                        status: 408,
                        is_head: false,
                    };
                    return Err(self.refuse(refusal).await);
                }
                Err(Silence::Closed) => return Err(End::Close),
            }
        }
    }

    /// The limits that hold until a request has named its host; `None` if the address is no longer
    /// served or the worker is stopping.
    fn waiting_limits(&self) -> Option<Limits> {
        if self.shared.stopping.get() {
            return None;
        }
        let generation = self.shared.generation.borrow();
        let site = generation.plan.site(self.address)?;
        generation
            .plan
            .servers
            .get(site.first)
            .map(|server| server.limits)
    }

    /// Waits for the first bytes of a request.
    async fn read_idle(&mut self) -> Result<Block, End> {
        let waited = poll_fn(|context| {
            let read = self.poll_read(context);
            if read.is_pending() && self.waiting_limits().is_none() {
                return Poll::Ready(Err(Silence::Closed));
            }
            read
        });
        match waited.await {
            Ok(block) => Ok(block),
            Err(Silence::Closed) => Err(End::Close),
            Err(Silence::Timeout) => {
                self.shared.count(|totals| totals.client_timeouts += 1);
                Err(End::Close)
            }
        }
    }

    /// Goes on with bytes that came. A head that is not complete waits in `partial`, so that a slow
    /// client does not hold a block.
    fn begin_with(
        &mut self,
        partial: &mut Option<Text>,
        mut block: Block,
    ) -> Result<Option<Exchange>, Refusal> {
        let Some(text) = partial else {
            return match self.begin(block.bytes())? {
                Some((exchange, used)) => {
                    block.consume(used);
                    Ok(Some(self.take_small_body(exchange, block)))
                }
                None => {
                    let mut text = self.shared.buffers.text();
                    text.extend_from_slice(block.bytes());
                    *partial = Some(text);
                    Ok(None)
                }
            };
        };
        text.extend_from_slice(block.bytes());
        let may_be_complete = memchr::memchr(b'\n', block.bytes()).is_some();
        if !may_be_complete && text.len() <= MAX_HEAD {
            return Ok(None);
        }
        let Some((exchange, used)) = self.begin(text)? else {
            return Ok(None);
        };
        // What follows the head came with this block.
        let rest = text.len() - used;
        block.consume(block.bytes().len().saturating_sub(rest));
        *partial = None;
        Ok(Some(self.take_small_body(exchange, block)))
    }

    /// Parses and routes the request at the start of `bytes` and makes the head to send on.
    /// Returns how many bytes were used; `None` if the head is not complete.
    fn begin(&self, bytes: &[u8]) -> Result<Option<(Exchange, usize)>, Refusal> {
        let refused = |status| Refusal {
            status,
            is_head: bytes.starts_with(b"HEAD "),
        };
        let mut slots = http1::slots();
        let parsed = request::parse(bytes, &mut slots).map_err(|error| {
            debug!(client = %self.client, %error, "refused a request");
            refused(error.status())
        })?;
        let Some(head) = parsed.filter(|head| head.len() <= MAX_HEAD) else {
            return match bytes.len() {
                0..MAX_HEAD => Ok(None),
                _ if memchr::memchr(b'\n', bytes).is_none_or(|at| at > MAX_HEAD) => {
                    Err(refused(414))
                }
                _ => Err(refused(431)),
            };
        };
        self.route(&head)
            .map(|exchange| Some((exchange, head.len())))
            .map_err(refused)
    }

    /// Finds a request's server and cluster. An error is a status.
    fn route(&self, head: &RequestHead<'_, '_>) -> Result<Exchange, u16> {
        let generation = self.shared.generation();
        let site = generation.plan.site(self.address).ok_or(421_u16)?;
        let server = site.hosts.find(head.host()).ok_or(421_u16)?;
        let plan = generation.plan.servers.get(server).ok_or(421_u16)?;
        let mut scratch = Vec::new();
        let path = path::normalize(head.target.path(), &mut scratch).map_err(|_| 400_u16)?;
        let found = plan.router.find(path, head).ok_or(404_u16)?;
        let (missing, body) = match head.body {
            RequestBody::Length(len) if len > plan.limits.body_size => return Err(413),
            RequestBody::Length(len) if len <= SMALL_BODY => (len as usize, None),
            RequestBody::Length(len) => (0, Some(Body::Length(len))),
            RequestBody::Chunked => (0, Some(Body::chunked())),
        };
        let mut message = self.shared.buffers.text();
        forward::request(head, plan, &self.ends, &mut message);
        Ok(Exchange {
            server,
            cluster: found.upstream,
            message,
            missing,
            body,
            is_head: head.is_head(),
            http11: head.http11,
            keep_alive: head.keep_alive,
            is_idempotent: head.is_idempotent(),
            expects_continue: head.expects_continue,
            generation,
        })
    }

    /// Moves what came of a small body into the message. What follows stays here.
    fn take_small_body(&mut self, mut exchange: Exchange, mut block: Block) -> Exchange {
        self.shared.count(|totals| totals.requests += 1);
        let bytes = block.bytes();
        let body = bytes.get(..exchange.missing).unwrap_or(bytes);
        let len = body.len();
        exchange.message.extend_from_slice(body);
        exchange.missing -= len;
        block.consume(len);
        self.block = Some(block).filter(|block| !block.is_empty());
        exchange
    }

    /// Reads the rest of a small body. Lets a client go on that waits for that.
    pub(super) async fn complete_body(&mut self, mut exchange: Exchange) -> Result<Exchange, End> {
        let waits = exchange.missing > 0 || exchange.body.is_some();
        if waits && exchange.expects_continue && self.block.is_none() {
            self.send(pages::CONTINUE, exchange.limits().send).await?;
        }
        while exchange.missing > 0 {
            self.timer.arm(exchange.limits().client_body);
            match self.read().await {
                Ok(block) => {
                    let bytes = block.bytes();
                    let body = bytes.get(..exchange.missing).unwrap_or(bytes);
                    exchange.message.extend_from_slice(body);
                    exchange.missing -= body.len();
                    let len = body.len();
                    let mut block = block;
                    block.consume(len);
                    self.block = Some(block).filter(|block| !block.is_empty());
                }
                Err(Silence::Timeout) => {
                    self.shared.count(|totals| totals.client_timeouts += 1);
                    let refusal = Refusal {
                        status: 408,
                        is_head: exchange.is_head,
                    };
                    return Err(self.refuse(refusal).await);
                }
                Err(Silence::Closed) => {
                    self.shared.count(|totals| totals.client_aborts += 1);
                    return Err(End::Close);
                }
            }
        }
        Ok(exchange)
    }

    /// Gives an answer of the proxy's own.
    pub(super) async fn answer(
        &mut self,
        status: u16,
        close: bool,
        is_head: bool,
    ) -> Result<(), End> {
        let mut text = self.shared.buffers.text();
        self.shared
            .with_date(|date| pages::page(status, close, is_head, date, &mut text));
        self.shared.count(|totals| {
            if let Some(count) = totals.answers.get_mut(class(status)) {
                *count += 1;
            }
            match class(status) {
                3 => totals.refused += 1,
                _ => totals.failed += 1,
            }
            totals.misdirected += u64::from(status == 421);
        });
        let limit = self.waiting_limits().map_or(LINGER, |limits| limits.send);
        self.send(&text, limit).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> End {
        self.shared.count(|totals| totals.requests += 1);
        let sent = self.answer(refusal.status, true, refusal.is_head).await;
        sent.err().unwrap_or(End::Linger)
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

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Block, Silence>> {
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
