//! Checks and health checks as probes.

use std::{net::SocketAddr, sync::Arc};

use hafw_common::service::ServiceKey;
use hafw_l7::control::client::Control;
use hafw_lb::{Outcome, State};
use rtnetlink::Handle;
use thiserror::Error;
use tokio::sync::Notify;

use super::services::Services;
use crate::{
    command::{InvalidCommand, UserCommand},
    config::{Check, CheckKind, Config, Health, HealthKind, Service},
    probe::{
        HttpProbe, InterfaceProbe, InvalidHttp, Probe, ProcessProbe, ProxyProbe, Report, Target,
        TargetId,
    },
};

/// A check cannot be carried out here.
#[derive(Debug, Error)]
pub(super) enum CheckError {
    /// Its command.
    #[error("check \"{name}\": {source}")]
    Command {
        /// Name.
        name: String,
        /// Why.
        source: InvalidCommand,
    },
    /// Its URL.
    #[error("{name}: {source}")]
    Http {
        /// Name, with its kind.
        name: String,
        /// Why.
        source: InvalidHttp,
    },
    /// It looks at the proxy, and there is none.
    #[error("check \"{0}\": there is no proxy")]
    NoProxy(String),
}

/// Whom checks ask.
pub(super) struct Around<'a> {
    pub(super) proxy: Option<&'a Control>,
    pub(super) netlink: &'a Handle,
    /// See [`InterfaceProbe::new`].
    pub(super) links: &'a Arc<Notify>,
}

/// All probes of a node.
pub(super) fn targets(
    config: &Config,
    services: &Services,
    around: &Around<'_>,
) -> Result<Vec<Target>, CheckError> {
    let checks = config
        .checks
        .iter()
        .map(|check| check_target(check, around));
    let mut targets = checks.collect::<Result<Vec<_>, _>>()?;
    targets.extend(services.targets(config)?);
    Ok(targets)
}

/// The probe of a `[[check]]`.
fn check_target(check: &Check, around: &Around<'_>) -> Result<Target, CheckError> {
    let name = &check.name.value;
    let probe = match &check.kind {
        CheckKind::Command { command, user } => {
            let probe = UserCommand::new(command, user).map_err(|source| CheckError::Command {
                name: name.clone(),
                source,
            })?;
            Probe::Command(probe)
        }
        CheckKind::Http {
            address,
            host,
            path,
        } => {
            let probe =
                HttpProbe::new(*address, host, path, &[]).map_err(|source| CheckError::Http {
                    name: format!("check \"{name}\""),
                    source,
                })?;
            Probe::Http(probe)
        }
        CheckKind::Tcp(address) => Probe::Tcp(*address),
        CheckKind::Process(process) => Probe::Process(ProcessProbe::new(process)),
        CheckKind::File(file) => Probe::File(file.clone()),
        CheckKind::Interface(interface) => Probe::Interface(InterfaceProbe::new(
            interface.clone(),
            around.netlink.clone(),
            Arc::clone(around.links),
        )),
        CheckKind::L7 => {
            let control = around
                .proxy
                .ok_or_else(|| CheckError::NoProxy(name.clone()))?
                .clone();
            Probe::Proxy(ProxyProbe::new(move || ask(control.clone())))
        }
    };
    Ok(Target {
        id: TargetId::Check(name.clone()),
        probe,
        interval: check.interval,
        timeout: check.timeout,
        rise: check.rise,
        fall: check.fall,
        initial: State::Unknown,
    })
}

/// The probe of a service's backend.
pub(super) fn backend_target(
    service: &Service,
    key: ServiceKey,
    backend: SocketAddr,
    health: &Health,
    initial: State,
) -> Result<Target, CheckError> {
    let address = SocketAddr::new(backend.ip(), health.port.unwrap_or(backend.port()));
    let probe = match &health.kind {
        HealthKind::Tcp => Probe::Tcp(address),
        HealthKind::Http { path, expect } => {
            let probe = HttpProbe::new(address, &address.to_string(), path, expect);
            Probe::Http(probe.map_err(|source| CheckError::Http {
                name: format!("service \"{}\"", service.name.value),
                source,
            })?)
        }
    };
    Ok(Target {
        id: TargetId::Backend {
            service: key,
            backend,
        },
        probe,
        interval: health.interval,
        timeout: health.timeout,
        rise: health.rise,
        fall: health.fall,
        initial,
    })
}

async fn ask(control: Control) -> Report {
    match control.health().await {
        Ok(()) => Report {
            outcome: Outcome::Ok,
            reason: "the proxy serves".into(),
            number: None,
        },
        Err(error) => Report {
            outcome: Outcome::Refused,
            reason: error.to_string(),
            number: None,
        },
    }
}
