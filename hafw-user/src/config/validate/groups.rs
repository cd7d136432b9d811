//! Sync groups, and what an owner of the addresses does not heed.

use std::collections::{BTreeMap, BTreeSet};

use hafw_config::Place;
use hafw_vrrp::Priority;

use super::Judge;
use crate::config::model::Router;

impl Judge<'_> {
    pub(super) fn sync_groups(&self) {
        let mut groups: BTreeMap<&str, Vec<(&Router, &Place)>> = BTreeMap::new();
        for router in &self.draft.routers {
            if let Some(group) = &router.sync_group {
                let members = groups.entry(&group.value).or_default();
                members.push((router, &group.place));
            }
        }
        for (name, members) in groups {
            self.sync_group(name, &members);
        }
    }

    fn sync_group(&self, name: &str, members: &[(&Router, &Place)]) {
        let [(first, place), others @ ..] = members else {
            return;
        };
        if others.is_empty() {
            if self.draft.routers_complete {
                let message = format!(
                    "virtual_router {:?}: sync_group = {name:?}: no other router is in this group",
                    first.name.value
                );
                self.document.warning(place, message);
            }
            return;
        }
        let owner = |router: &Router| router.priority == Priority::OWNER;
        for (router, place) in others {
            if owner(router) != owner(first) {
                let message = format!(
                    "sync_group = {name:?}: an owner (priority 255) takes the VIPs at its start, \
                     and a group only when all of it would: give all of it 255, or none"
                );
                self.of_router(router, place, message);
            }
        }
        // By check: a weight counts in the router that has it, and the group waits for the others.
        let weights = |router: &Router| -> BTreeSet<(String, i16)> {
            let tracks = router.track.iter().filter(|track| track.weight != 0);
            tracks
                .map(|track| (track.check.value.clone(), track.weight))
                .collect()
        };
        for (router, place) in others {
            if weights(router) != weights(first) {
                let message = format!(
                    "virtual_router {:?}: sync_group = {name:?}: it tracks other weights than {:?}: \
                     a peer takes the group over only when it has precedence in all of it; give \
                     all the same weights, or use weight = 0 (fault), which moves the group",
                    router.name.value, first.name.value
                );
                self.document.warning(place, message);
            }
        }
    }

    /// Keys without effect on a router with priority 255 (RFC 9568 §6.1).
    pub(super) fn owner(&self, router: &Router) {
        let delayed = !router.preempt_delay.is_zero();
        if router.priority != Priority::OWNER {
            if delayed && !router.preempt {
                self.without_effect(router, "preempt_delay", "preempt is false");
            }
            return;
        }
        let why = "priority 255 is that of the addresses' owner, which always preempts";
        if !router.preempt {
            self.without_effect(router, "preempt = false", why);
        }
        if delayed {
            self.without_effect(router, "preempt_delay", why);
        }
        if !router.accept {
            let why = "priority 255 is that of the addresses' owner, which always accepts";
            self.without_effect(router, "accept = false", why);
        }
    }

    fn without_effect(&self, router: &Router, what: &str, why: &str) {
        let message = format!(
            "virtual_router {:?}: {what}: no effect: {why}",
            router.name.value
        );
        self.document.warning(&router.name.place, message);
    }
}
