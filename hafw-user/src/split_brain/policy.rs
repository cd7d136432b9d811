//! Whether this node is to give its VIPs up because it is cut off. Pure.
//!
//! *Isolated*: the witness answers a peer and not this node, or answers not and nobody is heard at
//! all. A witness that answers no node is down itself, and moves nothing. *Deaf*: nothing at all has
//! arrived for `deaf_after`, and no answer of the witness.

use std::time::Duration;

use hafw_vrrp::Instant;

use super::evidence::{Finding, Kind};

/// A witness that goes down falls silent for all nodes, and they notice one after the other. One
/// that answered a peer so much later than this node was there and did not answer this node.
const LATER: Duration = Duration::from_secs(1);
/// One that comes back answers one node after the other: what speaks of isolation must last so long.
const LASTING: Duration = Duration::from_secs(1);

/// `split_brain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Say it.
    #[default]
    Warn,
    /// The isolated node gives its VIPs up.
    Yield,
}

/// What a node sees around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Whether a witness answers; None without one, or before the first result.
    pub(crate) witness: Option<bool>,
    /// Since the witness last answered, or since the start.
    pub(crate) unanswered: Duration,
    /// Since the interface last received a frame.
    pub(crate) nothing_received: Duration,
    /// A peer's adverts arrive.
    pub(crate) adverts: bool,
    /// What the peers that are heard over `[cluster]` say of their witness: whether it answers, and
    /// since when it has not.
    pub(crate) peers: Vec<(Option<bool>, Option<Duration>)>,
}

/// Judges one router again and again.
#[derive(Debug)]
pub(crate) struct Judge {
    policy: Policy,
    deaf_after: Duration,
    /// Since when this node looks isolated.
    apart_since: Option<Instant>,
    isolated: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Why the VIPs are to be given up.
    pub(crate) cut_off: Option<&'static str>,
    /// What is to be told.
    pub(crate) finding: Option<Finding>,
}

impl Judge {
    pub(crate) const fn new(policy: Policy, deaf_after: Duration) -> Self {
        Self {
            policy,
            deaf_after,
            apart_since: None,
            isolated: false,
        }
    }

    pub(crate) fn judge(&mut self, around: &Surroundings, now: Instant) -> Verdict {
        let Surroundings {
            witness,
            unanswered,
            nothing_received,
            adverts,
            peers,
        } = around;
        let silent = *witness == Some(false);
        let later = |(_, since): &(_, Option<Duration>)| {
            since.is_some_and(|since| since + LATER <= *unanswered)
        };
        let peer_reaches_it = peers.iter().any(|peer| peer.0 == Some(true) && later(peer));
        let no_node_reaches_it = !peers.is_empty() && peers.iter().all(|w| w.0 == Some(false));
        let alone = peers.is_empty() && !adverts;
        let apart = silent && (peer_reaches_it || alone);
        self.apart_since = self.apart_since.or(Some(now)).filter(|_| apart);
        let lasting = self.apart_since.is_some_and(|since| now >= since + LASTING);
        // Once isolated, only the witness ends it: a node that gave its VIPs up hears the new
        // Active where it heard nobody before.
        self.isolated = silent && (self.isolated || lasting);
        if silent && *unanswered >= self.deaf_after && *nothing_received >= self.deaf_after {
            let text = "nothing reaches this node: no frame, and no answer of the witness";
            return Verdict {
                cut_off: Some(text),
                finding: Some(finding(Kind::Deaf, text)),
            };
        }
        if self.isolated {
            let text = "the witness does not answer: this node is cut off from the VIPs' network";
            return Verdict {
                cut_off: (self.policy == Policy::Yield).then_some(text),
                finding: Some(finding(Kind::Isolated, text)),
            };
        }
        let down = (silent && no_node_reaches_it).then(|| {
            let text = "the witness answers no node: it is down itself, and moves nothing";
            finding(Kind::WitnessDown, text)
        });
        Verdict {
            cut_off: None,
            finding: down,
        }
    }
}

fn finding(kind: Kind, text: &str) -> Finding {
    Finding {
        kind,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAF_AFTER: Duration = Duration::from_secs(5);
    const SILENT: Duration = Duration::from_millis(1300);

    /// A witness that has not answered this node for a while, and answered the peers just now if
    /// at all.
    fn silent(peers: &[Option<bool>]) -> Surroundings {
        let ago = |answers: &Option<bool>| match answers {
            Some(true) => (*answers, Some(Duration::from_millis(200))),
            Some(false) | None => (*answers, Some(SILENT)),
        };
        Surroundings {
            witness: Some(false),
            unanswered: SILENT,
            peers: peers.iter().map(ago).collect(),
            ..Surroundings::default()
        }
    }

    fn judge(policy: Policy, around: &Surroundings) -> (bool, Option<Kind>) {
        let mut judge = Judge::new(policy, DEAF_AFTER);
        let start = Instant::from_nanos(0);
        assert!(!is_isolated(&judge.judge(around, start)), "it must last");
        let verdict = judge.judge(around, start + LASTING);
        (
            verdict.cut_off.is_some(),
            verdict.finding.map(|finding| finding.kind),
        )
    }

    fn is_isolated(verdict: &Verdict) -> bool {
        let kind = verdict.finding.as_ref().map(|finding| finding.kind);
        kind == Some(Kind::Isolated)
    }

    #[test]
    fn the_node_that_alone_misses_the_witness_is_isolated_and_yields_if_told_to() {
        let around = silent(&[Some(true)]);
        assert_eq!(judge(Policy::Yield, &around), (true, Some(Kind::Isolated)));
        assert_eq!(judge(Policy::Warn, &around), (false, Some(Kind::Isolated)));
        let alone = silent(&[]);
        assert_eq!(judge(Policy::Yield, &alone), (true, Some(Kind::Isolated)));
    }

    #[test]
    fn a_witness_that_answers_nobody_or_is_not_known_yet_moves_nothing() {
        let down = silent(&[Some(false)]);
        assert_eq!(
            judge(Policy::Yield, &down),
            (false, Some(Kind::WitnessDown))
        );
        assert_eq!(judge(Policy::Yield, &silent(&[None])), (false, None));
        assert_eq!(
            judge(Policy::Yield, &Surroundings::default()),
            (false, None)
        );
        let heard = Surroundings {
            adverts: true,
            ..silent(&[])
        };
        assert_eq!(judge(Policy::Yield, &heard), (false, None));
    }

    #[test]
    fn a_peer_that_has_not_noticed_yet_that_the_witness_is_gone_proves_nothing() {
        let mut around = silent(&[Some(true)]);
        around.peers[0].1 = Some(SILENT - Duration::from_millis(250));
        assert_eq!(judge(Policy::Yield, &around), (false, None));
    }

    #[test]
    fn a_witness_that_comes_back_to_one_node_after_the_other_moves_nothing() {
        let mut judge = Judge::new(Policy::Yield, DEAF_AFTER);
        let start = Instant::from_nanos(0);
        let (down, peer_first) = (silent(&[Some(false)]), silent(&[Some(true)]));
        for (around, at) in [
            (&down, 0),
            (&peer_first, 10),
            (&down, 11),
            (&peer_first, 12),
        ] {
            let verdict = judge.judge(around, start + at * LASTING / 2);
            assert_eq!(verdict.cut_off, None);
        }
    }

    #[test]
    fn a_node_that_yielded_comes_back_when_the_witness_answers_and_not_before() {
        let mut judge = Judge::new(Policy::Yield, DEAF_AFTER);
        let start = Instant::from_nanos(0);
        let now = start + LASTING;
        assert_eq!(judge.judge(&silent(&[]), start), Verdict::default());
        assert!(judge.judge(&silent(&[]), now).cut_off.is_some());
        let hears_the_new_active = Surroundings {
            adverts: true,
            ..silent(&[])
        };
        assert!(judge.judge(&hears_the_new_active, now).cut_off.is_some());
        let answers = Surroundings {
            witness: Some(true),
            ..hears_the_new_active.clone()
        };
        assert_eq!(judge.judge(&answers, now), Verdict::default());
        assert_eq!(judge.judge(&hears_the_new_active, now), Verdict::default());
    }

    #[test]
    fn a_node_that_nothing_reaches_gives_its_vips_up_whatever_the_policy() {
        let mut around = silent(&[None]);
        around.unanswered = DEAF_AFTER;
        assert_eq!(judge(Policy::Warn, &around), (false, None));
        around.nothing_received = DEAF_AFTER;
        assert_eq!(judge(Policy::Warn, &around), (true, Some(Kind::Deaf)));
        around.witness = None;
        assert_eq!(judge(Policy::Warn, &around), (false, None), "no witness");
    }
}
