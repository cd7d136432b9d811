//! What `hafw status` shows, put together from those who know.

use hafw_common::{
    mac_from_word,
    router::{PeerKey, PeerSeen},
    unmapped,
};
use hafw_l7::control::client::Control;
use hafw_lb::State;
use hafw_vrrp::StateKind;
use tracing::warn;

use super::{exchange::Following, ports::Port, run::Node};
use crate::{
    cluster::Peer,
    config::{Router, Service},
    control::{
        Answer, BackendStatus, Call, CheckStatus, ClusterPeerStatus, EvidenceStatus,
        InterfaceStatus, PeerStatus, ProxyStatus, RealtimeStatus, Request, RouterStatus,
        ServiceStatus, Status,
    },
    probe::{Latest, TargetId},
    sys::clock,
    vrrp::{Granted, Snapshot},
};

impl Node {
    pub(super) async fn answer(&mut self, Call { request, reply }: Call) {
        let answer = match request {
            Request::Status => {
                let mut status = self.status();
                let proxy = self.proxy.as_ref().map(|proxy| proxy.control.clone());
                // The node does not wait for the proxy's part: that may hang.
                tokio::spawn(async move {
                    if let Some(control) = proxy {
                        status.proxy = Some(proxy_status(&control).await);
                    }
                    let _ = reply.send(Answer::Status(Box::new(status)));
                });
                return;
            }
            Request::Trace(flow) => Answer::Trace(self.trace(&flow)),
            Request::Drain {
                service,
                backend,
                end,
            } => self.drain_backend(&service, &backend, !end),
            Request::Unblock { source } => self.answer_unblock(source),
            Request::Reload => self.answer_reload().await,
            Request::Restart => self.answer_restart().await,
            Request::Handover { router, end } => self.handover(&router, !end),
        };
        // The asker may have gone.
        let _ = reply.send(answer);
    }

    /// All but the proxy's.
    fn status(&self) -> Status {
        let snapshots = self.vrrp.snapshots();
        let routers = self.config.routers.iter().zip(snapshots.iter()).enumerate();
        let peers = self.peers.all().unwrap_or_else(|error| {
            warn!(%error, "the peers cannot be read");
            Vec::new()
        });
        let counters = self.counters.all().unwrap_or_else(|error| {
            warn!(%error, "the counters cannot be read");
            Vec::new()
        });
        Status {
            node: self.config.node.id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            adopted: self.adopted,
            realtime: self.realtime(),
            interfaces: self.interfaces(&snapshots),
            routers: routers
                .map(|(index, (r, s))| self.router(index, r, s, &peers))
                .collect(),
            checks: self.checks(),
            cluster: self.cluster_peers(),
            services: self
                .config
                .services
                .iter()
                .map(|s| self.service(s))
                .collect(),
            moved_flows: self.flows.entries(),
            proxy: None,
            blocked: self.blocks.status(),
            blocked_sources: self.blocks.len() as u64,
            alerts: self.alerts.status(),
            counters: counters
                .into_iter()
                .map(|(counter, count)| (counter.name(), count))
                .chain([
                    ("handed_sent", self.clients.sent),
                    ("handed_lost", self.clients.lost),
                    ("blocks_full", self.blocks.full),
                ])
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }
    }

    fn realtime(&self) -> RealtimeStatus {
        let Granted {
            priority,
            memory_locked,
            reason,
        } = self.vrrp.realtime();
        RealtimeStatus {
            priority,
            memory_locked,
            reason,
        }
    }

    fn interfaces(&self, snapshots: &[Snapshot]) -> Vec<InterfaceStatus> {
        let through = |name: &str| {
            let mut routers = self.config.routers.iter().zip(snapshots);
            routers
                .find(|(r, _)| r.interface.value == name)
                .map(|(_, s)| s.through_netfilter)
        };
        let status = |port: &Port| {
            let name = &port.spec.name;
            let device = port.device();
            InterfaceStatus {
                name: name.clone(),
                xdp_mode: port.spec.mode.name().into(),
                up: device.is_some_and(|(ifindex, _)| self.links.get(&ifindex) == Some(&true)),
                mac: device.map(|(_, mac)| mac_text(mac)).unwrap_or_default(),
                trouble: port.trouble(&self.links).unwrap_or_default(),
                adverts_through_netfilter: through(name).unwrap_or(0),
            }
        };
        self.ports.iter().map(status).collect()
    }

    /// `peers`: of all routers.
    fn router(
        &self,
        index: usize,
        config: &Router,
        snapshot: &Snapshot,
        peers: &[(PeerKey, PeerSeen)],
    ) -> RouterStatus {
        let now = clock::now();
        let machine = &snapshot.router;
        let seen = self.leases.seen(index);
        let attracting = self.leases.is_attracting(index, now);
        let ends = hafw_vrrp::Instant::from_nanos(self.leases.lease(index).attract_until);
        let lease = if attracting {
            ends.saturating_duration_since(now)
        } else {
            Default::default()
        };
        let mut reasons = self.tracking.standing(index).reasons;
        if machine.state().kind() == StateKind::Fault && !self.tracking.standing(index).fault {
            reasons.push("a router of its sync group is in fault".into());
        }
        if !snapshot.failure.is_empty() {
            reasons.push(format!("its adverts cannot be sent: {}", snapshot.failure));
        }
        let own = peers.iter().filter(|(key, _)| key.router as usize == index);
        let peers: Vec<_> = own.map(|peer| peer_status(peer, now)).collect();
        let active = machine
            .peer()
            .filter(|_| !machine.is_active())
            .and_then(|heard| {
                let address = heard.source.to_string();
                peers.iter().find(|peer| peer.address == address).cloned()
            });
        let known = self.board.known(index);
        let evidence = known.findings.into_iter().map(|finding| EvidenceStatus {
            kind: finding.kind.name().to_owned(),
            text: finding.text,
        });
        RouterStatus {
            name: config.name.value.clone(),
            interface: config.interface.value.clone(),
            vrid: config.vrid.value.get(),
            version: config.version.number(),
            state: machine.state().kind().name().into(),
            since_ms: ms(now.saturating_duration_since(machine.since())),
            priority: config.priority.get(),
            effective_priority: machine.priority().get(),
            attracting,
            serving: self.leases.is_serving(index, now),
            lease_ms: ms(lease),
            vips: config.vips.iter().map(|vip| vip.address).collect(),
            active,
            peers,
            transitions: machine.transitions(),
            adverts_sent: snapshot.sent,
            adverts_failed: snapshot.failed,
            adverts_refused: snapshot.refused,
            announcements: snapshot.announced,
            foreign_claims: seen.claims,
            witness: known.witness,
            evidence: evidence.collect(),
            reasons,
        }
    }

    fn checks(&self) -> Vec<CheckStatus> {
        let status = |check: &crate::config::Check| {
            let name = check.name.value.clone();
            let latest = self.prober.latest(&TargetId::Check(name.clone()));
            let (up, reason) = match latest {
                Some(Latest {
                    state,
                    report: Some(report),
                    ..
                }) => (Some(state == State::Up), report.reason),
                Some(Latest { report: None, .. }) | None => (None, String::new()),
            };
            CheckStatus { name, up, reason }
        };
        self.config.checks.iter().map(status).collect()
    }

    fn cluster_peers(&self) -> Vec<ClusterPeerStatus> {
        let now = clock::now();
        let since = |at| ms(now.saturating_duration_since(at));
        let peers = self.cluster.iter().flat_map(|cluster| cluster.peers());
        let status = |(place, peer): (usize, Peer)| {
            let Following {
                services,
                complete,
                flows,
                flows_lost,
                mut differences,
            } = self.exchange.following(&peer.id);
            differences.extend(peer.mismatch());
            ClusterPeerStatus {
                last_ms: peer.beat_at.map(since),
                id: peer.id,
                version: peer.version,
                heard: peer.heard,
                sending: peer.sending,
                problem: peer.problem,
                told: self.exchange.is_told(place),
                known: complete,
                followed_services: services,
                flows,
                flows_lost,
                differences,
            }
        };
        peers.enumerate().map(status).collect()
    }

    fn service(&self, config: &Service) -> ServiceStatus {
        let key = super::services::key(config);
        let status = self.services.status(config);
        let backend = |backend: &hafw_lb::BackendStatus| {
            let id = TargetId::Backend {
                service: key,
                backend: backend.address,
            };
            let report = self.prober.latest(&id).and_then(|latest| latest.report);
            let traffic = self.counters.traffic(backend.index).unwrap_or_default();
            BackendStatus {
                address: backend.address.to_string(),
                weight: backend.weight,
                up: matches!(backend.state, State::Up | State::Unknown),
                reason: report.map(|report| report.reason).unwrap_or_default(),
                next_hop: backend.hop.next_hop.map(mac_text).unwrap_or_default(),
                drained: self.services.is_drained(key, backend.address),
                slots: backend.slots,
                moved_slots: backend.moved_slots,
                packets: traffic.packets,
                bytes: traffic.bytes,
            }
        };
        ServiceStatus {
            name: config.name.value.clone(),
            address: format!("{}:{}", config.vip.value, config.port),
            protocol: config.protocol.name().into(),
            mode: config.mode.name().into(),
            slots: config.slots,
            follows: self.followed(config).map(str::to_owned),
            backends: status
                .iter()
                .flat_map(|s| &s.backends)
                .map(backend)
                .collect(),
        }
    }
}

async fn proxy_status(control: &Control) -> ProxyStatus {
    match control.status().await {
        Ok(status) => ProxyStatus {
            pid: status.pid,
            up: !status.stopping && status.workers.iter().all(|worker| worker.alive),
            detail: serde_json::to_value(&status).unwrap_or_default(),
        },
        Err(error) => ProxyStatus {
            pid: 0,
            up: false,
            detail: serde_json::Value::String(error.to_string()),
        },
    }
}

fn peer_status((key, seen): &(PeerKey, PeerSeen), now: hafw_vrrp::Instant) -> PeerStatus {
    let last = hafw_vrrp::Instant::from_nanos(seen.last_at);
    PeerStatus {
        address: unmapped(key.source).to_string(),
        mac: mac_text(mac_from_word(seen.mac)),
        priority: u8::try_from(seen.priority).unwrap_or(u8::MAX),
        adverts: seen.adverts,
        last_ms: ms(now.saturating_duration_since(last)),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

pub(super) fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
