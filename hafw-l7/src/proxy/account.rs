//! What is counted and logged once a request is over.

use std::time::Duration;

use super::{buffers::Text, own::Current, session::Session, wire::Wire};
use crate::{
    counters::class,
    http1::request::RequestHead,
    log::{Outcome, Record},
    model::Address,
    route::Fields as _,
};

/// nginx's status for a client that went away before its answer.
const CLIENT_GONE: u16 = 499;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answered {
    status: u16,
    /// Bytes of the answer, without its head.
    bytes: u64,
    upstream: Option<Address>,
}

/// What is kept of a request for its line in the log.
pub(super) type Logged = Record<Text>;

impl Answered {
    /// An answer of the proxy's own.
    pub(super) fn own(status: u16, bytes: usize) -> Self {
        Self {
            status,
            bytes: bytes as u64,
            upstream: None,
        }
    }

    pub(super) fn relayed(status: u16, bytes: u64, upstream: Option<Address>) -> Self {
        Self {
            status,
            bytes,
            upstream,
        }
    }

    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn client_gone() -> Self {
        Self::own(CLIENT_GONE, 0)
    }
}

impl Session {
    /// Keeps what the log tells of a request.
    pub(super) fn record(&self, head: &RequestHead<'_, '_>) -> Logged {
        let (mut referrer, mut agent) = (&b""[..], &b""[..]);
        for header in head.headers {
            if header.name.eq_ignore_ascii_case("referer") {
                referrer = header.value;
            } else if header.name.eq_ignore_ascii_case("user-agent") {
                agent = header.value;
            }
        }
        let protocol = match (&self.stream, head.http11) {
            (Wire::Downstream(_), _) => "HTTP/2.0",
            (_, true) => "HTTP/1.1",
            (_, false) => "HTTP/1.0",
        };
        let host = head.host().unwrap_or_default();
        let parts = [head.method, head.path_and_query(), host, referrer, agent];
        Record::new(self.shared.buffers.text(), parts, protocol)
    }

    /// Counts and logs the request that is over, if there was one.
    pub(super) fn account(&mut self) {
        let Some(answered) = self.answered.take() else {
            return;
        };
        let Some(current) = &self.current else {
            return;
        };
        let took = current.started.elapsed();
        let generation = &current.generation;
        generation.count_route(current.server, current.route, |route| {
            if let Some(count) = route.answers.get_mut(class(answered.status)) {
                *count += 1;
            }
            route.bytes += answered.bytes;
            route.latency.count(took);
        });
        self.log(current, &answered, took);
    }

    fn log(&self, current: &Current, answered: &Answered, took: Duration) {
        let Some(record) = &current.record else {
            return;
        };
        let Some(log) = &current.options().access_log else {
            return;
        };
        let Some(sink) = current.generation.sink(log) else {
            return;
        };
        let upstream = answered.upstream.as_ref().map(Address::to_string);
        let outcome = Outcome {
            client: self.ends.client(),
            status: answered.status,
            bytes: answered.bytes,
            took,
            id: current.id,
            upstream: upstream.as_deref().unwrap_or_default(),
        };
        self.shared.with_date(|date| {
            sink.log(|out| record.append(log.format, date, &outcome, out));
        });
    }
}
