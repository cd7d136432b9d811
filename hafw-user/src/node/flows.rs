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
    datapath::{FlowState, FlowTable, TableError, Tables},
    sys::clock,
};

/// From the end of one look through the flows to the next,
const GAP: Duration = Duration::from_secs(5);
/// or, where peers are told of what it finds, so many times what listing the flows took, but at
/// least
const SHARE: u32 = 8;
/// this.
const SHORT_GAP: Duration = Duration::from_millis(500);
/// Flows judged in one go, so that nothing else waits long.
const AT_ONCE: usize = 20_000;

/// See the module.
pub(super) struct Flows {
    pub(super) table: FlowTable,
    look: Look,
    last: Option<Sweep>,
    /// Somebody is told of what is found.
    told: bool,
    /// What was found and was not told yet.
    kept: Vec<(FlowKey, FlowState)>,
    ended: bool,
    gap: Duration,
    /// Entries that the look under way has found to be needed, and the last one.
    counted: u64,
    entries: u64,
}

/// The flows, and how long that took.
type Listed = (Duration, Result<Vec<(FlowKey, FlowEntry)>, TableError>);

enum Look {
    /// Nothing to do before this.
    Rest(Instant),
    /// The flows are being listed.
    Listing(Sweep, JoinHandle<Listed>),
    /// These are still to be judged.
    Judging(Sweep, VecDeque<(FlowKey, FlowEntry)>),
}

impl Flows {
    /// `told`: whether what looks find is asked for by [`Self::take_kept`].
    pub(super) fn new(table: FlowTable, told: bool) -> Self {
        Self {
            table,
            look: Look::Rest(Instant::now()),
            last: None,
            told,
            kept: Vec::new(),
            ended: false,
            gap: GAP,
            counted: 0,
            entries: 0,
        }
    }

    /// How many entries the last look found to be needed.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Entries that were found and are needed, since the last call.
    pub(super) fn take_kept(&mut self) -> Vec<(FlowKey, FlowState)> {
        std::mem::take(&mut self.kept)
    }

    /// Whether a look has come to its end, since the last call.
    pub(super) fn take_end(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Goes on with a look, or begins one.
    pub(super) async fn look(&mut self, services: &Services) -> Result<(), TableError> {
        let idle = services.is_settled() && self.last.as_ref().is_some_and(|s| s.slots.is_empty());
        let look = std::mem::replace(&mut self.look, Look::Rest(Instant::now() + self.gap));
        self.look = match look {
            Look::Rest(until) if idle || Instant::now() < until => Look::Rest(until),
            Look::Rest(_) => self.list(),
            Look::Listing(sweep, task) if !task.is_finished() => Look::Listing(sweep, task),
            Look::Listing(sweep, task) => match task.await {
                Ok((took, flows)) => {
                    self.gap = if self.told {
                        SHORT_GAP.max(took * SHARE)
                    } else {
                        GAP
                    };
                    Look::Judging(sweep, flows?.into())
                }
                Err(error) => {
                    warn!(%error, "the flows could not be listed");
                    Look::Rest(Instant::now() + self.gap)
                }
            },
            Look::Judging(sweep, flows) => self.judge(sweep, flows, services)?,
        };
        Ok(())
    }

    /// Brings slots that have moved nearer to rest.
    pub(super) fn settle(
        &self,
        services: &mut Services,
        tables: &mut Tables,
    ) -> Result<(), TableError> {
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
        let list = move || {
            let start = Instant::now();
            let listed = lister.list();
            (start.elapsed(), listed)
        };
        Look::Listing(sweep, tokio::task::spawn_blocking(list))
    }

    fn judge(
        &mut self,
        mut sweep: Sweep,
        mut flows: VecDeque<(FlowKey, FlowEntry)>,
        services: &Services,
    ) -> Result<Look, TableError> {
        let now = clock::now();
        for (key, entry) in flows.drain(..flows.len().min(AT_ONCE)) {
            let mut state = self.table.state(&entry, now);
            let mut verdict = services.judge(&key, state.backend);
            if has_ended(state) || verdict == FlowVerdict::Drop {
                // What was listed may be old: the entry as it is now counts.
                state = self.table.get(&key, now).unwrap_or(state);
                verdict = services.judge(&key, state.backend);
            }
            match verdict {
                FlowVerdict::Keep(slot) if !has_ended(state) => {
                    sweep.slots.insert(slot);
                    sweep.backends.insert(state.backend);
                    self.counted += 1;
                    if self.told {
                        self.kept.push((key, state));
                    }
                }
                FlowVerdict::Keep(_) | FlowVerdict::Drop => self.table.remove(&key)?,
            }
        }
        if !flows.is_empty() {
            return Ok(Look::Judging(sweep, flows));
        }
        self.last = Some(sweep);
        self.ended = true;
        self.entries = std::mem::take(&mut self.counted);
        Ok(Look::Rest(Instant::now() + self.gap))
    }
}

fn has_ended(flow: FlowState) -> bool {
    flow.idle >= FLOW_IDLE || flow.closing && flow.idle >= FLOW_CLOSED
}
