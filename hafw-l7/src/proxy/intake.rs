//! Reads request heads, routes them, and makes what is sent on.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Instant};

use tracing::debug;

use super::{
    buffers::{Block, Text},
    duplex::poll_fill,
    generation::Generation,
    own::{Current, Own},
    pages,
    session::{End, Session, Silence},
};
use crate::{
    compress::Coding,
    http1::{
        self, Body, MAX_HEAD, forward,
        request::{self, RequestBody, RequestHead},
    },
    http2::screen::PREFACE,
    limits::{self, Verdict},
    plan::{
        ActionPlan, Limits, OptionsPlan, RatePlan, Resolved, StickyPlan, Unrouted, UpstreamPlan,
    },
    retry::Millis,
    route::{Fields as _, cookie, path},
    template::{Scope, Values},
    upstream::{Asker, hash_of},
    values::RequestValues,
};

/// How long a connection stays for a request that may be on its way when the worker stops. Its
/// answer says that the connection closes.
const DRAIN: Millis = 1000;

/// A request that has been read and routed.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) generation: Rc<Generation>,
    /// Index of the virtual server, and of its route if there is one.
    server: usize,
    route: Option<usize>,
    /// Index of the cluster.
    pub(super) cluster: usize,
    /// What its server is chosen by.
    pub(super) asker: Asker,
    /// How long it waits before a server is asked, so that it keeps to a rate.
    pub(super) delay: Millis,
    /// How the answer's body may be coded.
    pub(super) coding: Option<Coding>,
    /// What is answered without asking a server.
    pub(super) own: Option<Own>,
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
    /// Whether the client wants to go on with another protocol.
    pub(super) is_upgrade: bool,
    expects_continue: bool,
}

/// A request that is answered without asking a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) is_head: bool,
}

impl Exchange {
    pub(super) fn options(&self) -> &OptionsPlan {
        let servers = &self.generation.plan.servers;
        servers
            .get(self.server)
            .expect("a request's server is one of its generation's")
            .options(self.route)
    }

    pub(super) fn limits(&self) -> Limits {
        self.options().limits
    }

    /// Whether the client has to send more of the request.
    pub(super) fn is_unread(&self) -> bool {
        self.missing > 0 || self.body.is_some()
    }

    /// Whether the answer is there before the client has to send more.
    pub(super) fn answers_early(&self) -> bool {
        self.own.is_some() && (self.body.is_some() || self.expects_continue)
    }
}

impl Session {
    /// Reads and routes the next request.
    pub(super) async fn next_request(&mut self, is_first: bool) -> Result<Exchange, End> {
        let head_limit = self.arm_for_next(is_first)?;
        let mut partial: Option<Text> = None;
        if self.block.is_none() {
            self.block = Some(self.read_idle().await?);
        }
        self.timer.arm(head_limit);
        if is_first && self.speaks_http2().await {
            return Err(End::Http2);
        }
        let refusal = loop {
            if let Some(block) = self.block.take() {
                match self.begin_with(&mut partial, block) {
                    Ok(Some(exchange)) => {
                        self.shared.count(|totals| totals.requests += 1);
                        return Ok(exchange);
                    }
                    Ok(None) => {}
                    Err(refusal) => break refusal,
                }
            }
            match self.read().await {
                Ok(block) => self.block = Some(block),
                Err(Silence::Timeout) => {
                    self.shared.count(|totals| totals.client_timeouts += 1);
                    break Refusal {
                        status: 408,
                        is_head: false,
                    };
                }
                Err(Silence::Closed) => return Err(End::Close),
            }
        };
        Err(Box::pin(self.refuse(refusal)).await)
    }

    /// Sets how long the connection may stay without a request, and forgets the last one. Returns how
    /// long the head of the next may take.
    fn arm_for_next(&mut self, is_first: bool) -> Result<Millis, End> {
        let limits = self.waiting_limits().ok_or(End::Close)?;
        let last = self.current.take();
        self.timer.arm(if is_first {
            limits.client_header
        } else {
            last.map_or(limits, |last| last.options().limits).keepalive
        });
        Ok(limits.client_header)
    }

    /// Whether the connection begins with HTTP/2's preface, where that may be spoken.
    async fn speaks_http2(&mut self) -> bool {
        if !self.may_be_http2 {
            return false;
        }
        while let Some(block) = &mut self.block
            && PREFACE.starts_with(block.bytes())
            && block.bytes().len() < PREFACE.len()
        {
            // Whatever else comes of it is for the first request.
            let Ok(more) = poll_fn(|context| {
                let filled = poll_fill(context, &mut self.stream, block);
                match filled {
                    Poll::Pending if self.timer.has_expired() => Poll::Ready(Ok(0)),
                    Poll::Ready(_) | Poll::Pending => filled,
                }
            })
            .await
            else {
                return false;
            };
            if more == 0 {
                return false;
            }
        }
        let block = self.block.as_ref();
        block.is_some_and(|block| block.bytes().starts_with(PREFACE))
    }

    /// Waits for the first bytes of a request.
    async fn read_idle(&mut self) -> Result<Block, End> {
        let mut drains = false;
        let waited = poll_fn(|context| {
            let read = self.poll_read(context);
            if read.is_pending() {
                if self.waiting_limits().is_none() {
                    return Poll::Ready(Err(Silence::Closed));
                }
                if self.shared.stopping.get() && !drains {
                    drains = true;
                    self.timer.arm(DRAIN);
                }
            }
            read
        });
        match waited.await {
            Ok(block) => Ok(block),
            Err(Silence::Closed) => Err(End::Close),
            Err(Silence::Timeout) => {
                let is_silent = !self.shared.stopping.get();
                self.shared
                    .count(|totals| totals.client_timeouts += u64::from(is_silent));
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
                    let mut exchange = exchange;
                    self.take_small_body(&mut exchange, block);
                    Ok(Some(exchange))
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
        let mut exchange = exchange;
        self.take_small_body(&mut exchange, block);
        Ok(Some(exchange))
    }

    /// Parses and routes the request at the start of `bytes` and makes the head to send on.
    /// Returns how many bytes were used; `None` if the head is not complete.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<(Exchange, usize)>, Refusal> {
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

    /// Finds a request's server and route, and makes what is sent on or answered. An error is a
    /// status.
    fn route(&mut self, head: &RequestHead<'_, '_>) -> Result<Exchange, u16> {
        let generation = self.shared.generation();
        let site = generation.plan.site(self.address).ok_or(421_u16)?;
        let server = site.hosts.find(head.host()).ok_or(421_u16)?;
        if !site.admits(self.named.unwrap_or(server), server) {
            return Err(421);
        }
        let plan = generation.plan.servers.get(server).ok_or(421_u16)?;
        let current = self.current.insert(Box::new(Current {
            generation: Rc::clone(&generation),
            server,
            route: None,
            lines: None,
            started: Instant::now(),
            id: self.shared.ids.next(),
            record: None,
        }));
        let id = current.id;
        let mut scratch = Vec::new();
        let path = path::normalize(head.target.path(), &mut scratch).map_err(|_| 400_u16)?;
        let values = RequestValues {
            request: head,
            server_name: &plan.name,
            ends: &self.ends,
            id,
        };
        let resolved = plan.resolve(path, self.client, head, &values);
        current.route = match &resolved {
            Ok(Resolved { route, .. }) => Some(*route),
            Err(Unrouted::Redirect { route, .. }) => *route,
            Err(Unrouted::NotFound | Unrouted::Circle) => None,
        };
        let route = current.route;
        let options = plan.options(route);
        if options.access_log.is_some() {
            let record = self.record(head);
            if let Some(current) = &mut self.current {
                current.record = Some(record);
            }
        }
        let (missing, body) = match head.body {
            RequestBody::Length(len) if len > options.limits.body_size => return Err(413),
            RequestBody::Length(len) if len <= options.replay_buffer => (len as usize, None),
            RequestBody::Length(len) => (0, Some(Body::Length(len))),
            RequestBody::Chunked => (0, Some(Body::chunked())),
        };
        let mut exchange = Exchange {
            server,
            route,
            cluster: usize::MAX,
            asker: Asker {
                client: self.client,
                key: 0,
                draw: self.shared.ids.draw(),
                stick_to: None,
            },
            delay: 0,
            coding: None,
            own: None,
            message: self.shared.buffers.text(),
            missing,
            body,
            is_head: head.is_head(),
            http11: head.http11,
            keep_alive: head.keep_alive,
            is_idempotent: head.is_idempotent(),
            expects_continue: head.expects_continue,
            is_upgrade: head.upgrade.is_some(),
            generation: Rc::clone(&generation),
        };
        if let Some(compress) = &options.compress {
            head.any(b"accept-encoding", |accept| {
                exchange.coding = Coding::choose(accept, &compress.codings);
                exchange.coding.is_some()
            });
        }
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(Unrouted::NotFound) => {
                exchange.own = Some(Own::Refused(404));
                return Ok(exchange);
            }
            Err(Unrouted::Circle) => {
                exchange.own = Some(Own::Refused(500));
                return Ok(exchange);
            }
            Err(Unrouted::Redirect { status, to, .. }) => {
                let scope = Scope {
                    captures: None,
                    path,
                    query: head.query(),
                };
                let lines = self.answer_lines(options, &scope, &values);
                exchange.own = Some(self.redirect(options, status, &to));
                self.set_answer_lines(lines);
                return Ok(exchange);
            }
        };
        let plan_route = plan.routes.get(resolved.route).ok_or(404_u16)?;
        let lines = plan.with_scope(&resolved, path, head, |scope| {
            if !options.rates.is_empty() {
                match self.judge_rates(&generation, &options.rates, scope, &values) {
                    Ok(delay) => exchange.delay = delay,
                    Err(status) => {
                        exchange.own = Some(Own::Refused(status));
                        return self.answer_lines(options, scope, &values);
                    }
                }
            }
            if let ActionPlan::Upstream(cluster) = plan_route.action {
                let target = resolved.target.as_deref();
                let message = &mut exchange.message;
                forward::request(head, target, options, scope, &values, message);
                exchange.cluster = cluster;
                if let Some(upstream) = generation.plan.upstreams.get(cluster) {
                    self.complete_asker(&mut exchange.asker, upstream, head, scope, &values);
                }
            } else {
                exchange.own = self.own_answer(options, &plan_route.action, scope, &values);
            }
            self.answer_lines(options, scope, &values)
        });
        self.set_answer_lines(lines);
        Ok(exchange)
    }

    /// How long a request has to wait for its rate limits; an error is a status.
    fn judge_rates(
        &self,
        generation: &Generation,
        rates: &[RatePlan],
        scope: &Scope<'_>,
        values: &impl Values,
    ) -> Result<Millis, u16> {
        let now = limits::now();
        let mut longest = 0;
        for rate in rates {
            let mut key = self.shared.buffers.text();
            rate.key.render(scope, values, &mut key);
            let Some(zone) = generation.zone(rate).filter(|_| !key.is_empty()) else {
                continue;
            };
            match zone.take(&key, rate.rate, now) {
                Verdict::Pass(delay) => longest = longest.max(delay),
                Verdict::Refuse => {
                    self.shared.count(|totals| totals.rate_limited += 1);
                    self.shared.note_offence(self.peer);
                    return Err(rate.status);
                }
            }
        }
        Ok(longest)
    }

    fn complete_asker(
        &self,
        asker: &mut Asker,
        upstream: &UpstreamPlan,
        head: &RequestHead<'_, '_>,
        scope: &Scope<'_>,
        values: &impl Values,
    ) {
        if let Some(hash) = &upstream.hash {
            let mut text = self.shared.buffers.text();
            hash.render(scope, values, &mut text);
            asker.key = hash_of(text.as_slice());
        }
        if let Some(sticky) = &upstream.sticky {
            head.any(b"cookie", |line| {
                asker.stick_to = cookie(line, &sticky.name).and_then(StickyPlan::mark);
                asker.stick_to.is_some()
            });
        }
    }

    /// Makes the header lines that the answer gets, while the request is known.
    fn answer_lines(
        &self,
        options: &OptionsPlan,
        scope: &Scope<'_>,
        values: &impl Values,
    ) -> Option<Text> {
        let changes = &options.response_headers;
        (!changes.is_empty()).then(|| {
            let mut lines = self.shared.buffers.text();
            changes.render(scope, values, &mut lines);
            lines
        })
    }

    fn set_answer_lines(&mut self, lines: Option<Text>) {
        if let Some(current) = &mut self.current {
            current.lines = lines;
        }
    }

    /// Moves what came of a small body into the message. What follows stays here.
    fn take_small_body(&mut self, exchange: &mut Exchange, mut block: Block) {
        let bytes = block.bytes();
        let body = bytes.get(..exchange.missing).unwrap_or(bytes);
        let len = body.len();
        exchange.message.extend_from_slice(body);
        exchange.missing -= len;
        block.consume(len);
        self.block = Some(block).filter(|block| !block.is_empty());
    }

    /// Reads the rest of a small body. Lets a client go on that waits for that.
    pub(super) async fn complete_body(&mut self, exchange: &mut Exchange) -> Result<(), End> {
        if exchange.expects_continue && self.block.is_none() {
            self.send(pages::CONTINUE, exchange.limits().send).await?;
        }
        while exchange.missing > 0 {
            self.timer.arm(exchange.limits().client_body);
            match self.read().await {
                Ok(block) => self.take_small_body(exchange, block),
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
        Ok(())
    }
}
