//! What happens on a node, as alerts.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::mpsc;

use super::services;
use crate::{
    alert::{Alerts, Event, Kind, State},
    cluster::Cluster,
    config::Config,
    probe::{ProbeEvent, TargetId},
    vrrp::Change,
};

/// Tells of the routers' changes of state until the VRRP thread ends: the peers at once.
pub(super) fn follow(
    alerts: Arc<Alerts>,
    cluster: Option<Arc<Cluster>>,
    mut changes: mpsc::Receiver<Change>,
) {
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            if let Some(cluster) = &cluster {
                cluster.stir();
            }
            let Change {
                router,
                transition,
                priority,
                at,
            } = change;
            alerts.raise(Event {
                kind: Kind::Router,
                name: router,
                state: State::from(transition.to),
                priority: priority.get(),
                reason: transition.cause.text().to_owned(),
                at,
            });
        }
    });
}

/// What a probe's news is to be told as.
pub(super) fn probed(event: &ProbeEvent, config: &Config) -> Event {
    let (kind, name) = match &event.target {
        TargetId::Check(name) => (Kind::Check, name.clone()),
        TargetId::Backend { service, backend } => {
            let of = |s: &&crate::config::Service| services::key(s) == *service;
            let service = config.services.iter().find(of);
            let service = service.map_or("", |service| &service.name.value);
            (Kind::Backend, format!("{service}/{backend}"))
        }
    };
    Event {
        kind,
        name,
        state: if event.up() { State::Up } else { State::Down },
        priority: 0,
        reason: event.reason.clone(),
        at: SystemTime::now(),
    }
}
