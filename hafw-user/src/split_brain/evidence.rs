//! What a node can tell of who else has its VIPs. Pure: what is seen comes in, findings go out.
//!
//! A handover in order looks like a split brain for a moment. So nothing is found before the router
//! has been Active for a while, and nothing that lasts for a moment only.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use hafw_vrrp::Instant;

/// Two Actives by `[cluster]` must last so long: three heartbeats.
const BOTH_FOR: Duration = Duration::from_millis(300);
/// A router is Active for so long, and two advertisement intervals, before anything is suspect.
const SETTLED: Duration = Duration::from_millis(500);
/// How long claims are told of after the last.
const CLAIMS_FOR: Duration = Duration::from_secs(10);
/// Adverts of a peer while Active that are more than a crossing.
const STRANGE_ADVERTS: u64 = 2;
/// Adverts that XDP must have seen before netfilter's count is compared.
const COMPARED: u64 = 5;
/// Without adverts for so long there is nothing to compare.
const COMPARABLE_FOR: Duration = Duration::from_secs(10);

/// What is seen of one router at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// Since when it is Active.
    pub(crate) active_since: Option<Instant>,
    /// Advertisement_Interval.
    pub(crate) interval: Duration,
    /// Adverts for its VRID, as XDP saw them.
    pub(crate) heard: Vec<Heard>,
    /// Foreign ARP or Neighbor Discovery packets in the name of its VIPs, since the maps were made.
    pub(crate) claims: u64,
    /// Valid adverts that XDP saw on its interface, of its family.
    pub(crate) adverts: u64,
    /// VRRP packets that came through netfilter there.
    pub(crate) through_netfilter: u64,
    /// The other nodes that have the router, by `[cluster]`.
    pub(crate) nodes: Vec<Told>,
}

/// A peer by its adverts.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Their source.
    pub(crate) address: IpAddr,
    /// Priority of the last; 0 gives the VIPs up.
    pub(crate) priority: u8,
    /// How many.
    pub(crate) adverts: u64,
    /// The last.
    pub(crate) last_at: Instant,
}

/// A peer by its heartbeats.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its id.
    pub(crate) node: String,
    /// They arrive.
    pub(crate) heard: bool,
    /// It answers for the VIPs, as it said last.
    pub(crate) attracting: bool,
    /// Its priority, as it said last.
    pub(crate) priority: u8,
    /// Whether its witness answers it, as it said last.
    pub(crate) witness: Option<bool>,
    /// Since it last did; None without one.
    pub(crate) unanswered: Option<Duration>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A peer answers for the VIPs too, by `[cluster]`.
    BothActive,
    /// A peer sends adverts though this node is Active: it does not hear this node.
    PeerAdverts,
    /// Others claim the VIPs by ARP or Neighbor Discovery.
    Claims,
    /// Adverts reach XDP and are dropped behind it.
    Firewall,
    /// The peer neither sends adverts nor heartbeats.
    PeerDown,
    /// This node is cut off from the VIPs' network.
    Isolated,
    /// Nothing reaches this node.
    Deaf,
    /// The witness answers neither this node nor its peers.
    WitnessDown,
}

impl Kind {
    /// For status and alerts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BothActive => "both_active",
            Self::PeerAdverts => "peer_adverts",
            Self::Claims => "claims",
            Self::Firewall => "firewall",
            Self::PeerDown => "peer_down",
            Self::Isolated => "isolated",
            Self::Deaf => "deaf",
            Self::WitnessDown => "witness_down",
        }
    }
}

/// A finding, and what a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What.
    pub(crate) kind: Kind,
    /// In words.
    pub(crate) text: String,
}

/// Looks at one router again and again.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// By peer: since when it is Active beside this node.
    both: BTreeMap<String, Instant>,
    /// By peer: its count of adverts that are none too many.
    expected: BTreeMap<IpAddr, u64>,
    /// Claims that are none too many, the count at the last look, and when it last rose.
    claims: (u64, u64, Option<Instant>),
    window: Option<Window>,
    firewall: bool,
    /// Peers that were heard over `[cluster]` at all.
    met: Vec<String>,
}

/// From where adverts before and behind netfilter are counted.
#[derive(Clone, Copy, Debug)]
struct Window {
    adverts: u64,
    through: u64,
    /// The last advert that XDP saw.
    last: (u64, Instant),
}

impl Evidence {
    /// What is found now.
    pub(crate) fn look(&mut self, sight: &Sight, now: Instant) -> Vec<Finding> {
        let settled = sight
            .active_since
            .filter(|since| now >= *since + SETTLED + 2 * sight.interval);
        let mut findings = self.both_active(sight, settled, now);
        findings.extend(self.peer_adverts(sight, settled, now));
        findings.extend(self.claims(sight, settled, now));
        findings.extend(self.firewall(sight, now));
        findings.extend(self.peer_down(sight, settled, now));
        findings
    }

    fn both_active(
        &mut self,
        sight: &Sight,
        settled: Option<Instant>,
        now: Instant,
    ) -> Vec<Finding> {
        let both = |told: &&Told| settled.is_some() && told.heard && told.attracting;
        let nodes: Vec<_> = sight.nodes.iter().filter(both).collect();
        self.both
            .retain(|id, _| nodes.iter().any(|told| told.node == *id));
        let mut findings = Vec::new();
        for told in nodes {
            let since = *self.both.entry(told.node.clone()).or_insert(now);
            if now >= since + BOTH_FOR {
                let Told { node, priority, .. } = told;
                findings.push(Finding {
                    kind: Kind::BothActive,
                    text: format!(
                        "split brain: {node} (priority {priority}) is Active too, as it says over \
                         [cluster]; the nodes live, and their adverts do not pass between them"
                    ),
                });
            }
        }
        findings
    }

    fn peer_adverts(
        &mut self,
        sight: &Sight,
        settled: Option<Instant>,
        now: Instant,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for heard in &sight.heard {
            let fresh = now <= heard.last_at + SETTLED + 3 * sight.interval;
            let strange = settled.is_some() && fresh && heard.priority != 0;
            let expected = self.expected.entry(heard.address).or_insert(heard.adverts);
            if !strange {
                *expected = heard.adverts;
            }
            if heard.adverts >= *expected + STRANGE_ADVERTS {
                findings.push(Finding {
                    kind: Kind::PeerAdverts,
                    text: format!(
                        "split brain: {} (priority {}) sends adverts though this node is Active: \
                         it does not hear this node",
                        heard.address, heard.priority
                    ),
                });
            }
        }
        findings
    }

    fn claims(&mut self, sight: &Sight, settled: Option<Instant>, now: Instant) -> Option<Finding> {
        let (expected, last, rose) = &mut self.claims;
        if settled.is_none() {
            (*expected, *rose) = (sight.claims, None);
        } else if sight.claims > *last {
            *rose = Some(now);
        } else if rose.is_some_and(|rose| now > rose + CLAIMS_FOR) {
            (*expected, *rose) = (sight.claims, None);
        }
        *last = sight.claims;
        (*rose)?;
        Some(Finding {
            kind: Kind::Claims,
            text: format!(
                "another station claims a VIP by ARP or Neighbor Discovery while this node is \
                 Active ({} times)",
                sight.claims.saturating_sub(*expected)
            ),
        })
    }

    /// The raw socket also counts what is no valid advert for this node, so it is behind XDP only
    /// when something is dropped in between.
    fn firewall(&mut self, sight: &Sight, now: Instant) -> Option<Finding> {
        let fresh = Window {
            adverts: sight.adverts,
            through: sight.through_netfilter,
            last: (sight.adverts, now),
        };
        let window = self.window.get_or_insert(fresh);
        if sight.adverts != window.last.0 {
            window.last = (sight.adverts, now);
        }
        let adverts = sight.adverts.saturating_sub(window.adverts);
        let through = sight.through_netfilter.saturating_sub(window.through);
        if adverts >= COMPARED {
            self.firewall = through * 2 < adverts;
            self.window = Some(fresh);
        } else if now > window.last.1 + COMPARABLE_FOR + 2 * sight.interval {
            self.firewall = false;
            self.window = Some(fresh);
        }
        self.firewall.then(|| Finding {
            kind: Kind::Firewall,
            text: "a firewall rule (or rp_filter) of this node drops adverts that XDP saw: VRRP, \
                   IP protocol 112. hafw does without them; other VRRP software would split here"
                .to_owned(),
        })
    }

    fn peer_down(&mut self, sight: &Sight, settled: Option<Instant>, now: Instant) -> Vec<Finding> {
        for told in sight.nodes.iter().filter(|told| told.heard) {
            if !self.met.contains(&told.node) {
                self.met.push(told.node.clone());
            }
        }
        let speaks = |heard: &Heard| now <= heard.last_at + SETTLED + 3 * sight.interval;
        if settled.is_none() || sight.heard.iter().any(speaks) {
            return Vec::new();
        }
        let gone = |told: &&Told| !told.heard && self.met.contains(&told.node);
        let down = |told: &Told| Finding {
            kind: Kind::PeerDown,
            text: format!(
                "{} sends neither adverts nor heartbeats over [cluster]: it is down or cut off \
                 altogether, no split brain can be seen",
                told.node
            ),
        };
        sight.nodes.iter().filter(gone).map(down).collect()
    }
}

#[cfg(test)]
mod tests;
