//! What a worker counts, as plain numbers. Each worker owns its own set and nothing on the path of
//! a request is shared; the sets are added up when somebody asks for the status.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counted since the proxy started, except where named otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections open now.
    pub active: u64,
    /// Request heads read in full, refused ones included.
    pub requests: u64,
    /// Final answers to clients by class (index 0 = 1xx … 4 = 5xx), the proxy's own included.
    pub answers: [u64; 5],
    /// Final answers that the proxy made itself, in 400..=499: refused requests.
    pub refused: u64,
    /// The part of `refused` that named a host which the listener does not serve (421).
    pub misdirected: u64,
    /// Final answers that the proxy made itself, in 500..=599: no upstream answer to pass on.
    pub failed: u64,
    /// Attempts after a request's first one.
    pub retries: u64,
    /// Pooled upstream connections that turned out to be closed and were replaced unseen.
    pub stale_replaced: u64,
    /// Connections closed because the client was silent for too long.
    pub client_timeouts: u64,
    /// Connections closed because they did not begin with the PROXY header that they should.
    pub proxy_failed: u64,
    /// Connections closed because TLS could not be set up.
    pub tls_failed: u64,
    /// Connections closed at once because there were too many, in all or of their source.
    pub over_limit: u64,
    /// Requests refused because their rate limit was exceeded.
    pub rate_limited: u64,
    /// Requests given up because the client went away.
    pub client_aborts: u64,
    /// Answers cut short because the upstream server broke off within the body.
    pub truncated: u64,
    /// Bytes read from clients and written to them.
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl Totals {
    /// Adds another worker's numbers to these.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.active += other.active;
        self.requests += other.requests;
        for (sum, n) in self.answers.iter_mut().zip(other.answers) {
            *sum += n;
        }
        self.refused += other.refused;
        self.misdirected += other.misdirected;
        self.failed += other.failed;
        self.retries += other.retries;
        self.stale_replaced += other.stale_replaced;
        self.client_timeouts += other.client_timeouts;
        self.proxy_failed += other.proxy_failed;
        self.tls_failed += other.tls_failed;
        self.over_limit += other.over_limit;
        self.rate_limited += other.rate_limited;
        self.client_aborts += other.client_aborts;
        self.truncated += other.truncated;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
    }
}

/// What the requests of one route came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteCounters {
    /// The server's first name, or its number from 0.
    pub server: String,
    /// The route's path as the file has it, or its number from 0; empty for requests that no route
    /// took.
    pub route: String,
    /// Answers by class (index 0 = 1xx … 4 = 5xx); 499 stands for a client that went away.
    pub answers: [u64; 5],
    /// Bytes of answers, without their heads.
    pub bytes: u64,
    /// From the end of the request's head to the end of its answer.
    pub latency: Histogram,
}

impl RouteCounters {
    fn add(&mut self, other: &Self) {
        for (sum, n) in self.answers.iter_mut().zip(other.answers) {
            *sum += n;
        }
        self.bytes += other.bytes;
        self.latency.add(&other.latency);
    }
}

/// Adds the routes of one worker to a sum; what does not line up is left out.
pub fn add_routes(sum: &mut Vec<RouteCounters>, other: &[RouteCounters]) {
    if sum.is_empty() {
        sum.extend_from_slice(other);
        return;
    }
    for (sum, other) in sum.iter_mut().zip(other) {
        if (&sum.server, &sum.route) == (&other.server, &other.route) {
            sum.add(other);
        }
    }
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// How many took at most so long as [`Histogram::BOUNDS_MS`] says, and longer than the bound
    /// before; the last counts what took longer than all.
    pub buckets: [u64; 14],
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// The upper bounds of the buckets, in milliseconds.
    pub const BOUNDS_MS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

    pub fn count(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut bounds = Self::BOUNDS_MS.iter();
        let at = bounds.position(|bound| micros <= bound * 1000);
        if let Some(bucket) = self.buckets.get_mut(at.unwrap_or(Self::BOUNDS_MS.len())) {
            *bucket += 1;
        }
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    fn add(&mut self, other: &Self) {
        for (sum, n) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += n;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}

/// A cluster, as the workers together see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamCounters {
    pub name: String,
    pub servers: Vec<ServerCounters>,
}

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCounters {
    /// As it is configured, or what its name was resolved to.
    pub address: String,
    pub backup: bool,
    /// Attempts made at this server.
    pub attempts: u64,
    /// Attempts that count towards `max_fails`.
    pub failures: u64,
    /// Connections opened to it.
    pub connects: u64,
    /// Answers by class (index 0 = 1xx … 4 = 5xx), those that led to a retry included.
    pub answers: [u64; 5],
    /// Attempts under way now.
    pub active: u64,
    /// Idle connections kept now.
    pub idle: u64,
    /// Workers that keep the server out for now because it failed too often, or because probes
    /// say that it is down.
    pub out: u64,
    /// From the start of an attempt to the head of its answer.
    #[serde(default)]
    pub latency: Histogram,
}

impl ServerCounters {
    /// A server of which nothing is known yet.
    #[must_use]
    pub fn new(address: impl Into<String>, backup: bool) -> Self {
        Self {
            address: address.into(),
            backup,
            attempts: 0,
            failures: 0,
            connects: 0,
            answers: [0; 5],
            active: 0,
            idle: 0,
            out: 0,
            latency: Histogram::default(),
        }
    }

    /// Adds what another worker counted of the same server.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failures += other.failures;
        self.connects += other.connects;
        for (sum, n) in self.answers.iter_mut().zip(other.answers) {
            *sum += n;
        }
        self.active += other.active;
        self.idle += other.idle;
        self.out += other.out;
        self.latency.add(&other.latency);
    }
}

/// Adds the clusters of one worker to a sum, which has the same clusters and servers in the same
/// order when both come from one configuration; what does not line up is left out.
pub fn add_upstreams(sum: &mut Vec<UpstreamCounters>, other: &[UpstreamCounters]) {
    if sum.is_empty() {
        sum.extend_from_slice(other);
        return;
    }
    for (sum, other) in sum.iter_mut().zip(other) {
        for (sum, other) in sum.servers.iter_mut().zip(&other.servers) {
            if sum.address == other.address {
                sum.add(other);
            }
        }
    }
}

/// The index of a status code's class in the `answers` arrays; codes outside 100..=599 count as
/// the nearest class.
#[must_use]
pub fn class(status: u16) -> usize {
    usize::from((status / 100).clamp(1, 5) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_code() {
        assert_eq!(class(100), 0);
        assert_eq!(class(204), 1);
        assert_eq!(class(399), 2);
        assert_eq!(class(421), 3);
        assert_eq!(class(599), 4);
        assert_eq!(class(0), 0);
        assert_eq!(class(999), 4);
    }

    #[test]
    fn a_duration_is_counted_below_the_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for micros in [0, 1000, 1001, 10_000_000, 10_000_001] {
            histogram.count(Duration::from_micros(micros));
        }

        let filled: Vec<_> = histogram
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .collect();
        assert_eq!(filled, [(0, &2), (1, &1), (12, &1), (13, &1)]);
        assert_eq!(histogram.sum_us, 20_002_002);
    }

    #[test]
    fn a_sum_takes_every_worker_and_skips_what_does_not_line_up() {
        let address = "10.0.0.7:80";
        let other = "10.0.0.8:80";
        let of = |address: &str, attempts| UpstreamCounters {
            name: "web".to_owned(),
            servers: vec![ServerCounters {
                attempts,
                ..ServerCounters::new(address, false)
            }],
        };
        let mut sum = Vec::new();

        add_upstreams(&mut sum, &[of(address, 3)]);
        add_upstreams(&mut sum, &[of(address, 4)]);
        add_upstreams(&mut sum, &[of(other, 100)]);

        assert_eq!(sum, [of(address, 7)]);
    }
}
