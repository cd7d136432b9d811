//! One request and its answer: asks the cluster's servers in turn until one of them answers in a
//! way that is passed on.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{
    account::Answered,
    attempt::{Answer, Attempt},
    duplex::{Download, DownloadError, Ending, Upload},
    generation::{Cluster, Turn},
    intake::Exchange,
    session::{End, Session},
    wire::Wire,
};
use crate::{
    counters::class,
    model::RetryCondition,
    retry::{Millis, Policy, counts_as_failure},
    upstream::Outcome,
};

impl Session {
    /// Has a request answered. `Ok` if the client's connection goes on.
    pub(super) async fn exchange(&mut self, exchange: &mut Exchange) -> Result<(), End> {
        if exchange.is_unread() && !exchange.answers_early() {
            Box::pin(self.complete_body(exchange)).await?;
        }
        if let Some(own) = &exchange.own {
            return self.answer_own(own, exchange).await;
        }
        if exchange.delay > 0
            && let Err(ending) = self.wait(exchange.delay, exchange.body.is_none()).await
        {
            return self.end(exchange, ending).await;
        }
        let mut upload = None;
        if let Some(body) = exchange.body.take() {
            let begun = Upload::begin(
                body,
                self.block.take(),
                exchange.limits(),
                &self.shared.buffers,
                &mut self.block,
            );
            match begun {
                Ok(begun) => upload = Some(begun),
                Err(ending) => return self.end(exchange, ending).await,
            }
        }
        let exchange = &*exchange;
        let policy = exchange.options().policy;
        let mut turn = self.first_turn(exchange, &policy);
        let mut status = 502;
        loop {
            let server = match self.next_server(exchange, &mut turn).await {
                Ok(Some(server)) => server,
                Ok(None) => break,
                Err(ending) => return self.end(exchange, ending).await,
            };
            let asked = Instant::now();
            let tried = self.attempt(exchange, &mut upload, &turn, server).await;
            let now = self.shared.timers.now();
            match tried {
                Attempt::Answer(answer) => {
                    let address = turn.answered(asked.elapsed());
                    self.answered = Some(Answered::relayed(answer.status, 0, address));
                    return self.relay(exchange, upload, turn, server, *answer).await;
                }
                Attempt::Over(ending) => return self.end(exchange, ending).await,
                Attempt::Next(condition) => turn.release(outcome(condition), now),
                Attempt::Failed(condition, request) => {
                    debug!(?condition, server, "an attempt failed");
                    turn.release(outcome(condition), now);
                    status = if condition == RetryCondition::Timeout {
                        504
                    } else {
                        502
                    };
                    if !policy.again(&turn.attempts, condition, request, now) {
                        break;
                    }
                }
            }
            turn.attempts.next();
            if turn.has_another(now) {
                self.shared.count(|totals| totals.retries += 1);
            }
        }
        self.fail(exchange, upload.as_ref(), status).await
    }

    /// Waits, so that a request keeps to its rate. The worker's timers are too coarse for that.
    async fn wait(&mut self, delay: Millis, mut watch: bool) -> Result<(), Ending> {
        let mut slept = pin!(tokio::time::sleep(Duration::from_millis(delay)));
        poll_fn(|context| {
            if slept.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match self.is_client_gone(context, &mut watch) {
                true => Poll::Ready(Err(Ending::ClientGone)),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// The server whose turn it is; waits for one if all have as many requests as they may.
    async fn next_server(
        &mut self,
        exchange: &Exchange,
        turn: &mut Turn,
    ) -> Result<Option<usize>, Ending> {
        let next = turn.advance(&exchange.asker, self.shared.timers.now());
        if next.is_some() || !turn.is_full(self.shared.timers.now()) {
            return Ok(next);
        }
        let generation = Rc::clone(&exchange.generation);
        let queue = generation.plan.upstreams.get(exchange.cluster);
        let (length, timeout) = queue.map_or((0, 0), |upstream| upstream.queue);
        let Some(cluster) = generation.clusters.get(exchange.cluster) else {
            return Ok(None);
        };
        if cluster.waiting.get() >= length {
            return Err(Ending::Answer(503));
        }
        let _waiter = Waiter::new(cluster);
        self.timer.arm(timeout);
        let mut watch = exchange.body.is_none();
        loop {
            let mut freed = pin!(cluster.freed.notified());
            poll_fn(|context| {
                if freed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if self.timer.has_expired() {
                    return Poll::Ready(Err(Ending::Answer(503)));
                }
                if self.is_client_gone(context, &mut watch) {
                    return Poll::Ready(Err(Ending::ClientGone));
                }
                Poll::Pending
            })
            .await?;
            let next = turn.advance(&exchange.asker, self.shared.timers.now());
            if next.is_some() || !turn.is_full(self.shared.timers.now()) {
                return Ok(next);
            }
        }
    }

    fn first_turn(&self, exchange: &Exchange, policy: &Policy) -> Turn {
        let cluster = exchange.generation.clusters.get(exchange.cluster);
        let servers = cluster.map_or(0, |cluster| cluster.group.borrow().len());
        let attempts = policy.begin(servers, self.shared.timers.now());
        Turn::new(&exchange.generation, exchange.cluster, attempts)
    }

    /// Answers that no server has answered.
    async fn fail(
        &mut self,
        exchange: &Exchange,
        upload: Option<&Upload>,
        status: u16,
    ) -> Result<(), End> {
        let is_complete = is_sent(upload);
        let stays = exchange.keep_alive && exchange.http11 && is_complete;
        self.answer(status, !stays, exchange.is_head).await?;
        match (stays, is_complete) {
            (true, _) => Ok(()),
            (false, true) => Err(End::Close),
            (false, false) => Err(End::Linger),
        }
    }

    /// Ends a request that cannot go on.
    async fn end(&mut self, exchange: &Exchange, ending: Ending) -> Result<(), End> {
        match ending {
            Ending::ClientGone => {
                self.answered = Some(Answered::client_gone());
                self.shared.count(|totals| totals.client_aborts += 1);
                Err(End::Close)
            }
            Ending::Answer(status) => {
                if status == 408 {
                    self.shared.count(|totals| totals.client_timeouts += 1);
                }
                self.answer(status, true, exchange.is_head).await?;
                Err(End::Linger)
            }
        }
    }

    /// Passes an answer on.
    async fn relay(
        &mut self,
        exchange: &Exchange,
        mut upload: Option<Upload>,
        mut turn: Turn,
        server: usize,
        answer: Answer,
    ) -> Result<(), End> {
        let Answer {
            server: stream,
            status,
            head,
            mut download,
            server_stays,
            close,
        } = answer;
        self.shared.count(|totals| {
            if let Some(count) = totals.answers.get_mut(class(status)) {
                *count += 1;
            }
        });
        // Of what is sent by the download.
        let mut head_len = head.len() as u64;
        if !download.prepend(&head, &self.shared.buffers) {
            self.send(&head, exchange.limits().send).await?;
            head_len = 0;
        }
        drop(head);
        if status == 101 {
            return Err(Box::pin(self.tunnel(exchange, turn, stream, download)).await);
        }
        let mut stream = Some(stream);
        if server_stays && download.is_received() && is_sent(upload.as_ref()) {
            // Nobody else has to wait until this client has taken the answer.
            self.keep(&turn, server, stream.take());
        }
        let relayed = self
            .transfer(&mut download, upload.as_mut(), stream.as_mut())
            .await;
        self.shared
            .count(|totals| totals.bytes_sent += download.sent);
        if let Some(answered) = &mut self.answered {
            answered.add_bytes(download.sent.saturating_sub(head_len));
        }
        match relayed {
            Ok(()) => {
                turn.release(Outcome::Served, self.shared.timers.now());
                if server_stays && download.is_received() && is_sent(upload.as_ref()) {
                    self.keep(&turn, server, stream);
                }
                let is_unread = self.block.is_some() || !is_sent(upload.as_ref());
                match (close, is_unread) {
                    (false, _) => Ok(()),
                    (true, true) => Err(End::Linger),
                    (true, false) => Err(End::Close),
                }
            }
            Err(DownloadError::ClientGone) => {
                self.shared.count(|totals| totals.client_aborts += 1);
                Err(End::Close)
            }
            Err(DownloadError::ClientTimeout) => {
                self.shared.count(|totals| totals.client_timeouts += 1);
                // The kernel would go on sending what it has, for as long as the client likes.
                Err(End::Reset)
            }
            Err(DownloadError::Truncated) => {
                self.shared.count(|totals| totals.truncated += 1);
                // Without a length or chunks, an end looks like the end.
                Err(if download.has_visible_end() {
                    End::Close
                } else {
                    End::Reset
                })
            }
        }
    }

    /// Moves the answer's bytes to the client and what is left of the request's to the server.
    async fn transfer(
        &mut self,
        download: &mut Download,
        mut upload: Option<&mut Upload>,
        mut server: Option<&mut Wire>,
    ) -> Result<(), DownloadError> {
        let mut watch = true;
        download.wait_for_client(&self.timer);
        poll_fn(|context| {
            let (timer, buffers) = (&self.timer, &self.shared.buffers);
            let mut deadline = Millis::MAX;
            if let Some(upload) = upload.as_deref_mut().filter(|upload| upload.is_active())
                && let Some(server) = server.as_deref_mut()
            {
                let client = &mut self.stream;
                match upload.poll(context, client, server, timer, buffers, &mut self.block) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(DownloadError::ClientGone)),
                    Poll::Pending => deadline = upload.deadline(),
                }
            }
            let client = &mut self.stream;
            let moved = download.poll(context, client, server.as_deref_mut(), timer, buffers);
            if moved.is_ready() {
                return moved;
            }
            self.timer.arm_at(deadline.min(download.deadline()));
            let is_uploading = upload.as_deref().is_some_and(Upload::is_active);
            if !is_uploading && self.is_client_gone(context, &mut watch) {
                return Poll::Ready(Err(DownloadError::ClientGone));
            }
            Poll::Pending
        })
        .await
    }

    fn keep(&self, turn: &Turn, server: usize, wire: Option<Wire>) {
        if let (Some(wire), Some(cluster)) = (wire, turn.cluster()) {
            cluster.keep(server, wire, self.shared.timers.now());
        }
    }
}

/// A request that waits for a server.
struct Waiter<'a>(&'a Cluster);

impl<'a> Waiter<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        cluster.waiting.set(cluster.waiting.get() + 1);
        Self(cluster)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// Whether the server has got the whole request.
fn is_sent(upload: Option<&Upload>) -> bool {
    upload.is_none_or(|upload| upload.is_complete)
}

fn outcome(condition: RetryCondition) -> Outcome {
    if counts_as_failure(condition) {
        Outcome::Failed
    } else {
        Outcome::Served
    }
}
