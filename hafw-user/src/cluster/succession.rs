//! Noticing that a peer gave its VIPs up, and making sure of it.
//!
//! A heartbeat that says so may have been on its way for long, and the peer be Active again. So the
//! peer is asked, and only an answer to that very question counts; what follows from it, and for how
//! long, is `hafw_vrrp::VirtualRouter::succeed`'s.

use hafw_vrrp::Instant;

use super::{
    Shared,
    message::{Heartbeat, Hello},
};
use crate::sys::clock;

/// What is told of an answer: all peers, the one that answered, and when it was asked.
pub(super) type Heir = Box<dyn Fn(&[super::Peer], &str, Instant) + Send + Sync>;

impl Shared {
    /// A heartbeat arrived.
    pub(super) fn take_beat(&self, hello: &Hello, beat: Heartbeat) {
        let (now, answers) = (clock::now(), beat.answers);
        let mut peers = self.peers();
        let before = peers.all().iter().find(|peer| peer.id == hello.id);
        let gave_up = before.is_some_and(|before| gave_up(&before.beat, &beat));
        let news = peers.beat(hello, beat, now);
        let answered = answers.filter(|nonce| peers.is_open(&hello.id, *nonce));
        let all = answered.map(|nonce| (peers.all().to_vec(), nonce));
        if gave_up {
            peers.asked(&hello.id, now);
        }
        drop(peers);
        self.report(news);
        if gave_up && let Some(prompt) = self.prompts.get(&hello.id) {
            prompt.ask(now.as_nanos());
        }
        if let Some((all, nonce)) = all {
            (self.heir)(&all, &hello.id, Instant::from_nanos(nonce));
        }
    }
}

/// Whether a router that was Active in one heartbeat is in fault in the next.
fn gave_up(before: &Heartbeat, after: &Heartbeat) -> bool {
    after.routers.iter().any(|after| {
        let same = |before: &&super::RouterBeat| {
            (&before.name, before.vrid, before.ipv6) == (&after.name, after.vrid, after.ipv6)
        };
        let before = before.routers.iter().find(same);
        after.in_fault() && before.is_some_and(|before| before.state == "active")
    })
}

#[cfg(test)]
mod tests {
    use super::{super::RouterBeat, *};

    fn beat(state: &str, attracting: bool) -> Heartbeat {
        let router = RouterBeat {
            name: "oldboy".into(),
            vrid: 51,
            ipv6: false,
            state: state.into(),
            priority: 150,
            attracting,
            witness: None,
            unanswered_ms: None,
            source: None,
        };
        Heartbeat {
            routers: vec![router],
            ..Heartbeat::default()
        }
    }

    #[test]
    fn who_was_active_and_is_in_fault_gave_up() {
        let active = beat("active", true);
        assert!(gave_up(&active, &beat("fault", false)));
        assert!(!gave_up(&active, &active));
        assert!(!gave_up(&active, &beat("backup", false)));
        assert!(!gave_up(&active, &beat("fault", true)), "its lease runs");
        assert!(!gave_up(&beat("backup", false), &beat("fault", false)));
        assert!(!gave_up(&Heartbeat::default(), &beat("fault", false)));
    }
}
