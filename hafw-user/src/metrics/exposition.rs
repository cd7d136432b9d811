//! A node's status as metrics, in the text format of Prometheus (version 0.0.4).

use std::fmt;

use hafw_common::counters::{Counter, Verdict};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

use super::cluster;
use crate::control::{CheckStatus, ProxyStatus, RouterStatus, ServiceStatus, Status};

/// States of a router, each a series that is 1 or 0.
const STATES: [&str; 4] = ["active", "backup", "fault", "initialize"];

/// Everything, every time: a series that comes and goes is hard to compute with.
pub(super) fn exposition(status: Status) -> String {
    let mut registry = Registry::with_prefix("hafw");
    registry.register_collector(Box::new(Scrape(status)));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        self.node(&mut out)?;
        self.routers(&mut out)?;
        self.peers(&mut out)?;
        cluster::encode(&self.0, &mut out)?;
        self.datapath(&mut out)?;
        self.checks(&mut out)?;
        self.services(&mut out)?;
        self.alerts(&mut out)?;
        match &self.0.proxy {
            Some(proxy) => Self::proxy(proxy, &mut out),
            None => Ok(()),
        }
    }
}

impl Scrape {
    fn node(&self, out: &mut Families<'_>) -> fmt::Result {
        let Status {
            node,
            version,
            uptime_seconds,
            interfaces,
            blocked_sources,
            ..
        } = &self.0;
        let labels = vec![("node", node.clone()), ("version", version.clone())];
        out.gauge("node", "1, with the node's id and version", [(labels, 1)])?;
        let uptime = [(vec![], *uptime_seconds)];
        out.gauge("uptime_seconds", "Since the controller started", uptime)?;
        let blocked = [(vec![], *blocked_sources)];
        out.gauge("blocked_sources", "Sources that XDP keeps out", blocked)?;
        let interfaces = || {
            interfaces
                .iter()
                .map(|interface| (vec![("interface", interface.name.clone())], interface))
        };
        let up = of(interfaces(), |i| u64::from(i.up));
        out.gauge("interface_up", "Up, with its carrier", up)?;
        out.counter(
            "adverts_through_netfilter",
            "VRRP packets that netfilter let pass",
            of(interfaces(), |i| i.adverts_through_netfilter),
        )
    }

    fn routers(&self, out: &mut Families<'_>) -> fmt::Result {
        let label = |router: &RouterStatus| vec![("router", router.name.clone())];
        let routers = || {
            let routers = self.0.routers.iter();
            routers.map(|router| (label(router), router))
        };
        let states = self.0.routers.iter().flat_map(|router| {
            STATES.map(|state| {
                let mut labels = label(router);
                labels.push(("state", state.to_owned()));
                (labels, u64::from(router.state == state))
            })
        });
        out.gauge("router_state", "1 for the state that it is in", states)?;
        let since = of(routers(), |router| seconds(router.since_ms));
        out.gauge("router_state_seconds", "In that state", since)?;
        let lease = of(routers(), |router| seconds(router.lease_ms));
        out.gauge(
            "router_lease_seconds",
            "How long the lease still runs; 0 without one",
            lease,
        )?;
        for (name, help, value) in ROUTER_GAUGES {
            out.gauge(name, help, of(routers(), value))?;
        }
        for (name, help, value) in ROUTER_COUNTERS {
            out.counter(name, help, of(routers(), value))?;
        }
        Ok(())
    }

    fn peers(&self, out: &mut Families<'_>) -> fmt::Result {
        let peers = || {
            self.0.routers.iter().flat_map(|router| {
                router.peers.iter().map(|peer| {
                    let labels = vec![
                        ("router", router.name.clone()),
                        ("peer", peer.address.clone()),
                    ];
                    (labels, peer)
                })
            })
        };
        out.counter(
            "peer_adverts",
            "Valid adverts received",
            of(peers(), |peer| peer.adverts),
        )?;
        out.gauge(
            "peer_priority",
            "Of its last advert",
            of(peers(), |peer| u64::from(peer.priority)),
        )?;
        out.gauge(
            "peer_silence_seconds",
            "Since its last advert",
            of(peers(), |peer| seconds(peer.last_ms)),
        )
    }

    fn datapath(&self, out: &mut Families<'_>) -> fmt::Result {
        let counters = &self.0.counters;
        let count = |name: &str| counters.get(name).copied().unwrap_or(0);
        let packets = Counter::ALL.iter().filter_map(|counter| {
            let verdict = match counter.verdict() {
                Verdict::Pass => "pass",
                Verdict::Drop => "drop",
                Verdict::Tx => "tx",
                Verdict::Redirect => "redirect",
                Verdict::Event => return None,
            };
            let reason = counter.name();
            let labels = vec![
                ("verdict", verdict.to_owned()),
                ("reason", reason.to_owned()),
            ];
            Some((labels, count(reason)))
        });
        out.counter("packets", "Frames by what became of them, and why", packets)?;
        let events = Counter::ALL
            .iter()
            .filter(|counter| counter.verdict() == Verdict::Event)
            .map(|counter| counter.name())
            .chain(["handed_sent", "handed_lost"]);
        let events = events.map(|name| (vec![("event", name.to_owned())], count(name)));
        out.counter("datapath_events", "What was noted on the way", events)
    }

    fn checks(&self, out: &mut Families<'_>) -> fmt::Result {
        let checks = self.0.checks.iter();
        let up = checks.map(|CheckStatus { name, up, .. }| {
            (vec![("check", name.clone())], u64::from(*up == Some(true)))
        });
        out.gauge("check_up", "1 if it is up; 0 if not, or not known yet", up)
    }

    fn services(&self, out: &mut Families<'_>) -> fmt::Result {
        let backends = || {
            let services = self.0.services.iter();
            services.flat_map(|ServiceStatus { name, backends, .. }| {
                backends.iter().map(move |backend| {
                    let labels = vec![
                        ("service", name.clone()),
                        ("backend", backend.address.clone()),
                    ];
                    (labels, backend)
                })
            })
        };
        let up = of(backends(), |b| u64::from(b.up));
        out.gauge("backend_up", "Gets new flows", up)?;
        let weight = of(backends(), |b| u64::from(b.weight));
        out.gauge("backend_weight", "As configured", weight)?;
        let slots = of(backends(), |b| u64::from(b.slots));
        out.gauge("backend_slots", "Slots that lead to it", slots)?;
        let packets = of(backends(), |b| b.packets);
        out.counter("backend_packets", "Frames steered to it", packets)?;
        let bytes = of(backends(), |b| b.bytes);
        out.counter("backend_bytes", "Bytes steered to it", bytes)
    }

    fn alerts(&self, out: &mut Families<'_>) -> fmt::Result {
        let alerts = || {
            let alerts = self.0.alerts.iter();
            alerts.map(|alert| (vec![("receiver", alert.receiver.clone())], alert))
        };
        let help = "Messages delivered, or hooks run";
        let delivered = of(alerts(), |alert| alert.delivered);
        out.counter("alerts_delivered", help, delivered)?;
        let failed = of(alerts(), |alert| alert.failed);
        out.counter("alerts_failed", "Attempts that failed", failed)?;
        let lost = of(alerts(), |alert| alert.lost);
        out.counter("alerts_lost", "Changes that found no room", lost)?;
        let waiting = of(alerts(), |alert| alert.waiting);
        out.gauge("alerts_waiting", "Changes that wait to be told", waiting)
    }

    /// A proxy that does not answer has no counters.
    fn proxy(proxy: &ProxyStatus, out: &mut Families<'_>) -> fmt::Result {
        let up = [(vec![], u64::from(proxy.up))];
        out.gauge("proxy_up", "It answers, with all its workers", up)?;
        let detail: hafw_l7::control::Status =
            serde_json::from_value(proxy.detail.clone()).unwrap_or_default();
        let totals = detail.totals;
        let open = [(vec![], totals.active)];
        out.gauge("proxy_connections", "Open client connections", open)?;
        let classes = totals.answers.into_iter().zip(1..);
        let answers = classes.map(|(count, class)| (vec![("class", format!("{class}xx"))], count));
        out.counter("proxy_answers", "Answers to clients by class", answers)?;
        for (name, help, count) in [
            ("proxy_accepted", "Client connections", totals.accepted),
            ("proxy_requests", "Requests read", totals.requests),
            (
                "proxy_refused",
                "Answered 4xx by the proxy itself",
                totals.refused,
            ),
            (
                "proxy_failed",
                "Answered 5xx by the proxy itself",
                totals.failed,
            ),
            (
                "proxy_retries",
                "Attempts after a first one",
                totals.retries,
            ),
            (
                "proxy_client_timeouts",
                "Silent clients",
                totals.client_timeouts,
            ),
            (
                "proxy_client_aborts",
                "Clients that went away",
                totals.client_aborts,
            ),
            (
                "proxy_truncated",
                "Answers cut short by upstreams",
                totals.truncated,
            ),
            (
                "proxy_received_bytes",
                "From clients",
                totals.bytes_received,
            ),
            ("proxy_sent_bytes", "To clients", totals.bytes_sent),
        ] {
            out.counter(name, help, [(vec![], count)])?;
        }
        let servers = || {
            detail.upstreams.iter().flat_map(|upstream| {
                upstream.servers.iter().map(|server| {
                    let labels = vec![
                        ("upstream", upstream.name.clone()),
                        ("server", server.address.clone()),
                    ];
                    (labels, server)
                })
            })
        };
        out.counter(
            "upstream_attempts",
            "Requests sent to it",
            of(servers(), |server| server.attempts),
        )?;
        out.counter(
            "upstream_failures",
            "Attempts that count towards max_fails",
            of(servers(), |server| server.failures),
        )?;
        out.gauge(
            "upstream_out",
            "Workers that keep it out for now",
            of(servers(), |server| server.out),
        )
    }
}

/// Name, help, and where the value is.
type Series = (&'static str, &'static str, fn(&RouterStatus) -> u64);

const ROUTER_GAUGES: [Series; 5] = [
    ("router_priority", "From the configuration", |r| {
        r.priority.into()
    }),
    ("router_effective_priority", "After tracking", |r| {
        r.effective_priority.into()
    }),
    ("router_attracting", "Answers ARP for its VIPs", |r| {
        r.attracting.into()
    }),
    ("router_serving", "Steers its services", |r| {
        r.serving.into()
    }),
    (
        "router_evidence",
        "Findings that speak of a split brain, or of what looks like one",
        |r| u64::try_from(r.evidence.len()).unwrap_or(u64::MAX),
    ),
];

const ROUTER_COUNTERS: [Series; 6] = [
    ("router_transitions", "Changes of state", |r| r.transitions),
    ("router_adverts_sent", "Adverts sent", |r| r.adverts_sent),
    ("router_adverts_failed", "Adverts that were not sent", |r| {
        r.adverts_failed
    }),
    ("router_adverts_received", "Valid adverts received", |r| {
        r.peers.iter().map(|peer| peer.adverts).sum()
    }),
    ("router_announcements", "Rounds of gratuitous ARP", |r| {
        r.announcements
    }),
    ("router_foreign_claims", "ARP of others for its VIPs", |r| {
        r.foreign_claims
    }),
];

pub(super) type Labels = Vec<(&'static str, String)>;

/// One value of each item.
pub(super) fn of<'a, T: 'a, V>(
    items: impl Iterator<Item = (Labels, &'a T)>,
    value: fn(&T) -> V,
) -> impl Iterator<Item = (Labels, V)> {
    items.map(move |(labels, item)| (labels, value(item)))
}

pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
