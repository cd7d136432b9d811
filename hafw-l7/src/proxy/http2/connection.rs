//! A client's HTTP/2 connection: takes its requests, and ends it in order.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;
use tracing::debug;

use super::{
    Downstream,
    screened::{Refused, Screened},
};
use crate::{
    http1::MAX_HEAD,
    http2,
    proxy::{Shared, buffers::Block, session::Session, timers::Timer, wire::Wire},
    retry::Millis,
    values::Ends,
};

/// Requests that a client may have under way, as in nginx.
const MAX_STREAMS: u32 = 128;
/// Bytes of one request's body, and of all of them, that a client may send ahead.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that wait to be sent.
const SEND_BUFFER: usize = 128 * 1024;
/// Requests given up, over those that were answered, after which a client is sent away (as
/// CVE-2023-44487 asks for).
const MAX_RESETS: u32 = 200;
/// How long a client may take to close after it was told to.
const LAST_WORDS: Millis = 5000;

/// A connection on which HTTP/2 is spoken.
pub(in crate::proxy) struct Connection {
    pub(in crate::proxy) shared: Rc<Shared>,
    pub(in crate::proxy) wire: Wire,
    /// Bytes that were read already.
    pub(in crate::proxy) block: Option<Block>,
    pub(in crate::proxy) client: IpAddr,
    /// As in a session.
    pub(in crate::proxy) peer: Option<IpAddr>,
    /// The configured address that it came in by.
    pub(in crate::proxy) address: SocketAddr,
    /// The server that the client named when TLS was set up.
    pub(in crate::proxy) named: Option<usize>,
    pub(in crate::proxy) ends: Ends,
    pub(in crate::proxy) timer: Timer,
}

/// The requests of a connection.
#[derive(Debug)]
pub(super) struct Live {
    open: Cell<usize>,
    resets: Cell<u32>,
    /// Of the connection's task.
    waker: RefCell<Option<Waker>>,
}

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

impl Live {
    /// Whether the client gives up more than it lets be answered.
    fn is_excessive(&self) -> bool {
        self.resets.get() > MAX_RESETS
    }

    pub(super) fn note_reset(&self) {
        self.resets.set(self.resets.get() + 1);
    }

    pub(super) fn note_end(&self, is_served: bool) {
        self.open.set(self.open.get().saturating_sub(1));
        if is_served {
            self.resets.set(self.resets.get().saturating_sub(1));
        }
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Connection {
    /// Serves the connection to its end.
    pub(in crate::proxy) async fn serve(self) {
        let Self {
            shared,
            wire,
            block,
            client,
            peer,
            address,
            named,
            ends,
            timer,
        } = self;
        let waiting = || {
            let generation = shared.generation();
            let site = generation.plan.site(address)?;
            let server = generation.plan.servers.get(site.first)?;
            Some(server.options(None).limits)
        };
        let Some(limits) = waiting() else { return };
        timer.arm(limits.client_header);
        let mut builder = h2::server::Builder::new();
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .max_send_buffer_size(SEND_BUFFER);
        let screened = Screened::new(block, wire, Rc::clone(&shared));
        let refused = screened.refused();
        let mut handshake = pin!(builder.handshake::<_, Bytes>(screened));
        let connection = poll_fn(|context| match handshake.as_mut().poll(context) {
            Poll::Pending if timer.has_expired() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
            Poll::Ready(connection) => Poll::Ready(connection.ok()),
        });
        let Some(mut connection) = connection.await else {
            return;
        };
        let live = Rc::new(Live {
            open: Cell::new(0),
            resets: Cell::new(0),
            waker: RefCell::default(),
        });
        let mut state = State::Open;
        loop {
            let next = poll_fn(|context| {
                if live.waker.borrow().is_none() {
                    *live.waker.borrow_mut() = Some(context.waker().clone());
                }
                let keepalive = || {
                    waiting()
                        .filter(|_| !shared.stopping.get())
                        .map(|limits| limits.keepalive)
                };
                let parts = (&mut connection, &mut state);
                poll_next(context, parts, &live, &refused, &timer, keepalive)
            });
            let Some((request, mut respond)) = next.await else {
                break;
            };
            if http2::is_malformed(&request) {
                respond.send_reset(Reason::PROTOCOL_ERROR);
                continue;
            }
            live.open.set(live.open.get() + 1);
            let waker = poll_fn(|context| Poll::Ready(context.waker().clone()));
            let stream = Downstream::new(request, respond, Rc::clone(&live));
            let (shared, ends) = (Rc::clone(&shared), ends.clone());
            tokio::task::spawn_local(async move {
                let mut session = Session {
                    timer: shared.timers.timer(waker.await),
                    stream: Wire::Downstream(Box::new(stream)),
                    client,
                    peer,
                    address,
                    named,
                    may_be_http2: false,
                    ends,
                    block: None,
                    current: None,
                    answered: None,
                    shared,
                };
                session.serve().await;
            });
        }
        drop(connection);
        if live.is_excessive() || refused.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            shared.note_offence(peer);
        }
        if refused.reason().is_some() {
            timer.arm(LAST_WORDS);
            refused.linger(&timer).await;
        }
    }
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// No request is under way, and the time for that runs.
    Idle,
    /// The client was told that no more requests are taken.
    Leaving,
}

/// The next request; `None` at the end. `keepalive` gives the time without a request, if the
/// connection is to stay.
fn poll_next(
    context: &mut Context<'_>,
    (connection, state): (&mut h2::server::Connection<Screened, Bytes>, &mut State),
    live: &Live,
    refused: &Refused,
    timer: &Timer,
    keepalive: impl Fn() -> Option<Millis>,
) -> Poll<Option<Accepted>> {
    loop {
        match connection.poll_accept(context) {
            Poll::Ready(Some(Ok(accepted))) => {
                if *state == State::Idle {
                    *state = State::Open;
                    timer.arm_at(Millis::MAX);
                }
                return Poll::Ready(Some(accepted));
            }
            Poll::Ready(Some(Err(error))) => {
                debug!(%error, "an HTTP/2 connection broke");
                return Poll::Ready(None);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        let is_idle = live.open.get() == 0;
        let keepalive = keepalive();
        if let Some(reason) = refused.take() {
            debug!(%reason, "a client breaks the rules of HTTP/2");
            connection.abrupt_shutdown(reason);
        } else if live.is_excessive() && *state != State::Leaving {
            debug!("a client gives up more requests than it lets be answered");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        } else if *state == State::Leaving {
            if is_idle && timer.has_expired() {
                return Poll::Ready(None);
            }
            return Poll::Pending;
        } else if let Some(keepalive) = keepalive.filter(|_| !timer.has_expired()) {
            if is_idle && *state == State::Open {
                *state = State::Idle;
                timer.arm(keepalive);
            }
            return Poll::Pending;
        } else {
            connection.graceful_shutdown();
        }
        // Sends what was said.
        *state = State::Leaving;
        timer.arm(LAST_WORDS);
    }
}
