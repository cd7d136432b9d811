//! Whether a request that a server failed goes to the next one: nginx's `proxy_next_upstream`.
//! Pure, and ignorant of the protocol. The rules:
//!
//! * Only the conditions that the server block lists count.
//! * What may have had an effect already, a POST, LOCK or PATCH once any of it was sent, is repeated
//!   only with `non_idempotent`.
//! * A request whose body was passed through instead of kept cannot be repeated once it was sent.
//! * Tries and time are bounded by `next_upstream_tries`, `next_upstream_timeout` and the number of
//!   servers. The answer of the last server is passed on as it is.
//! * Nothing is repeated after the first byte went to the client; the caller does not ask then.

use std::time::Duration;

use crate::model::{NextUpstream, RetryCondition};

/// Milliseconds since an arbitrary start, the same for all callers of one worker.
pub type Millis = u64;

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A server block's rules, compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    on: u16,
    tries: u32,
    timeout: Millis,
}

/// What one request has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    left: u32,
    started: Millis,
}

/// What is known of a request that may have to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// Whether the server may have seen any of it.
    pub sent: bool,
    /// Whether its method has the same effect done twice as done once.
    pub idempotent: bool,
    /// Whether part of its body is no longer here.
    pub body_gone: bool,
}

impl Policy {
    #[must_use]
    pub fn new(rules: &NextUpstream) -> Self {
        Self {
            on: rules
                .on
                .iter()
                .fold(0, |set, condition| set | bit(*condition)),
            tries: rules.tries,
            timeout: millis(rules.timeout),
        }
    }

    /// The first attempt of a request to a cluster of `servers` begins.
    #[must_use]
    pub fn begin(&self, servers: usize, now: Millis) -> Attempts {
        let servers = u32::try_from(servers).unwrap_or(u32::MAX);
        let all = match self.tries {
            0 => servers,
            tries => servers.min(tries),
        };
        Attempts {
            left: all.saturating_sub(1),
            started: now,
        }
    }

    /// Whether another server may be asked after `condition` met the last attempt.
    #[must_use]
    pub fn again(
        &self,
        attempts: &Attempts,
        condition: RetryCondition,
        request: Repeatable,
        now: Millis,
    ) -> bool {
        let Repeatable {
            sent,
            idempotent,
            body_gone,
        } = request;
        let in_time = self.timeout == 0 || now.saturating_sub(attempts.started) < self.timeout;
        let harmless = idempotent || !sent || self.has(RetryCondition::NonIdempotent);
        attempts.left > 0 && in_time && self.has(condition) && harmless && !(sent && body_gone)
    }

    /// Whether a request may be sent again after a pooled connection turned out to be closed
    /// before a byte of the answer: a failure of the connection, not of the server, so it needs no
    /// condition and uses up no attempt (RFC 9112 §9.3.1).
    #[must_use]
    pub fn again_on_stale(&self, request: Repeatable) -> bool {
        let Repeatable {
            sent,
            idempotent,
            body_gone,
        } = request;
        (idempotent || !sent || self.has(RetryCondition::NonIdempotent)) && !(sent && body_gone)
    }

    fn has(&self, condition: RetryCondition) -> bool {
        self.on & bit(condition) != 0
    }
}

impl Attempts {
    /// Another attempt begins, after [`Policy::again`] allowed it.
    pub fn next(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Whether an attempt that ended so counts towards the server's `max_fails`: every condition but
/// the answers 403 and 404, which are about the request.
#[must_use]
pub fn counts_as_failure(condition: RetryCondition) -> bool {
    !matches!(condition, RetryCondition::Http403 | RetryCondition::Http404)
}

fn bit(condition: RetryCondition) -> u16 {
    let at = RetryCondition::NAMES
        .iter()
        .position(|(_, known)| *known == condition);
    at.map_or(0, |at| 1 << at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use RetryCondition::{Error, Http404, Http502, NonIdempotent, Timeout};

    use super::*;

    const GET_SENT: Repeatable = Repeatable {
        sent: true,
        idempotent: true,
        body_gone: false,
    };
    const POST_SENT: Repeatable = Repeatable {
        idempotent: false,
        ..GET_SENT
    };

    fn policy(on: &[RetryCondition]) -> Policy {
        Policy::new(&NextUpstream {
            on: on.iter().copied().collect(),
            ..NextUpstream::default()
        })
    }

    #[test]
    fn only_the_listed_conditions_count() {
        let policy = policy(&[Error, Http404]);
        let attempts = policy.begin(3, 0);

        for (_, condition) in RetryCondition::NAMES {
            assert_eq!(
                policy.again(&attempts, condition, GET_SENT, 0),
                [Error, Http404].contains(&condition),
                "{condition:?}"
            );
        }
    }

    #[test]
    fn the_last_server_is_not_followed_by_another() {
        let policy = policy(&[Http502]);
        let mut attempts = policy.begin(3, 0);

        assert!(policy.again(&attempts, Http502, GET_SENT, 0));
        attempts.next();
        assert!(policy.again(&attempts, Http502, GET_SENT, 0));
        attempts.next();
        assert!(!policy.again(&attempts, Http502, GET_SENT, 0));
        assert!(!policy.again(&policy.begin(1, 0), Http502, GET_SENT, 0));
    }

    #[test]
    fn a_sent_post_is_repeated_only_on_demand() {
        let plain = policy(&[Error]);
        let daring = policy(&[Error, NonIdempotent]);
        let attempts = plain.begin(2, 0);
        let unsent = Repeatable {
            sent: false,
            ..POST_SENT
        };

        assert!(!plain.again(&attempts, Error, POST_SENT, 0));
        assert!(plain.again(&attempts, Error, unsent, 0));
        assert!(daring.again(&attempts, Error, POST_SENT, 0));
    }

    #[test]
    fn a_body_that_is_gone_cannot_be_repeated() {
        let policy = policy(&[Error, NonIdempotent]);
        let gone = Repeatable {
            body_gone: true,
            ..GET_SENT
        };
        let unsent = Repeatable {
            sent: false,
            ..gone
        };

        assert!(!policy.again(&policy.begin(2, 0), Error, gone, 0));
        assert!(policy.again(&policy.begin(2, 0), Error, unsent, 0));
        assert!(!policy.again_on_stale(gone));
    }

    #[test]
    fn tries_and_time_are_bounded() {
        let policy = Policy::new(&NextUpstream {
            on: BTreeSet::from([Timeout]),
            tries: 2,
            timeout: Duration::from_secs(1),
        });
        let mut attempts = policy.begin(5, 100);

        assert!(policy.again(&attempts, Timeout, GET_SENT, 1099));
        assert!(!policy.again(&attempts, Timeout, GET_SENT, 1100));
        attempts.next();
        assert!(!policy.again(&attempts, Timeout, GET_SENT, 100));
    }

    #[test]
    fn a_stale_connection_is_replaced_even_with_retries_off() {
        let off = policy(&[]);

        assert!(off.again_on_stale(GET_SENT));
        assert!(!off.again_on_stale(POST_SENT));
        assert!(off.again_on_stale(Repeatable {
            sent: false,
            ..POST_SENT
        }));
    }

    #[test]
    fn answers_about_the_request_do_not_count_against_the_server() {
        for (_, condition) in RetryCondition::NAMES {
            assert_eq!(
                counts_as_failure(condition),
                !matches!(condition, RetryCondition::Http403 | Http404),
                "{condition:?}"
            );
        }
    }
}
