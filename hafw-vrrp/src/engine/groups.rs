//! Sync groups: routers that move together, with keepalived's meaning of `vrrp_sync_group`. All are
//! Active or none is: a group takes over when every member would, stands down when one does, and is
//! in fault while one is. A router without a group is one of its own.

use crate::{Instant, VirtualRouter};

/// Who belongs together, and what each was told.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    members: Vec<Vec<usize>>,
    /// Index into `members`, by router.
    of: Vec<usize>,
    /// By router.
    started: Vec<bool>,
    /// By router: its own fault, not its group's.
    faulty: Vec<bool>,
}

impl Groups {
    /// Each of so many routers for itself.
    pub(super) fn alone(routers: usize) -> Self {
        Self {
            members: (0..routers).map(|router| vec![router]).collect(),
            of: (0..routers).collect(),
            started: vec![false; routers],
            faulty: vec![false; routers],
        }
    }

    /// These belong together from now on.
    pub(super) fn join(&mut self, routers: &[usize]) {
        let routers: Vec<usize> = routers
            .iter()
            .copied()
            .filter(|router| *router < self.of.len())
            .collect();
        for members in &mut self.members {
            members.retain(|member| !routers.contains(member));
        }
        for router in &routers {
            self.of[*router] = self.members.len();
        }
        self.members.push(routers);
    }

    /// The members of a router's group, itself among them.
    pub(super) fn with(&self, router: usize) -> &[usize] {
        match self.of.get(router) {
            Some(group) => &self.members[*group],
            None => &[],
        }
    }

    /// A router was told to start. Whether all of its group were: they start together.
    pub(super) fn start(&mut self, router: usize) -> bool {
        if let Some(started) = self.started.get_mut(router) {
            *started = true;
        }
        self.with(router).iter().all(|member| self.started[*member])
    }

    /// A router's own fault begins or ends. Whether its group is in fault.
    pub(super) fn fault(&mut self, router: usize, faulty: bool) -> bool {
        if let Some(own) = self.faulty.get_mut(router) {
            *own = faulty;
        }
        self.with(router).iter().any(|member| self.faulty[*member])
    }

    /// Fires the timers that are due, but those of a group of which not every member takes over.
    pub(super) fn fire(&self, routers: &mut [VirtualRouter], now: Instant) {
        for members in &self.members {
            let ready = members
                .iter()
                .all(|member| routers[*member].is_active() || routers[*member].takes_over(now));
            for member in members {
                let router = &mut routers[*member];
                if ready || !router.takes_over(now) {
                    router.handle_timeout(now);
                }
            }
        }
    }

    /// When [`Self::fire`] has something to do next. A Backup waits for the last of its group.
    pub(super) fn deadline(&self, routers: &[VirtualRouter]) -> Option<Instant> {
        let of_group = |members: &Vec<usize>| {
            let group = members.iter().map(|member| &routers[*member]);
            let backups = group.clone().filter(|router| router.is_backup()).count();
            let takeover = if backups == members.len() {
                group.clone().filter_map(VirtualRouter::poll_timeout).max()
            } else {
                None
            };
            let others = group
                .filter(|router| !router.is_backup())
                .filter_map(VirtualRouter::poll_timeout)
                .min();
            [others, takeover].into_iter().flatten().min()
        };
        self.members.iter().filter_map(of_group).min()
    }

    /// Where one of a group is not Active any more, the others are not either.
    pub(super) fn level(&self, routers: &mut [VirtualRouter], now: Instant) {
        for members in self.members.iter().filter(|members| members.len() > 1) {
            if members.iter().all(|member| routers[*member].is_active()) {
                continue;
            }
            for member in members {
                routers[*member].stand_down(now);
            }
        }
    }
}
