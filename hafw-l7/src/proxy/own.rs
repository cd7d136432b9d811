//! Answers that the proxy gives itself: refusals, failures, and what routes say to answer.

use std::{rc::Rc, time::Instant};

use super::{
    account::{Answered, Logged},
    buffers::Text,
    generation::Generation,
    intake::{Exchange, Refusal},
    pages::{self, Page},
    session::{End, LINGER, Session},
};
use crate::{
    counters::class,
    plan::{ActionPlan, OptionsPlan, RespondPlan, ServerPlan, append_line},
    template::{Scope, Values},
};

/// What is known of the request that is being answered, whoever answers it.
#[derive(Debug)]
pub(crate) struct Current {
    pub(super) generation: Rc<Generation>,
    /// Index of the virtual server.
    pub(super) server: usize,
    pub(super) route: Option<usize>,
    /// Header lines for its answer.
    pub(super) lines: Option<Text>,
    /// When its head had come.
    pub(super) started: Instant,
    /// Different for each request.
    pub(super) id: u128,
    /// What the log tells of it, if there is one.
    pub(super) record: Option<Logged>,
}

/// What is answered without asking a server.
#[derive(Debug)]
pub(crate) enum Own {
    /// That the request is not served, with this status.
    Refused(u16),
    /// What a route or a rule says.
    Routed(Routed),
}

/// An answer that a route or a rule gives.
#[derive(Debug)]
pub(crate) struct Routed {
    status: u16,
    /// Content-Type and Location.
    lines: Text,
    body: Text,
}

impl Current {
    pub(super) fn server(&self) -> &ServerPlan {
        self.generation
            .plan
            .servers
            .get(self.server)
            .expect("a request's server is one of its generation's")
    }

    pub(super) fn options(&self) -> &OptionsPlan {
        self.server().options(self.route)
    }
}

impl Session {
    /// Gives an answer that says that no other can be given.
    pub(super) async fn answer(
        &mut self,
        status: u16,
        close: bool,
        is_head: bool,
    ) -> Result<(), End> {
        let text = self.page_text(status, close, is_head);
        self.answered = Some(Answered::own(status, body_len(&text)));
        self.count_answer(status);
        self.shared.count(|totals| {
            match class(status) {
                3 => totals.refused += 1,
                _ => totals.failed += 1,
            }
            totals.misdirected += u64::from(status == 421);
        });
        self.send_own(&text).await
    }

    pub(super) async fn refuse(&mut self, refusal: Refusal) -> End {
        self.shared.count(|totals| totals.requests += 1);
        let sent = self.answer(refusal.status, true, refusal.is_head).await;
        sent.err().unwrap_or(End::Linger)
    }

    /// Gives the answer of a route. `Ok` if the client's connection goes on.
    pub(super) async fn answer_own(&mut self, own: &Own, exchange: &Exchange) -> Result<(), End> {
        let is_unread = exchange.is_unread();
        let close =
            is_unread || !exchange.keep_alive || !exchange.http11 || self.shared.stopping.get();
        match own {
            Own::Refused(status) => self.answer(*status, close, exchange.is_head).await?,
            Own::Routed(routed) => {
                let text = self.own_text(routed, close, exchange.is_head);
                self.answered = Some(Answered::own(routed.status, body_len(&text)));
                self.count_answer(routed.status);
                self.send_own(&text).await?;
            }
        }
        match (close, is_unread) {
            (false, _) => Ok(()),
            (true, true) => Err(End::Linger),
            (true, false) => Err(End::Close),
        }
    }

    fn page_text(&self, status: u16, close: bool, is_head: bool) -> Text {
        let mut text = self.shared.buffers.text();
        let current = self.current.as_deref();
        let options = current.map(Current::options);
        let page = options.and_then(|options| options.page(status));
        let mut usual = self.shared.buffers.text();
        pages::append_body(status, &mut usual);
        let page = Page {
            status: page.map_or(status, |page| match page.status {
                0 => status,
                other => other,
            }),
            content_type: page.map_or(pages::PLAIN, |page| page.content_type.as_bytes()),
            body: page.map_or(&usual, |page| page.body.as_bytes()),
            removed: options.map_or(&[], |options| &options.response_headers.set),
            lines: lines(current),
        };
        self.shared
            .with_date(|date| page.append(close, is_head, date, &mut text));
        text
    }

    fn own_text(&self, own: &Routed, close: bool, is_head: bool) -> Text {
        let current = self.current.as_deref();
        let mut all_lines = self.shared.buffers.text();
        all_lines.extend_from_slice(&own.lines);
        all_lines.extend_from_slice(lines(current));
        let page = Page {
            status: own.status,
            // It is among the lines, where `removed` has been looked at.
            content_type: b"",
            body: &own.body,
            removed: current.map_or(&[], |current| &current.options().response_headers.set),
            lines: &all_lines,
        };
        let mut text = self.shared.buffers.text();
        self.shared
            .with_date(|date| page.append(close, is_head, date, &mut text));
        text
    }

    fn count_answer(&self, status: u16) {
        self.shared.count(|totals| {
            if let Some(count) = totals.answers.get_mut(class(status)) {
                *count += 1;
            }
        });
    }

    async fn send_own(&mut self, text: &[u8]) -> Result<(), End> {
        let limit = self.waiting_limits().map_or(LINGER, |limits| limits.send);
        self.send(text, limit).await
    }

    /// The answer that a route gives to a request; `None` if servers are to be asked.
    pub(super) fn own_answer(
        &self,
        options: &OptionsPlan,
        action: &ActionPlan,
        scope: &Scope<'_>,
        values: &impl Values,
    ) -> Option<Own> {
        match action {
            ActionPlan::Upstream(_) => None,
            ActionPlan::Respond(RespondPlan {
                status,
                content_type,
                body,
            }) => {
                let mut text = self.shared.buffers.text();
                body.render(scope, values, &mut text);
                Some(Own::Routed(Routed {
                    status: *status,
                    lines: self.content_type(options, content_type),
                    body: text,
                }))
            }
            ActionPlan::Redirect { status, to } => {
                let mut location = self.shared.buffers.text();
                to.render(scope, values, &mut location);
                Some(self.redirect(options, *status, &location))
            }
        }
    }

    /// An answer that sends the client elsewhere.
    pub(super) fn redirect(&self, options: &OptionsPlan, status: u16, to: &[u8]) -> Own {
        let mut lines = self.content_type(options, pages::PLAIN);
        append_line(&mut lines, b"Location", |out| out.extend_from_slice(to));
        let mut body = self.shared.buffers.text();
        pages::append_body(status, &mut body);
        Own::Routed(Routed {
            status,
            lines,
            body,
        })
    }

    fn content_type(&self, options: &OptionsPlan, value: &[u8]) -> Text {
        let mut lines = self.shared.buffers.text();
        let mut set = options.response_headers.set.iter();
        if !set.any(|header| header.name.eq_ignore_ascii_case(b"content-type")) {
            append_line(&mut lines, b"Content-Type", |out| {
                out.extend_from_slice(value)
            });
        }
        lines
    }
}

fn body_len(answer: &[u8]) -> usize {
    let head = memchr::memmem::find(answer, b"\r\n\r\n");
    head.map_or(0, |head| answer.len() - head - 4)
}

/// The header lines that an answer gets.
pub(super) fn lines(current: Option<&Current>) -> &[u8] {
    current
        .and_then(|current| current.lines.as_ref())
        .map_or(&[], |lines| lines)
}
