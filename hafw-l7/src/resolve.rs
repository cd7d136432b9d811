//! Names of upstream servers: looked up again and again, as addresses behind a name change. The
//! system's resolver answers, so that /etc/hosts and nsswitch.conf count; it does not tell how
//! long an answer holds, so the interval is configured.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{net::lookup_host, time::timeout};
use tracing::warn;

use crate::{
    model::{Address, ProxyConfig, UpstreamServer},
    upstream::MAX_SERVERS,
};

/// How long one name may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What names were resolved to last, in order.
pub(crate) type Names = BTreeMap<(String, u16), Vec<SocketAddr>>;

/// Looks up every name of a configuration at once. A name that has no answer now keeps its last.
pub(crate) async fn look_up(config: &ProxyConfig, last: &Names) -> Names {
    let mut asked = tokio::task::JoinSet::new();
    for (host, port) in names(config) {
        asked.spawn(async move {
            let found = timeout(PATIENCE, lookup_host((host.as_str(), port))).await;
            let found = found.map(|found| {
                found.map(|found| {
                    let mut found: Vec<_> = found.collect();
                    found.sort_unstable();
                    found.dedup();
                    found
                })
            });
            ((host, port), found)
        });
    }
    let mut names = Names::new();
    while let Some(answer) = asked.join_next().await {
        let Ok((name, found)) = answer else { continue };
        let found = match found {
            Ok(Ok(found)) if !found.is_empty() => Some(found),
            failed => {
                warn!(
                    host = name.0,
                    ?failed,
                    "cannot resolve the name of a server"
                );
                last.get(&name).cloned()
            }
        };
        if let Some(found) = found {
            names.insert(name, found);
        }
    }
    names
}

/// How often the names of a configuration are to be looked up; `None` if it has none.
pub(crate) fn interval(config: &ProxyConfig) -> Option<Duration> {
    let with_names = config.upstreams.iter().filter(|upstream| {
        let mut servers = upstream.servers.iter();
        servers.any(|server| matches!(server.address, Address::Name { .. }))
    });
    with_names.map(|upstream| upstream.resolve).min()
}

/// The configuration with addresses instead of names. A name that has none stays: nobody can be
/// asked there.
pub(crate) fn expand(config: &ProxyConfig, names: &Names) -> ProxyConfig {
    let mut expanded = config.clone();
    for upstream in &mut expanded.upstreams {
        let servers = std::mem::take(&mut upstream.servers);
        upstream.servers = servers
            .into_iter()
            .flat_map(|server| expand_server(server, names))
            .take(MAX_SERVERS)
            .collect();
    }
    expanded
}

fn expand_server(server: UpstreamServer, names: &Names) -> Vec<UpstreamServer> {
    let found = match &server.address {
        Address::Name { host, port } => names.get(&(host.clone(), *port)),
        Address::Ip(_) | Address::Unix(_) => None,
    };
    match found {
        Some(found) => found
            .iter()
            .map(|address| UpstreamServer {
                address: Address::Ip(*address),
                ..server.clone()
            })
            .collect(),
        None => vec![server],
    }
}

fn names(config: &ProxyConfig) -> impl Iterator<Item = (String, u16)> {
    let servers = config.upstreams.iter().flat_map(|u| &u.servers);
    let names: std::collections::BTreeSet<_> = servers
        .filter_map(|server| match &server.address {
            Address::Name { host, port } => Some((host.clone(), *port)),
            Address::Ip(_) | Address::Unix(_) => None,
        })
        .collect();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Upstream;

    fn config() -> ProxyConfig {
        let name: Address = "localhost:80".parse().unwrap();
        let ip: Address = "10.0.0.7:80".parse().unwrap();
        let servers = vec![UpstreamServer::new(name), UpstreamServer::new(ip)];
        ProxyConfig {
            upstreams: vec![Upstream::new("web", servers)],
            ..ProxyConfig::default()
        }
    }

    #[test]
    fn a_name_stands_for_all_of_its_addresses() {
        let addresses = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        let names = Names::from([(("localhost".to_owned(), 80), addresses.to_vec())]);

        let servers = &expand(&config(), &names).upstreams[0].servers;

        let text: Vec<_> = servers.iter().map(|s| s.address.to_string()).collect();
        assert_eq!(text, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.7:80"]);
        assert_eq!(expand(&config(), &Names::new()), config());
        assert_eq!(interval(&config()), Some(Duration::from_secs(10)));
    }

    #[tokio::test]
    async fn the_systems_resolver_answers() {
        let names = look_up(&config(), &Names::new()).await;

        let found = &names[&("localhost".to_owned(), 80)];
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
    }
}
