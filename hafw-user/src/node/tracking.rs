//! What the checks and the link make of a router's priority, with keepalived's meaning of weight:
//! a positive weight is added while the check is up, a negative one while it is down, and a check
//! of weight 0 that is down puts the router into fault. Pure.

use std::time::Duration;

/// keepalived's bounds of an effective priority: 0 and 255 have meanings of their own.
const LOWEST: i32 = 1;
const HIGHEST: i32 = 254;
/// The priority of an address owner, which no check changes (RFC 9568 §5.2.4).
const OWNER: u8 = 255;
const HANDED_OVER: u8 = 1;

/// One `track` entry of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// Index of the check.
    pub(crate) check: usize,
    /// -253 to 253.
    pub(crate) weight: i16,
}

/// What a router should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Effective priority.
    pub(crate) priority: u8,
    /// It must give its VIPs up.
    pub(crate) fault: bool,
    /// Why either is not as configured.
    pub(crate) reasons: Vec<String>,
    /// The steering of services goes on in a fault, but the proxy's traffic does not when its own
    /// check is what failed.
    pub(crate) proxy_down: bool,
    /// Every tracked check has reported.
    pub(crate) complete: bool,
}

/// The checks of one node and who tracks them.
#[derive(Clone, Debug)]
pub(crate) struct Tracking {
    checks: Vec<Check>,
    routers: Vec<Router>,
}

#[derive(Clone, Debug)]
struct Check {
    name: String,
    proxy: bool,
    up: Option<bool>,
}

#[derive(Clone, Debug)]
struct Router {
    priority: u8,
    tracks: Vec<Track>,
    link_up: bool,
    /// The priority that a former controller advertised: it holds until the checks have reported.
    inherited: Option<u8>,
    /// It is to be another node's, as long as there is one.
    handed_over: bool,
}

impl Tracking {
    /// `checks`: names, and which of them look at the proxy. `routers`: configured priorities and
    /// what each tracks.
    #[must_use]
    pub(crate) fn new(checks: Vec<(String, bool)>, routers: Vec<(u8, Vec<Track>)>) -> Self {
        let checks = checks.into_iter().map(|(name, proxy)| Check {
            name,
            proxy,
            up: None,
        });
        let routers = routers.into_iter().map(|(priority, tracks)| Router {
            priority,
            tracks,
            link_up: true,
            inherited: None,
            handed_over: false,
        });
        Self {
            checks: checks.collect(),
            routers: routers.collect(),
        }
    }

    /// A check reported.
    pub(crate) fn set_check(&mut self, check: usize, up: bool) {
        if let Some(check) = self.checks.get_mut(check) {
            check.up = Some(up);
        }
    }

    /// The link of a router's interface changed.
    pub(crate) fn set_link(&mut self, router: usize, up: bool) {
        if let Some(router) = self.routers.get_mut(router) {
            router.link_up = up;
        }
    }

    /// A former controller advertised this priority for the router.
    pub(crate) fn inherit(&mut self, router: usize, priority: u8) {
        if let Some(router) = self.routers.get_mut(router) {
            router.inherited = Some(priority);
        }
    }

    /// A router is handed over to another node, or claims its VIPs by its priority again.
    pub(crate) fn hand_over(&mut self, router: usize, handed_over: bool) {
        if let Some(router) = self.routers.get_mut(router) {
            router.handed_over = handed_over;
        }
    }

    /// What a router should be now.
    ///
    /// # Panics
    /// There is no such router.
    #[must_use]
    pub(crate) fn standing(&self, router: usize) -> Standing {
        let Router {
            priority,
            tracks,
            link_up,
            inherited,
            handed_over,
        } = &self.routers[router];
        let mut standing = Standing {
            priority: *priority,
            fault: !link_up,
            reasons: Vec::new(),
            proxy_down: false,
            complete: true,
        };
        if !link_up {
            standing.reasons.push("its interface is down".into());
        }
        let mut sum = i32::from(*priority);
        for Track { check, weight } in tracks {
            let Some(Check { name, proxy, up }) = self.checks.get(*check) else {
                continue;
            };
            standing.complete &= up.is_some();
            // Not reported yet: as if up, but no bonus either.
            let (up, bonus) = (up.unwrap_or(true), up.unwrap_or(false));
            standing.proxy_down |= *proxy && !up;
            match weight {
                0 if !up => {
                    standing.fault = true;
                    standing.reasons.push(format!("check {name} is down"));
                }
                1.. if bonus => sum += i32::from(*weight),
                ..0 if !up => {
                    sum += i32::from(*weight);
                    standing
                        .reasons
                        .push(format!("check {name} is down: {weight}"));
                }
                _ => {}
            }
        }
        if *priority != OWNER {
            // In 1..=254 by the clamp.
            standing.priority = u8::try_from(sum.clamp(LOWEST, HIGHEST)).unwrap_or(*priority);
        }
        if let (Some(inherited), false) = (inherited, standing.complete) {
            standing.priority = *inherited;
        }
        if *handed_over {
            // Every router that preempts takes it; none, and it stays where it is.
            standing.priority = HANDED_OVER;
            standing.reasons.push("it is handed over".into());
        }
        standing
    }
}

/// How long a router waits for its checks before it takes part without them.
pub(crate) const CHECK_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn node(priority: u8, weight: i16) -> Tracking {
        Tracking::new(
            vec![("web".into(), false)],
            vec![(priority, vec![Track { check: 0, weight }])],
        )
    }

    #[test]
    fn weight_zero_is_fault_and_heals_by_itself() {
        let mut node = node(150, 0);
        node.set_check(0, false);
        assert!(node.standing(0).fault);
        node.set_check(0, true);
        assert_eq!(
            (node.standing(0).fault, node.standing(0).priority),
            (false, 150)
        );
    }

    #[test]
    fn a_negative_weight_counts_while_down_and_a_positive_one_while_up() {
        let mut lower = node(150, -60);
        lower.set_check(0, false);
        assert_eq!(
            (lower.standing(0).priority, lower.standing(0).fault),
            (90, false)
        );
        let mut lesson = node(150, 2);
        lesson.set_check(0, true);
        assert_eq!(lesson.standing(0).priority, 152);
        lesson.set_check(0, false);
        assert_eq!(lesson.standing(0).priority, 150);
    }

    #[test]
    fn an_effective_priority_keeps_keepaliveds_bounds() {
        let mut node = node(10, -253);
        node.set_check(0, false);
        assert_eq!(node.standing(0).priority, 1);
        let mut owner = self::node(255, -100);
        owner.set_check(0, false);
        assert_eq!(owner.standing(0).priority, 255);
    }

    #[test]
    fn an_inherited_priority_holds_until_the_checks_reported() {
        let mut node = node(150, -60);
        node.inherit(0, 90);
        assert_eq!(node.standing(0).priority, 90);
        node.set_check(0, true);
        assert_eq!(node.standing(0).priority, 150);
    }

    #[test]
    fn what_is_handed_over_yields_to_all_whatever_it_was() {
        let mut owner = node(255, 0);
        owner.hand_over(0, true);
        assert_eq!(
            (owner.standing(0).priority, owner.standing(0).fault),
            (1, false)
        );
        owner.hand_over(0, false);
        assert_eq!(owner.standing(0).priority, 255);
    }

    #[test]
    fn a_lost_link_is_a_fault_whatever_the_checks_say() {
        let mut node = node(150, -60);
        node.set_check(0, true);
        node.set_link(0, false);
        assert!(node.standing(0).fault);
    }
}
