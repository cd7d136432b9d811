//! Looks after slots that have moved: their flows' entries are gone through now and then, those that
//! have ended are removed, and slots without any come to rest.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hafw_common::moved::{FlowEntry, FlowKey};
use hafw_lb::{Evidence, FLOW_CLOSED, FLOW_IDLE, FlowVerdict, Sweep};
use tokio::task::JoinHandle;
use tracing::warn;

use super::services::Services;
use crate::{
    datapath::{FlowTable, TableError, Tables},
    sys::clock,
};

/// From the end of one look through the flows to the next.
const GAP: Duration = Duration::from_secs(5);
/// Flows judged in one go, so that nothing else waits long.
const AT_ONCE: usize = 20_000;

/// See the module.
pub(super) struct Flows {
    pub(super) table: FlowTable,
    look: Look,
    last: Option<Sweep>,
}

enum Look {
    /// Nothing to do before this.
    Rest(Instant),
    /// The flows are being listed.
    Listing(
        Sweep,
        JoinHandle<Result<Vec<(FlowKey, FlowEntry)>, TableError>>,
    ),
    /// These are still to be judged.
    Judging(Sweep, VecDeque<(FlowKey, FlowEntry)>),
}

impl Flows {
    pub(super) fn new(table: FlowTable) -> Self {
        Self {
            table,
            look: Look::Rest(Instant::now()),
            last: None,
        }
    }

    /// Goes on with what is to be done.
    pub(super) async fn tick(
        &mut self,
        services: &mut Services,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
        let idle = services.is_settled() && self.last.as_ref().is_some_and(|s| s.slots.is_empty());
        let look = std::mem::replace(&mut self.look, Look::Rest(Instant::now() + GAP));
        self.look = match look {
            Look::Rest(until) if idle || Instant::now() < until => Look::Rest(until),
            Look::Rest(_) => self.list(),
            Look::Listing(sweep, task) if !task.is_finished() => Look::Listing(sweep, task),
            Look::Listing(sweep, task) => match task.await {
                Ok(flows) => Look::Judging(sweep, flows?.into()),
                Err(error) => {
                    warn!(%error, "the flows could not be listed");
                    Look::Rest(Instant::now() + GAP)
                }
            },
            Look::Judging(sweep, flows) => self.judge(sweep, flows, services)?,
        };
        let now = clock::now();
        let since_boot = Duration::from_nanos(now.as_nanos());
        let base_seen = |slot| {
            let idle = self.table.base_idle(slot, now)?;
            Some(since_boot.saturating_sub(idle))
        };
        let evidence = Evidence {
            now: since_boot,
            base_seen: &base_seen,
            sweep: self.last.as_ref(),
        };
        services.settle(&evidence, tables)
    }

    fn list(&self) -> Look {
        let sweep = Sweep {
            began: Duration::from_nanos(clock::now().as_nanos()),
            ..Sweep::default()
        };
        let lister = self.table.lister();
        Look::Listing(sweep, tokio::task::spawn_blocking(move || lister.list()))
    }

    fn judge(
        &mut self,
        mut sweep: Sweep,
        mut flows: VecDeque<(FlowKey, FlowEntry)>,
        services: &Services,
    ) -> Result<Look, TableError> {
        let now = clock::now();
        for (key, entry) in flows.drain(..flows.len().min(AT_ONCE)) {
            // What was listed may be old: the entry as it is now counts.
            let listed = self.table.state(&entry, now);
            let state = self.table.get(&key, now).unwrap_or(listed);
            let ended = state.idle >= FLOW_IDLE || state.closing && state.idle >= FLOW_CLOSED;
            match services.judge(&key, state.backend) {
                FlowVerdict::Keep(slot) if !ended => {
                    sweep.slots.insert(slot);
                    sweep.backends.insert(state.backend);
                }
                FlowVerdict::Keep(_) | FlowVerdict::Drop => self.table.remove(&key)?,
            }
        }
        if !flows.is_empty() {
            return Ok(Look::Judging(sweep, flows));
        }
        self.last = Some(sweep);
        Ok(Look::Rest(Instant::now() + GAP))
    }
}
