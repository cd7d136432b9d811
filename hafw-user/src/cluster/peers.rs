//! What is known of each peer: the session to it, what it said last, and what stands in the way.
//! Pure: `now` is a parameter, and what is to be logged comes back.

use std::{collections::BTreeMap, time::Duration};

use hafw_vrrp::Instant;

use super::{
    message::{Heartbeat, Hello, RouterBeat},
    state::STATE_FORMAT,
};

/// A peer that has said nothing for so long is not heard any more: ten heartbeats.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Something to be logged, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The peer's heartbeats arrive.
    Heard {
        /// Its id.
        peer: String,
        /// Of its program.
        version: String,
    },
    /// They do no longer.
    Silent {
        /// Its id.
        peer: String,
    },
    /// There is no session to it.
    Problem {
        /// Its id.
        peer: String,
        /// Why.
        reason: String,
    },
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: String,
    /// Of its program; empty before its first word.
    pub version: String,
    /// What it said last.
    pub beat: Heartbeat,
    /// When.
    pub beat_at: Option<Instant>,
    /// Its heartbeats arrive.
    pub heard: bool,
    /// This node's heartbeats reach it.
    pub sending: bool,
    /// What stands in the way; empty if nothing does.
    pub problem: String,
    /// How often a session to it came about.
    pub sessions: u64,
    /// The version of what it tells of services; None before its first word.
    pub state_format: Option<u16>,
}

impl Peer {
    /// Whether it can be told of services, and tells of its own, once it is reached and heard.
    #[must_use]
    pub fn exchanges(&self) -> bool {
        self.state_format == Some(STATE_FORMAT)
    }

    /// Why it cannot.
    #[must_use]
    pub fn mismatch(&self) -> Option<String> {
        let theirs = self.state_format.filter(|_| !self.exchanges())?;
        Some(format!(
            "it tells of its services in format {theirs}, this node in {STATE_FORMAT}: neither \
             follows the other"
        ))
    }

    /// What it last said of a router. VRIDs may stand on several interfaces; then the name decides.
    #[must_use]
    pub fn router(&self, name: &str, vrid: u8, ipv6: bool) -> Option<&RouterBeat> {
        let routers = self.beat.routers.iter();
        let mut same = routers.filter(|beat| beat.vrid == vrid && beat.ipv6 == ipv6);
        let first = same.next()?;
        let named = [first]
            .into_iter()
            .chain(same)
            .find(|beat| beat.name == name);
        Some(named.unwrap_or(first))
    }
}

/// All peers, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    peers: Vec<Peer>,
    /// By peer: when it was asked what it has not answered yet. The question's nonce is that time.
    asked: BTreeMap<String, Instant>,
}

impl Peers {
    /// Of which nothing is known yet.
    #[must_use]
    pub(super) fn new(ids: impl IntoIterator<Item = String>) -> Self {
        let peer = |id| Peer {
            id,
            version: String::new(),
            beat: Heartbeat::default(),
            beat_at: None,
            heard: false,
            sending: false,
            problem: String::new(),
            sessions: 0,
            state_format: None,
        };
        Self {
            peers: ids.into_iter().map(peer).collect(),
            asked: BTreeMap::new(),
        }
    }

    /// All of them.
    #[must_use]
    pub(super) fn all(&self) -> &[Peer] {
        &self.peers
    }

    /// Whether this is one.
    #[must_use]
    pub(super) fn knows(&self, id: &str) -> bool {
        self.peers.iter().any(|peer| peer.id == id)
    }

    /// A heartbeat arrived.
    pub(super) fn beat(&mut self, hello: &Hello, beat: Heartbeat, now: Instant) -> Option<News> {
        let peer = self.find(&hello.id)?;
        peer.beat = beat;
        peer.beat_at = Some(now);
        peer.version.clone_from(&hello.version);
        peer.state_format = Some(hello.state_format);
        if peer.heard {
            return None;
        }
        peer.heard = true;
        Some(News::Heard {
            peer: peer.id.clone(),
            version: peer.version.clone(),
        })
    }

    /// This node's session to the peer stands.
    pub(super) fn connected(&mut self, hello: &Hello) {
        if let Some(peer) = self.find(&hello.id) {
            peer.sending = true;
            peer.sessions += 1;
            peer.state_format = Some(hello.state_format);
            peer.problem.clear();
        }
    }

    /// There is no session to it, or there is none any more.
    pub(super) fn failed(&mut self, id: &str, reason: String) -> Option<News> {
        let peer = self.find(id)?;
        peer.sending = false;
        if peer.problem == reason {
            return None;
        }
        peer.problem.clone_from(&reason);
        Some(News::Problem {
            peer: peer.id.clone(),
            reason,
        })
    }

    /// A peer is asked.
    pub(super) fn asked(&mut self, id: &str, now: Instant) {
        self.asked.insert(id.to_owned(), now);
    }

    /// Whether this is the nonce of the last question to a peer, and its first answer.
    pub(super) fn is_open(&mut self, id: &str, nonce: u64) -> bool {
        let open = self.asked.get(id).is_some_and(|at| at.as_nanos() == nonce);
        if open {
            self.asked.remove(id);
        }
        open
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<News> {
        let late = |peer: &&mut Peer| {
            let since = |at| now.saturating_duration_since(at);
            peer.heard && peer.beat_at.is_none_or(|at| since(at) > SILENCE)
        };
        let silent = self.peers.iter_mut().filter(late).map(|peer| {
            peer.heard = false;
            News::Silent {
                peer: peer.id.clone(),
            }
        });
        silent.collect()
    }

    fn find(&mut self, id: &str) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(id: &str) -> Hello {
        Hello {
            protocol: 1,
            id: id.into(),
            version: "1.0".into(),
            state_format: 1,
        }
    }

    #[test]
    fn a_peer_is_heard_while_it_speaks_and_each_change_is_told_once() {
        let mut peers = Peers::new(["lb02".to_owned()]);
        let (start, lb02) = (Instant::from_nanos(5_000_000_000), hello("lb02"));
        let beat = |peers: &mut Peers, now| peers.beat(&lb02, Heartbeat::default(), now);
        assert!(matches!(beat(&mut peers, start), Some(News::Heard { .. })));
        let later = start + SILENCE;
        assert_eq!(beat(&mut peers, later), None);
        assert_eq!(peers.tick(later + SILENCE), []);
        let silent = later + SILENCE + Duration::from_nanos(1);
        assert!(matches!(peers.tick(silent)[..], [News::Silent { .. }]));
        assert_eq!(peers.tick(silent + SILENCE), []);
        assert!(beat(&mut peers, silent + SILENCE).is_some());
    }

    #[test]
    fn only_the_last_question_is_answered_and_once() {
        let mut peers = Peers::new(["lb02".to_owned()]);
        for at in [5, 6] {
            peers.asked("lb02", Instant::from_nanos(at));
        }
        assert!(!peers.is_open("lb02", 5) && !peers.is_open("lb03", 6));
        assert!(peers.is_open("lb02", 6));
        assert!(!peers.is_open("lb02", 6));
    }

    #[test]
    fn a_stranger_is_nobody() {
        let mut peers = Peers::new(["lb02".to_owned()]);
        let now = Instant::from_nanos(1);
        assert_eq!(peers.beat(&hello("lb03"), Heartbeat::default(), now), None);
        assert!(!peers.knows("lb03") && !peers.all()[0].heard);
    }

    #[test]
    fn a_problem_is_told_when_it_changes() {
        let mut peers = Peers::new(["lb02".to_owned()]);
        assert!(peers.failed("lb02", "no route".into()).is_some());
        assert_eq!(peers.failed("lb02", "no route".into()), None);
        assert!(peers.failed("lb02", "another key".into()).is_some());
        peers.connected(&hello("lb02"));
        assert!(peers.all()[0].sending && peers.all()[0].problem.is_empty());
        assert!(peers.failed("lb02", "another key".into()).is_some());
    }
}
