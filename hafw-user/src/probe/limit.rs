//! The time that one probe may take in all.

use std::time::Duration;

use hafw_lb::Outcome;
use tokio::time::{Instant, timeout_at};

use super::Report;

/// A deadline, and how long it was when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    timeout: Duration,
    deadline: Instant,
}

impl Limit {
    pub(super) fn starting_now(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    /// Waits until the deadline at most; what is `missing` then is named in the report.
    pub(super) async fn wait<F: Future>(
        self,
        missing: &str,
        future: F,
    ) -> Result<F::Output, Report> {
        timeout_at(self.deadline, future).await.map_err(|_| Report {
            outcome: Outcome::TimedOut,
            reason: format!("no {missing} within {:?}", self.timeout),
            number: None,
        })
    }
}
