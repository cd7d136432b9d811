//! What is found, and what is not.

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(100);

/// A router that is Active since long ago, looked at every 100 ms.
struct Scene {
    evidence: Evidence,
    sight: Sight,
    now: Instant,
}

impl Scene {
    fn active() -> Self {
        let now = Instant::from_nanos(100_000_000_000);
        let sight = Sight {
            active_since: Some(Instant::from_nanos(0)),
            interval: INTERVAL,
            ..Sight::default()
        };
        let mut scene = Self {
            evidence: Evidence::default(),
            sight,
            now,
        };
        assert_eq!(scene.look(), []);
        scene
    }

    fn look(&mut self) -> Vec<Kind> {
        self.now = self.now + STEP;
        let findings = self.evidence.look(&self.sight, self.now);
        findings.iter().map(|finding| finding.kind).collect()
    }

    /// What is found when `change` happens before each of so many looks.
    fn looks(&mut self, count: usize, change: impl Fn(&mut Sight, Instant)) -> Vec<Kind> {
        let mut found = Vec::new();
        for _ in 0..count {
            change(&mut self.sight, self.now);
            found = self.look();
        }
        found
    }
}

fn told(heard: bool, attracting: bool) -> Vec<Told> {
    vec![Told {
        node: "lb02".into(),
        heard,
        attracting,
        priority: 100,
        witness: None,
        unanswered: None,
    }]
}

fn advert(sight: &mut Sight, now: Instant) {
    let adverts = sight.heard.first().map_or(0, |heard| heard.adverts) + 1;
    sight.heard = vec![Heard {
        address: "10.0.0.6".parse().unwrap(),
        priority: 100,
        adverts,
        last_at: now,
    }];
}

#[test]
fn a_peer_that_says_it_is_active_too_is_a_split_brain_until_it_says_otherwise() {
    let mut scene = Scene::active();
    scene.sight.nodes = told(true, true);
    assert_eq!(scene.look(), [], "a crossing");
    assert_eq!(scene.looks(3, |_, _| ()), [Kind::BothActive]);
    scene.sight.nodes = told(true, false);
    assert_eq!(scene.look(), []);
}

#[test]
fn a_peer_that_fell_silent_everywhere_is_down_and_no_split_brain() {
    let mut scene = Scene::active();
    scene.sight.nodes = told(false, true);
    assert_eq!(scene.look(), [], "it never was there");
    scene.sight.nodes = told(true, false);
    scene.look();
    scene.sight.nodes = told(false, true);
    assert_eq!(scene.looks(5, |_, _| ()), [Kind::PeerDown]);
    assert_eq!(scene.looks(5, advert), [Kind::PeerAdverts]);
}

#[test]
fn adverts_of_a_peer_are_evidence_while_they_go_on_and_one_alone_is_not() {
    let mut scene = Scene::active();
    assert_eq!(scene.looks(1, advert), []);
    assert_eq!(scene.looks(20, |_, _| ()), []);
    assert_eq!(scene.looks(1, advert), []);
    assert_eq!(scene.looks(3, advert), [Kind::PeerAdverts]);
    assert_eq!(scene.looks(20, |_, _| ()), []);
}

#[test]
fn adverts_are_expected_of_an_active_that_was_just_preempted() {
    let mut scene = Scene::active();
    scene.sight.active_since = None;
    assert_eq!(scene.looks(50, advert), [], "as Backup");
    scene.sight.active_since = Some(scene.now);
    assert_eq!(scene.looks(5, advert), [], "crossing");
    assert_eq!(scene.looks(20, |_, _| ()), []);
}

#[test]
fn claims_are_evidence_while_active_and_for_a_while_after_the_last() {
    let mut scene = Scene::active();
    scene.sight.active_since = None;
    assert_eq!(scene.looks(3, |sight, _| sight.claims += 1), []);
    scene.sight.active_since = Some(Instant::from_nanos(0));
    assert_eq!(scene.look(), []);
    assert_eq!(scene.looks(1, |sight, _| sight.claims += 1), [Kind::Claims]);
    assert_eq!(scene.looks(90, |_, _| ()), [Kind::Claims]);
    assert_eq!(scene.looks(15, |_, _| ()), []);
}

#[test]
fn adverts_that_end_behind_xdp_name_the_firewall_until_they_come_through() {
    let mut scene = Scene::active();
    let both = |sight: &mut Sight, _| {
        sight.adverts += 1;
        sight.through_netfilter += 1;
    };
    let dropped = |sight: &mut Sight, _| sight.adverts += 1;
    assert_eq!(scene.looks(30, both), []);
    assert_eq!(scene.looks(12, dropped), [Kind::Firewall]);
    assert_eq!(scene.looks(12, both), []);
    assert_eq!(scene.looks(12, dropped), [Kind::Firewall]);
    assert_eq!(scene.looks(120, |_, _| ()), [], "nothing to compare");
}
