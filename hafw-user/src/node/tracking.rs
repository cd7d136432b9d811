//! What the checks and the link make of a router's priority, with keepalived's meaning of weight:
//! a positive weight is added while the check is up, a negative one while it is down, and a check
//! of weight 0 that is down puts the router into fault. A check that finds a number has it multiplied
//! by the weight; with weight 0, any but 0 is fault (keepalived.conf(5), "Track files"). Pure.

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

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// A number.
    Number(i32),
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
    found: Option<Found>,
}

#[derive(Clone, Debug)]
struct Router {
    priority: u8,
    tracks: Vec<Track>,
    /// Why its interface cannot be used.
    trouble: Option<String>,
    /// The priority that a former controller advertised: it holds until the checks have reported.
    inherited: Option<u8>,
    /// It is to be another node's, as long as there is one.
    handed_over: bool,
    /// Why it is cut off from the VIPs' network.
    cut_off: Option<&'static str>,
}

impl Tracking {
    /// `checks`: names, and which of them look at the proxy. `routers`: configured priorities and
    /// what each tracks.
    #[must_use]
    pub(crate) fn new(checks: Vec<(String, bool)>, routers: Vec<(u8, Vec<Track>)>) -> Self {
        let checks = checks.into_iter().map(|(name, proxy)| Check {
            name,
            proxy,
            found: None,
        });
        let routers = routers.into_iter().map(|(priority, tracks)| Router {
            priority,
            tracks,
            trouble: None,
            inherited: None,
            handed_over: false,
            cut_off: None,
        });
        Self {
            checks: checks.collect(),
            routers: routers.collect(),
        }
    }

    /// Takes over what another configuration's checks reported, by their names, and what its routers
    /// were told, by their order.
    pub(crate) fn carry_on(&mut self, before: &Self) {
        for check in &mut self.checks {
            let same = |old: &&Check| old.name == check.name && old.proxy == check.proxy;
            check.found = before.checks.iter().find(same).and_then(|old| old.found);
        }
        for (router, old) in self.routers.iter_mut().zip(&before.routers) {
            router.trouble.clone_from(&old.trouble);
            router.handed_over = old.handed_over;
            router.cut_off = old.cut_off;
        }
    }

    /// A check reported.
    pub(crate) fn set_check(&mut self, check: usize, found: Found) {
        if let Some(check) = self.checks.get_mut(check) {
            check.found = Some(found);
        }
    }

    /// Why a router's interface cannot be used, or that it can.
    pub(crate) fn set_link(&mut self, router: usize, trouble: Option<String>) {
        if let Some(router) = self.routers.get_mut(router) {
            router.trouble = trouble;
        }
    }

    /// A router is cut off from the VIPs' network, or is part of it again.
    pub(crate) fn set_cut_off(&mut self, router: usize, reason: Option<&'static str>) {
        if let Some(router) = self.routers.get_mut(router) {
            router.cut_off = reason;
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
            trouble,
            inherited,
            handed_over,
            cut_off,
        } = &self.routers[router];
        let mut standing = Standing {
            priority: *priority,
            fault: trouble.is_some() || cut_off.is_some(),
            reasons: trouble.iter().cloned().collect(),
            proxy_down: false,
            complete: true,
        };
        standing.reasons.extend(cut_off.map(str::to_owned));
        let mut sum = i32::from(*priority);
        for Track { check, weight } in tracks {
            let Some(Check { name, proxy, found }) = self.checks.get(*check) else {
                continue;
            };
            standing.complete &= found.is_some();
            let effect = effect(*found, *weight);
            match effect {
                Effect::Fault => standing.fault = true,
                Effect::Add(more) => sum = sum.saturating_add(more),
            }
            standing.proxy_down |= *proxy && *found == Some(Found::Down);
            standing.reasons.extend(reason(name, *found, effect));
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

#[derive(Clone, Copy)]
enum Effect {
    Fault,
    Add(i32),
}

/// A check that has not reported does nothing: as if up, but without the bonus of that.
fn effect(found: Option<Found>, weight: i16) -> Effect {
    let weight = i32::from(weight);
    match (found, weight) {
        (Some(Found::Down), 0) => Effect::Fault,
        (Some(Found::Down), ..0) | (Some(Found::Up), 1..) => Effect::Add(weight),
        (Some(Found::Number(number)), 0) if number != 0 => Effect::Fault,
        (Some(Found::Number(number)), _) => match number.saturating_mul(weight) {
            ..-253 => Effect::Fault,
            product => Effect::Add(product),
        },
        (Some(Found::Down | Found::Up) | None, _) => Effect::Add(0),
    }
}

/// What a person is told of a check that does harm.
fn reason(name: &str, found: Option<Found>, effect: Effect) -> Option<String> {
    let what = match found? {
        Found::Up => return None,
        Found::Down => "is down".to_owned(),
        Found::Number(number) => format!("says {number}"),
    };
    match effect {
        Effect::Fault => Some(format!("check {name} {what}")),
        Effect::Add(0) => None,
        Effect::Add(more) => Some(format!("check {name} {what}: {more}")),
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
        node.set_check(0, Found::Down);
        assert!(node.standing(0).fault);
        node.set_check(0, Found::Up);
        assert_eq!(
            (node.standing(0).fault, node.standing(0).priority),
            (false, 150)
        );
    }

    #[test]
    fn a_negative_weight_counts_while_down_and_a_positive_one_while_up() {
        let mut lower = node(150, -60);
        lower.set_check(0, Found::Down);
        assert_eq!(
            (lower.standing(0).priority, lower.standing(0).fault),
            (90, false)
        );
        let mut lesson = node(150, 2);
        lesson.set_check(0, Found::Up);
        assert_eq!(lesson.standing(0).priority, 152);
        lesson.set_check(0, Found::Down);
        assert_eq!(lesson.standing(0).priority, 150);
    }

    #[test]
    fn an_effective_priority_keeps_keepaliveds_bounds() {
        let mut node = node(10, -253);
        node.set_check(0, Found::Down);
        assert_eq!(node.standing(0).priority, 1);
        let mut owner = self::node(255, -100);
        owner.set_check(0, Found::Down);
        assert_eq!(owner.standing(0).priority, 255);
    }

    #[test]
    fn a_number_is_multiplied_by_the_weight() {
        let says = |weight, number| {
            let mut node = node(150, weight);
            node.set_check(0, Found::Number(number));
            let standing = node.standing(0);
            (!standing.fault).then_some(standing.priority)
        };
        assert_eq!(says(-10, 0), Some(150));
        assert_eq!(says(-10, 6), Some(90));
        assert_eq!(says(-10, -6), Some(210));
        assert_eq!(says(10, -6), Some(90));
        assert_eq!(says(-1, 253), Some(1), "the bounds of a priority hold");
        assert_eq!(says(-1, 254), None, "less than -253 is fault");
        assert_eq!(says(253, i32::MAX), Some(254));
        assert_eq!(
            (says(0, 0), says(0, 1), says(0, -1)),
            (Some(150), None, None)
        );
    }

    #[test]
    fn an_inherited_priority_holds_until_the_checks_reported() {
        let mut node = node(150, -60);
        node.inherit(0, 90);
        assert_eq!(node.standing(0).priority, 90);
        node.set_check(0, Found::Up);
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
    fn a_node_that_is_cut_off_is_in_fault_until_it_is_not() {
        let mut node = node(150, -60);
        node.set_cut_off(0, Some("nothing reaches this node"));
        let standing = node.standing(0);
        assert!(standing.fault && standing.reasons == ["nothing reaches this node"]);
        node.set_cut_off(0, None);
        assert!(!node.standing(0).fault);
    }

    #[test]
    fn a_lost_link_is_a_fault_whatever_the_checks_say() {
        let mut node = node(150, -60);
        node.set_check(0, Found::Up);
        node.set_link(0, Some("its interface is down".into()));
        assert!(node.standing(0).fault);
    }
}
