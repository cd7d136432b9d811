//! Sources that the proxy finds over its limits, kept out by XDP for a time (`enforce = "xdp"`).

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use hafw_l7::control::client::Control;
use hafw_vrrp::Instant as Nanos;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tracing::{debug, info, warn};

use super::run::Node;
use crate::{
    control::{Answer, BlockedStatus},
    datapath::{BlockTable, TableError},
    sys::clock,
};

/// How often a proxy that does not answer is asked.
const AGAIN: Duration = Duration::from_secs(1);
/// Sources that are listed in the status.
const SHOWN: usize = 1000;

/// See the module.
pub(super) struct Blocks {
    table: BlockTable,
    /// When the time of each is over.
    until: BTreeMap<IpAddr, Instant>,
    offenders: mpsc::Receiver<Vec<IpAddr>>,
    task: Option<JoinHandle<()>>,
    /// Sources that found no room.
    pub(super) full: u64,
}

impl Blocks {
    /// Goes on with whom a former controller has kept out.
    pub(super) fn open(table: BlockTable, proxy: Option<&Control>) -> Result<Self, TableError> {
        let (news, offenders) = mpsc::channel(16);
        let task = proxy.map(|control| tokio::spawn(follow(control.clone(), news)));
        let now = Instant::now();
        let kept_out = table.sources(clock::now())?.into_iter();
        Ok(Self {
            until: kept_out
                .map(|(source, left)| (source, now + left))
                .collect(),
            table,
            offenders,
            task,
            full: 0,
        })
    }

    /// Sources that the proxy tells of; waits for ever without one.
    pub(super) async fn next(&mut self) -> Vec<IpAddr> {
        match self.offenders.recv().await {
            Some(sources) => sources,
            None => std::future::pending().await,
        }
    }

    fn block(&mut self, source: IpAddr, time: Duration) -> Result<(), TableError> {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = clock::now().as_nanos().saturating_add(nanos);
        if self.table.block(source, Nanos::from_nanos(end))? {
            self.until.insert(source, Instant::now() + time);
            info!(%source, ?time, "over the proxy's limits: kept out");
        } else {
            self.full += 1;
            warn!(%source, "over the proxy's limits: no room to keep it out");
        }
        Ok(())
    }

    fn unblock(&mut self, source: IpAddr) -> Result<bool, TableError> {
        self.until.remove(&source);
        self.table.unblock(source)
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self) -> Result<(), TableError> {
        let now = Instant::now();
        let over: Vec<_> = self
            .until
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(source, _)| *source)
            .collect();
        for source in over {
            self.unblock(source)?;
            debug!(%source, "let in again");
        }
        Ok(())
    }

    /// Those that are kept out, the longest first.
    pub(super) fn status(&self) -> Vec<BlockedStatus> {
        let now = Instant::now();
        let mut all: Vec<_> = self
            .until
            .iter()
            .map(|(source, until)| BlockedStatus {
                source: *source,
                seconds: until.saturating_duration_since(now).as_secs(),
            })
            .collect();
        all.sort_by_key(|blocked| std::cmp::Reverse(blocked.seconds));
        all.truncate(SHOWN);
        all
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Node {
    /// Keeps sources out, if the configuration says so.
    pub(super) fn block(&mut self, sources: &[IpAddr]) {
        let proxy = self.config.proxy.as_ref();
        let Some(block) = proxy.and_then(|proxy| proxy.block) else {
            return;
        };
        for source in sources {
            if let Err(error) = self.blocks.block(*source, block.time) {
                warn!(%source, %error, "cannot keep a source out");
            }
        }
    }

    /// `hafw unblock`.
    pub(super) fn answer_unblock(&mut self, source: IpAddr) -> Answer {
        match self.blocks.unblock(source.to_canonical()) {
            Ok(true) => Answer::Done(format!("{source}: let in again")),
            Ok(false) => Answer::Error(format!("{source} is not kept out")),
            Err(error) => Answer::Error(error.to_string()),
        }
    }
}

/// Asks the proxy for offenders, for as long as somebody listens.
async fn follow(proxy: Control, news: mpsc::Sender<Vec<IpAddr>>) {
    while !news.is_closed() {
        match proxy.offenders().await {
            Ok(sources) if sources.is_empty() => {}
            Ok(sources) => {
                if news.send(sources).await.is_err() {
                    return;
                }
            }
            // Its state is shown elsewhere.
            Err(error) => {
                debug!(%error, "the proxy does not tell of offenders");
                sleep(AGAIN).await;
            }
        }
    }
}
