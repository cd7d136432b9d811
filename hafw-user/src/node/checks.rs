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
    config::{Check, CheckKind, Config, Health, HealthKind, HttpHealth, Service, TlsHealth},
    probe::{
        DnsProbe, GrpcProbe, HttpProbe, HttpRequest, InterfaceProbe, InvalidHttp, Probe,
        ProcessProbe, ProxyProbe, Report, Target, TargetId, TlsSpec, UdpProbe,
    },
};

/// A check cannot be carried out here.
#[derive(Debug, Error)]
pub(super) enum CheckError {
    /// Its command.
    #[error("{name}: {source}")]
    Command {
        /// Name, with its kind.
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
    /// The name that a name server is asked for.
    #[error("{name}: {question:?} is no name that can be asked for")]
    Name {
        /// Name, with its kind.
        name: String,
        /// What is none.
        question: String,
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
                name: format!("check \"{name}\""),
                source,
            })?;
            Probe::Command(probe)
        }
        CheckKind::Http {
            address,
            host,
            path,
        } => {
            let request = HttpRequest::get(host, path);
            let probe = HttpProbe::new(*address, &request, &[]);
            Probe::Http(probe.map_err(|source| CheckError::Http {
                name: format!("check \"{name}\""),
                source,
            })?)
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
    let name = || format!("service \"{}\"", service.name.value);
    let probe = match &health.kind {
        HealthKind::Tcp => Probe::Tcp(address),
        HealthKind::Http(http) => {
            let probe = http_probe(address, http);
            Probe::Http(probe.map_err(|source| CheckError::Http {
                name: name(),
                source,
            })?)
        }
        HealthKind::Grpc { service, host, tls } => Probe::Grpc(GrpcProbe {
            address,
            authority: host.clone().unwrap_or_else(|| address.to_string()),
            service: service.clone(),
            tls: tls.map(|tls| tls_spec(tls, address, host.as_deref())),
        }),
        HealthKind::Dns { name: question } => {
            let probe = DnsProbe::new(address, question);
            Probe::Dns(probe.ok_or_else(|| CheckError::Name {
                name: name(),
                question: question.clone(),
            })?)
        }
        HealthKind::Udp { send, expect } => {
            Probe::Udp(UdpProbe::new(address, send.clone(), expect.clone()))
        }
        HealthKind::Icmp => Probe::Icmp(backend.ip()),
        HealthKind::Command { command, user } => {
            let probe = UserCommand::new(command, user).map_err(|source| CheckError::Command {
                name: name(),
                source,
            })?;
            let arguments = [address.ip().to_string(), address.port().to_string()];
            Probe::Command(probe.with_arguments(arguments))
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

fn http_probe(address: SocketAddr, http: &HttpHealth) -> Result<HttpProbe, InvalidHttp> {
    let HttpHealth {
        path,
        method,
        host,
        headers,
        expect_status,
        expect_body,
        tls,
    } = http;
    let request = HttpRequest {
        method: method.clone(),
        host: host.clone().unwrap_or_else(|| address.to_string()),
        path: path.clone(),
        headers: headers.clone(),
    };
    let probe = HttpProbe::new(address, &request, expect_status)?;
    let tls = tls.map(|tls| tls_spec(tls, address, host.as_deref()));
    Ok(probe.expecting_body(expect_body.clone()).over_tls(tls))
}

/// The name is the host's without a port, or the address.
fn tls_spec(tls: TlsHealth, address: SocketAddr, host: Option<&str>) -> TlsSpec {
    let bare = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name.to_owned(),
        Some(_) | None => host.to_owned(),
    };
    TlsSpec {
        name: host.map_or_else(|| address.ip().to_string(), bare),
        verify: tls.verify,
    }
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
