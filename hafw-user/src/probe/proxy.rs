//! Asking this node's own proxy.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Limit, Report};

type Ask = dyn Fn() -> BoxFuture<'static, Report> + Send + Sync;

/// How to ask the proxy whether it serves. Two are equal if they are clones of one.
#[derive(Clone)]
pub struct ProxyProbe(Arc<Ask>);

impl ProxyProbe {
    /// `ask` is called for every probe.
    pub fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Report> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(ask())))
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        limit
            .wait("answer of the proxy", (self.0)())
            .await
            .unwrap_or_else(|report| report)
    }
}

impl fmt::Debug for ProxyProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyProbe").finish_non_exhaustive()
    }
}

impl PartialEq for ProxyProbe {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ProxyProbe {}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use hafw_lb::Outcome;

    use super::*;
    use crate::probe::Probe;

    #[tokio::test(start_paused = true)]
    async fn the_proxys_word_is_taken_and_its_silence_times_out() {
        let says = ProxyProbe::new(|| async { Report::bad("one of 2 workers is gone") });
        let report = Probe::Proxy(says).run(Duration::from_secs(1)).await;
        assert_eq!(report, Report::bad("one of 2 workers is gone"));

        let silent = Probe::Proxy(ProxyProbe::new(pending));
        let report = silent.run(Duration::from_secs(1)).await;
        assert_eq!(report.outcome, Outcome::TimedOut);
        assert_eq!(report.reason, "no answer of the proxy within 1s");
    }
}
