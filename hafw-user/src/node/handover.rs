//! Giving routers to a peer without loss: the node advertises the lowest priority and goes on as
//! Active, until a peer that preempts claims the router. No moment is without an owner, and if there
//! is no peer, nothing happens.

use std::{collections::BTreeSet, time::Duration};

use hafw_vrrp::{RouterConfig, VirtualRouter};
use tokio::time::{Instant, sleep};
use tracing::info;

use super::run::Node;
use crate::{
    control::{Answer, HandoverAnswer},
    vrrp,
};

const LOOK: Duration = Duration::from_millis(10);

impl Node {
    /// On request.
    pub(super) fn handover(&mut self, name: &str, handed_over: bool) -> Answer {
        let named = |router: &crate::config::Router| router.name.value == name;
        let Some(index) = self.config.routers.iter().position(named) else {
            let names: Vec<_> = self
                .config
                .routers
                .iter()
                .map(|router| router.name.value.as_str())
                .collect();
            return Answer::Error(format!(
                "there is no router {name:?}; there are: {}",
                names.join(", ")
            ));
        };
        info!(router = name, handed_over, "asked for a handover");
        self.tracking.hand_over(index, handed_over);
        self.apply_standings();
        let takes = self
            .vrrp
            .snapshots()
            .get(index)
            .map_or(Duration::ZERO, |snapshot| {
                longest_takeover(snapshot.router.config())
            });
        Answer::Handover(HandoverAnswer {
            takes_ms: u64::try_from(takes.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Every router.
    pub(super) fn hand_everything_over(&mut self) -> impl Future<Output = ()> + use<> {
        self.hand_over_all((0..self.routers.len()).collect())
    }

    /// To be awaited while the node goes on serving: until a peer has taken each of these routers
    /// that is Active here, or none does. Not longer than a stop may take.
    pub(super) fn hand_over_all(
        &mut self,
        routers: BTreeSet<usize>,
    ) -> impl Future<Output = ()> + use<> {
        for router in &routers {
            self.tracking.hand_over(*router, true);
        }
        self.apply_standings();
        let vrrp = self.vrrp.clone();
        let longest = active(&vrrp, &routers)
            .iter()
            .map(|router| longest_takeover(router.config()))
            .max();
        let limit = longest
            .unwrap_or_default()
            .min(self.config.node.stop_timeout);
        async move {
            let start = Instant::now();
            while !active(&vrrp, &routers).is_empty() && start.elapsed() < limit {
                sleep(LOOK).await;
            }
        }
    }
}

/// Those of the routers that are Active.
fn active(vrrp: &vrrp::Handle, routers: &BTreeSet<usize>) -> Vec<VirtualRouter> {
    let snapshots = vrrp.snapshots();
    let all = snapshots.iter().enumerate();
    all.filter(|(index, snapshot)| routers.contains(index) && snapshot.router.is_active())
        .map(|(_, snapshot)| snapshot.router.clone())
        .collect()
}

/// From the command to a peer's claim: an advert of the old priority may have left just before, and
/// the peer's Active_Down_Interval is less than one interval longer than its adverts.
fn longest_takeover(config: &RouterConfig) -> Duration {
    config.interval.as_duration() * (u32::from(config.down_timer_adverts) + 2)
}
