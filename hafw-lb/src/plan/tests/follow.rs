//! A node that follows another one's plans steers as that one does, whatever it would do itself.

use super::*;
use crate::{FollowError, PlannedBackend, ServicePlan};

/// A balancer and its maps, checked after every store.
struct Node {
    maps: Maps,
    balancer: Balancer,
}

impl Node {
    fn new(specs: &[ServiceSpec]) -> Option<Self> {
        let mut node = Self {
            maps: Maps::new(),
            balancer: Balancer::new(CAPACITY),
        };
        node.configure(specs).then_some(node)
    }

    /// False if there is no room.
    fn configure(&mut self, specs: &[ServiceSpec]) -> bool {
        let ops = self.balancer.configure(specs);
        ops.map(|ops| self.carry_out(&ops)).is_ok()
    }

    fn carry_out(&mut self, ops: &[MapOp]) {
        self.maps.carry_out(ops);
        self.maps.assert_settled(&self.balancer);
        assert_eq!(self.balancer.update(&[]), []);
    }

    fn update(&mut self, changes: &[Change]) {
        let ops = self.balancer.update(changes);
        self.carry_out(&ops);
    }

    fn follow(&mut self, plan: &ServicePlan) -> Result<(), FollowError> {
        let ops = self.balancer.follow(plan)?;
        self.carry_out(&ops);
        Ok(())
    }

    /// Where every slot leads new flows and old ones.
    fn steering(&self, service: ServiceKey) -> Vec<[Option<SocketAddr>; 2]> {
        let status = self.balancer.service(service).unwrap();
        let address = |index| {
            let backend = status.backends.iter().find(|b| b.index == index);
            backend.map(|backend| backend.address)
        };
        let words = self.balancer.services[&service].words.iter();
        words
            .map(|word| [word.current(), word.base()].map(address))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_follower_steers_as_the_followed(
        specs in some_services(),
        first in vec(a_change(), 0..8),
        other_specs in some_services(),
        own in vec(a_change(), 0..8),
        second in vec(a_change(), 0..8),
        later in vec(a_change(), 0..4),
    ) {
        let (Some(mut active), Some(mut standby)) = (Node::new(&specs), Node::new(&other_specs))
        else {
            return Ok(());
        };
        standby.update(&own);
        for changes in [&first, &second] {
            active.update(changes);
            for spec in &specs {
                let plan = active.balancer.plan_of(spec.key).unwrap();
                let here = other_specs.iter().find(|other| other.key == spec.key);
                match standby.follow(&plan) {
                    Err(FollowError::NoService) => prop_assert_eq!(here, None),
                    Err(FollowError::Slots { .. }) => {
                        prop_assert_ne!(here.map(|here| here.slots), Some(spec.slots));
                    }
                    // There is room for all of one node's, not of two.
                    Err(FollowError::Full) => return Ok(()),
                    followed => {
                        prop_assert_eq!(followed, Ok(()));
                        prop_assert_eq!(active.steering(spec.key), standby.steering(spec.key));
                        prop_assert_eq!(standby.balancer.follow(&plan), Ok(Vec::new()));
                    }
                }
            }
        }
        // What its own probes find, and a reload, does not change that.
        let followed: Vec<_> = specs
            .iter()
            .filter(|spec| standby.balancer.follows(spec.key))
            .map(|spec| spec.key)
            .collect();
        standby.update(&later);
        prop_assert!(standby.configure(&other_specs));
        for key in &followed {
            prop_assert_eq!(active.steering(*key), standby.steering(*key));
        }

        for key in followed {
            let ops = standby.balancer.unfollow(key);
            standby.carry_out(&ops);
            prop_assert_eq!(standby.balancer.unfollow(key), []);
        }
        let ops = standby.balancer.configure(&[]).unwrap();
        standby.carry_out(&ops);
        prop_assert!(standby.maps.backends.is_empty());
    }
}

#[test]
fn a_takeover_moves_only_what_the_own_probes_disagree_on_and_keeps_its_flows() {
    let specs = [spec(0, 31, &[(0, 1), (1, 1), (2, 1)])];
    let mut active = Node::new(&specs).unwrap();
    let mut standby = Node::new(&specs).unwrap();
    let down = State::Down(Cause::TimedOut);
    active.update(&[state(0, 0, down)]);
    standby.update(&[state(0, 1, State::Up), state(0, 2, down)]);
    let plan = active.balancer.plan_of(key(0)).unwrap();
    standby.follow(&plan).unwrap();

    let before = standby.steering(key(0));
    let ops = standby.balancer.unfollow(key(0));
    standby.carry_out(&ops);
    let after = standby.steering(key(0));
    // Nothing is known here of backend 0, so what was told holds: all is backend 1's.
    assert!(
        after
            .iter()
            .all(|[current, _]| *current == Some(address(1)))
    );
    let bases = |steering: Vec<[Option<SocketAddr>; 2]>| steering.into_iter().map(|[_, b]| b);
    assert!(
        bases(before).eq(bases(after)),
        "whoever had flows keeps them"
    );
}

#[test]
fn a_plan_that_contradicts_itself_changes_nothing() {
    let mut node = Node::new(&[spec(0, 7, &[(0, 1)])]).unwrap();
    let backend = |number| PlannedBackend {
        address: address(number),
        weight: 1,
        state: State::Up,
        leaving: false,
    };
    let plan = |backends: &[u8], moved: &[(u32, Option<u32>)]| ServicePlan {
        key: key(0),
        mode: MODE_DSR,
        slots: 7,
        backends: backends.iter().copied().map(backend).collect(),
        moved: moved.to_vec(),
    };
    let before: Vec<_> = node.balancer.services().collect();
    let many: Vec<_> = (0..20).collect();
    for (plan, error) in [
        (plan(&[0, 0], &[]), FollowError::Invalid),
        (plan(&[0], &[(0, Some(1))]), FollowError::Invalid),
        (plan(&[0], &[(7, None)]), FollowError::Invalid),
        (plan(&[0], &[(3, None), (3, None)]), FollowError::Invalid),
        (plan(&many, &[]), FollowError::Full),
        (
            ServicePlan {
                mode: MODE_DSR + 1,
                ..plan(&[0], &[])
            },
            FollowError::Mode,
        ),
    ] {
        assert_eq!(node.follow(&plan), Err(error));
        assert_eq!(node.balancer.services().collect::<Vec<_>>(), before);
    }
    assert_eq!(node.follow(&plan(&[0], &[(6, Some(0))])), Ok(()));
}
