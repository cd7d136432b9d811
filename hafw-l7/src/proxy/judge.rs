//! What is made of the bytes that a server sent: nothing yet, an answer to pass on, or a reason to
//! ask another server.

use tracing::debug;

use super::{
    attempt::Pending, buffers::Text, generation::Turn, intake::Exchange, own, session::Session,
};
use crate::{
    compress::Coding,
    counters::class,
    http1::{
        self, Body, MAX_HEAD,
        forward::{self, AnswerOptions},
        response::{self, ResponseHead},
    },
    model::RetryCondition,
    plan::append_line,
    retry::Repeatable,
};

/// What stands at the start of the bytes that a server sent.
pub(super) enum Start {
    Incomplete,
    Invalid,
    /// An interim answer of this many bytes, with what the client gets of it.
    Interim(usize, Option<Text>),
    Final(Final),
}

/// The head of a final answer.
pub(super) struct Final {
    pub(super) len: usize,
    pub(super) status: u16,
    /// The head for the client; empty if another server is asked.
    pub(super) head: Text,
    pub(super) body: Body,
    /// Why another server is to be asked instead.
    pub(super) retry: Option<RetryCondition>,
    pub(super) unchunked: bool,
    /// The body is coded so on its way.
    pub(super) coding: Option<Coding>,
    pub(super) server_stays: bool,
    pub(super) close: bool,
}

impl Session {
    /// Parses what a server has sent, and decides what to do with a head that is complete.
    pub(super) fn judge(&self, pending: &Pending<'_>, bytes: &[u8], turn: &Turn) -> Start {
        let exchange = pending.exchange;
        let mut slots = http1::slots();
        let head = match response::parse(bytes, exchange.is_head, &mut slots) {
            Ok(Some(head)) => head,
            Ok(None) if bytes.len() < MAX_HEAD => return Start::Incomplete,
            Ok(None) => return Start::Invalid,
            Err(error) => {
                debug!(%error, "an answer that is no HTTP");
                return Start::Invalid;
            }
        };
        if head.upgrade.is_some() && !exchange.is_upgrade {
            debug!("a protocol that nobody asked for");
            return Start::Invalid;
        }
        turn.count_answer(class(head.status));
        if head.is_interim() {
            let text = exchange.http11.then(|| {
                let mut text = self.shared.buffers.text();
                forward::interim(&head, &mut text);
                text
            });
            return Start::Interim(head.bytes.len(), text);
        }
        let mut end = self.final_head(&head, pending);
        end.retry = self.retry_condition(&head, pending, turn);
        if end.retry.is_none() {
            let cookie = self.sticky_cookie(exchange, turn);
            let lines = match &cookie {
                Some(lines) => lines,
                None => own::lines(self.current.as_deref()),
            };
            self.shared.with_date(|date| {
                let options = AnswerOptions {
                    close: end.close && head.upgrade.is_none(),
                    say_keep_alive: !end.close && !exchange.http11,
                    unchunked: end.unchunked,
                    date,
                    coding: end.coding,
                    removed: &exchange.options().response_headers.set,
                    lines,
                };
                forward::answer(&head, options, &mut end.head);
            });
        }
        Start::Final(end)
    }

    /// All lines that the answer gets, if there is one that brings the client back to the server.
    fn sticky_cookie(&self, exchange: &Exchange, turn: &Turn) -> Option<Text> {
        let upstream = exchange.generation.plan.upstreams.get(exchange.cluster)?;
        let sticky = upstream.sticky.as_ref()?;
        let mark = turn
            .mark()
            .filter(|mark| exchange.asker.stick_to != Some(*mark))?;
        let mut lines = self.shared.buffers.text();
        lines.extend_from_slice(own::lines(self.current.as_deref()));
        append_line(&mut lines, b"Set-Cookie", |out| sticky.append(mark, out));
        Some(lines)
    }

    fn final_head(&self, head: &ResponseHead<'_, '_>, pending: &Pending<'_>) -> Final {
        let exchange = pending.exchange;
        let is_chunked = matches!(head.body, Body::Chunked(_));
        let unchunked = is_chunked && !exchange.http11;
        let is_uploading = pending
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.is_complete);
        let has_no_end = unchunked || head.body == Body::UntilClose;
        Final {
            len: head.bytes.len(),
            status: head.status,
            head: self.shared.buffers.text(),
            body: head.body,
            retry: None,
            unchunked,
            coding: coding(head, exchange),
            server_stays: head.keep_alive,
            close: !exchange.keep_alive || self.shared.stopping.get() || is_uploading || has_no_end,
        }
    }

    fn retry_condition(
        &self,
        head: &ResponseHead<'_, '_>,
        pending: &Pending<'_>,
        turn: &Turn,
    ) -> Option<RetryCondition> {
        let condition = RetryCondition::of_status(head.status)?;
        let request = Repeatable {
            sent: true,
            idempotent: pending.exchange.is_idempotent,
            body_gone: pending
                .upload
                .as_ref()
                .is_some_and(|upload| upload.has_begun),
        };
        let now = self.shared.timers.now();
        let policy = pending.exchange.options().policy;
        let again = policy.again(&turn.attempts, condition, request, now);
        (again && turn.has_another(now)).then_some(condition)
    }
}

/// How an answer's body is to be coded: as the client asks, if the answer may be changed so and it
/// is worth it.
fn coding(head: &ResponseHead<'_, '_>, exchange: &Exchange) -> Option<Coding> {
    let coding = exchange.coding?;
    let compress = exchange.options().compress.as_ref()?;
    let may_be_coded = (200..300).contains(&head.status)
        && ![204, 206].contains(&head.status)
        && exchange.http11
        && !exchange.is_head;
    let is_short = match head.body {
        Body::Length(len) => len == 0 || len < compress.min_length,
        Body::Chunked(_) | Body::UntilClose => false,
    };
    if !may_be_coded || is_short {
        return None;
    }
    let mut media_type = &b""[..];
    for header in head.headers {
        if header.name.eq_ignore_ascii_case("content-type") {
            media_type = header.value;
        } else if header.name.eq_ignore_ascii_case("content-encoding")
            || header.name.eq_ignore_ascii_case("cache-control")
                && memchr::memmem::find(header.value, b"no-transform").is_some()
        {
            return None;
        }
    }
    let end = memchr::memchr(b';', media_type).unwrap_or(media_type.len());
    let media_type = media_type.get(..end).unwrap_or_default().trim_ascii();
    let is_meant = |wanted: &String| match wanted.strip_suffix('*') {
        Some(kind) => media_type
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes())),
        None => media_type.eq_ignore_ascii_case(wanted.as_bytes()),
    };
    compress.types.iter().any(is_meant).then_some(coding)
}
