//! The configuration compiled into what a worker looks things up in: names to servers, routes,
//! header templates, retry rules. Each worker compiles its own, so that nothing is shared.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    model::{ProxyConfig, Server, SetHeader, Timeouts},
    retry::{Millis, Policy, millis},
    route::{RouteError, Router, host, host::Hosts},
    template::{Template, TemplateError},
    upstream::MAX_SERVERS,
};

/// A compiled configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: Vec<ServerPlan>,
    /// By address; there are few.
    sites: Vec<(SocketAddr, Site)>,
}

/// What is served on one address.
#[derive(Clone, Debug)]
pub struct Site {
    pub hosts: Hosts,
    /// The server whose time limits hold until a request has named its host: the default one, or
    /// the first of the file.
    pub first: usize,
}

/// One virtual server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// The server's first host name, or nothing.
    pub name: Box<[u8]>,
    pub router: Router,
    pub set_headers: Vec<HeaderPlan>,
    pub policy: Policy,
    pub limits: Limits,
}

/// A header to set.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    pub name: Box<[u8]>,
    pub value: Template,
}

/// A server's bounds: times in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect: Millis,
    pub read: Millis,
    pub send: Millis,
    pub client_header: Millis,
    pub client_body: Millis,
    pub keepalive: Millis,
    /// `u64::MAX` = none.
    pub body_size: u64,
}

/// A configuration that cannot be compiled: what is wrong, and where in the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PlanError {
    pub place: Place,
    pub what: String,
}

/// A place in the model, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Upstream { upstream: usize },
    Server { server: usize },
    Host { server: usize, host: usize },
    SetHeader { server: usize, header: usize },
    Route { server: usize, route: usize },
}

/// Headers that frame the message or belong to one connection; the proxy writes them itself.
const NOT_TO_BE_SET: [&str; 9] = [
    "Connection",
    "Content-Length",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

impl Plan {
    /// Compiles and checks a configuration.
    ///
    /// # Errors
    ///
    /// [`PlanError`] for the first thing that is wrong.
    pub fn new(config: &ProxyConfig) -> Result<Self, PlanError> {
        let clusters = clusters(config)?;
        let mut plan = Self {
            servers: Vec::with_capacity(config.servers.len()),
            sites: Vec::new(),
        };
        for (index, server) in config.servers.iter().enumerate() {
            plan.servers
                .push(ServerPlan::new(index, server, &clusters)?);
            plan.add_names(index, server)?;
        }
        Ok(plan)
    }

    /// What is served on a listening address.
    #[must_use]
    pub fn site(&self, address: SocketAddr) -> Option<&Site> {
        let mut sites = self.sites.iter();
        sites
            .find(|(known, _)| *known == address)
            .map(|(_, site)| site)
    }

    fn site_mut(&mut self, address: SocketAddr, first: usize) -> &mut Site {
        let known = self.sites.iter().position(|(known, _)| *known == address);
        let at = known.unwrap_or_else(|| {
            let hosts = Hosts::default();
            self.sites.push((address, Site { hosts, first }));
            self.sites.len() - 1
        });
        &mut self.sites[at].1
    }

    fn add_names(&mut self, index: usize, server: &Server) -> Result<(), PlanError> {
        let error = |place, what| Err(PlanError { place, what });
        for address in &server.listen {
            let site = self.site_mut(*address, index);
            for (at, host) in server.hosts.iter().enumerate() {
                if let Err(conflict) = site.hosts.add(host, index) {
                    let place = Place::Host {
                        server: index,
                        host: at,
                    };
                    let first = conflict.first;
                    let what = format!("server {first} already serves \"{host}\" on {address}");
                    return error(place, what);
                }
            }
            if server.default {
                site.first = index;
                if let Err(conflict) = site.hosts.set_default(index) {
                    let first = conflict.first;
                    let what = format!("server {first} is already the default on {address}");
                    return error(Place::Server { server: index }, what);
                }
            }
        }
        Ok(())
    }
}

impl ServerPlan {
    fn new(
        index: usize,
        server: &Server,
        clusters: &BTreeMap<&str, usize>,
    ) -> Result<Self, PlanError> {
        for (at, host) in server.hosts.iter().enumerate() {
            let (name, port) = host::split_port(host.as_bytes());
            if name.is_empty() || port.is_some() || !host::is_valid_authority(name) {
                return Err(PlanError {
                    place: Place::Host {
                        server: index,
                        host: at,
                    },
                    what: format!("\"{host}\" is not a host name without port"),
                });
            }
        }
        let router = Router::new(&server.routes, |name| clusters.get(name).copied())
            .map_err(|error| route_error(index, &error))?;
        let headers = server.set_headers.iter().enumerate();
        Ok(Self {
            name: server
                .hosts
                .first()
                .map_or("", String::as_str)
                .as_bytes()
                .into(),
            router,
            set_headers: headers
                .map(|(at, header)| {
                    HeaderPlan::new(header).map_err(|what| PlanError {
                        place: Place::SetHeader {
                            server: index,
                            header: at,
                        },
                        what,
                    })
                })
                .collect::<Result<_, _>>()?,
            policy: Policy::new(&server.next_upstream),
            limits: Limits::new(&server.timeouts, server.client_max_body_size),
        })
    }
}

impl HeaderPlan {
    fn new(header: &SetHeader) -> Result<Self, String> {
        let SetHeader { name, value } = header;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("\"{name}\" is not a header name"));
        }
        if NOT_TO_BE_SET
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name))
        {
            return Err(format!("{name} is set by the proxy itself"));
        }
        let template = Template::new(value)
            .map_err(|error: TemplateError| format!("value of {name}: {error}"))?;
        if template.is_empty() && name.eq_ignore_ascii_case("host") {
            return Err("Host cannot be removed: a request needs one".to_owned());
        }
        Ok(Self {
            name: name.as_bytes().into(),
            value: template,
        })
    }
}

impl Limits {
    fn new(timeouts: &Timeouts, body_size: u64) -> Self {
        Self {
            connect: millis(timeouts.connect),
            read: millis(timeouts.read),
            send: millis(timeouts.send),
            client_header: millis(timeouts.client_header),
            client_body: millis(timeouts.client_body),
            keepalive: millis(timeouts.keepalive),
            body_size: match body_size {
                0 => u64::MAX,
                size => size,
            },
        }
    }
}

/// Checks the clusters and gives their indices by name.
fn clusters(config: &ProxyConfig) -> Result<BTreeMap<&str, usize>, PlanError> {
    let mut clusters = BTreeMap::new();
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let error = |what| {
            Err(PlanError {
                place: Place::Upstream { upstream: index },
                what,
            })
        };
        let name = &upstream.name;
        if clusters.insert(name.as_str(), index).is_some() {
            return error(format!("upstream \"{name}\" is defined twice"));
        }
        if upstream.servers.len() > MAX_SERVERS {
            return error(format!(
                "upstream \"{name}\" has more than {MAX_SERVERS} servers"
            ));
        }
        if upstream.servers.iter().all(|server| server.backup) {
            return error(format!(
                "upstream \"{name}\" needs a server that is no backup"
            ));
        }
        if upstream.servers.iter().any(|server| server.weight == 0) {
            return error(format!("upstream \"{name}\" has a server of weight 0"));
        }
    }
    Ok(clusters)
}

fn route_error(server: usize, error: &RouteError) -> PlanError {
    let (RouteError::UnknownUpstream { route, .. }
    | RouteError::PathRegex { route, .. }
    | RouteError::HeaderRegex { route, .. }
    | RouteError::NotAPath { route }) = error;
    PlanError {
        place: Place::Route {
            server,
            route: *route,
        },
        what: error.to_string(),
    }
}

/// Whether a byte may be part of a method or a field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Balance, PathCondition, Route, Upstream, UpstreamServer};

    fn upstream(name: &str) -> Upstream {
        Upstream {
            name: name.to_owned(),
            balance: Balance::RoundRobin,
            servers: vec![UpstreamServer::new("10.0.0.7:80".parse().unwrap())],
            keepalive: 64,
        }
    }

    fn server(listen: &str, host: &str) -> Server {
        let route = Route {
            path: PathCondition::Any,
            headers: Vec::new(),
            upstream: "web".to_owned(),
        };
        Server::new(
            vec![listen.parse().unwrap()],
            vec![host.to_owned()],
            vec![route],
        )
    }

    fn plan(servers: Vec<Server>) -> Result<Plan, PlanError> {
        Plan::new(&ProxyConfig {
            workers: 1,
            upstreams: vec![upstream("web")],
            servers,
        })
    }

    fn set_header(name: &str, value: &str) -> Result<Plan, PlanError> {
        let mut server = server("10.0.0.3:80", "a");
        server.set_headers.push(SetHeader {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        plan(vec![server])
    }

    #[test]
    fn names_belong_to_the_addresses_of_their_server() {
        let www = server("10.0.0.3:80", "www.oldboy.com");
        let bbs = server("10.0.0.4:80", "bbs.oldboy.com");
        let plan = plan(vec![www, bbs]).unwrap();
        let find = |address: &str, host: &[u8]| {
            let site = plan.site(address.parse().unwrap())?;
            site.hosts.find(Some(host))
        };

        assert_eq!(find("10.0.0.3:80", b"www.oldboy.com"), Some(0));
        assert_eq!(find("10.0.0.4:80", b"bbs.oldboy.com"), Some(1));
        assert_eq!(find("10.0.0.3:80", b"bbs.oldboy.com"), None);
        assert_eq!(find("10.0.0.5:80", b"www.oldboy.com"), None);
    }

    #[test]
    fn a_name_or_default_claimed_twice_on_an_address_is_refused() {
        let twice = plan(vec![server("10.0.0.3:80", "a"), server("10.0.0.3:80", "A")]);
        assert_eq!(twice.unwrap_err().place, Place::Host { server: 1, host: 0 });

        let mut first = server("10.0.0.3:80", "a");
        let mut second = server("10.0.0.3:80", "b");
        first.default = true;
        second.default = true;
        let defaults = plan(vec![first, second]).unwrap_err();
        assert_eq!(defaults.place, Place::Server { server: 1 });
    }

    #[test]
    fn the_default_servers_limits_hold_before_a_host_is_known() {
        let first = server("10.0.0.3:80", "a");
        let mut second = server("10.0.0.3:80", "b");
        second.default = true;

        let plan = plan(vec![first, second]).unwrap();

        assert_eq!(plan.site("10.0.0.3:80".parse().unwrap()).unwrap().first, 1);
    }

    #[test]
    fn host_names_have_no_port() {
        for bad in ["a:80", "", "a b", "a/b"] {
            let error = plan(vec![server("10.0.0.3:80", bad)]).unwrap_err();
            assert_eq!(error.place, Place::Host { server: 0, host: 0 }, "{bad}");
        }
    }

    #[test]
    fn headers_that_the_proxy_writes_cannot_be_set() {
        assert!(set_header("X-Forwarded-For", "$remote_addr").is_ok());
        for (name, value) in [
            ("content-length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "close"),
            ("X Y", "a"),
            ("", "a"),
            ("X", "$nothing"),
            ("host", ""),
        ] {
            let error = set_header(name, value).unwrap_err();
            assert_eq!(
                error.place,
                Place::SetHeader {
                    server: 0,
                    header: 0
                },
                "{name}"
            );
        }
    }

    #[test]
    fn clusters_need_a_unique_name_and_a_server() {
        let refused = |upstreams| {
            let config = ProxyConfig {
                workers: 1,
                upstreams,
                servers: Vec::new(),
            };
            Plan::new(&config).unwrap_err().place
        };
        let mut empty = upstream("a");
        empty.servers.clear();
        let mut crowd = upstream("a");
        crowd.servers = vec![UpstreamServer::new("10.0.0.7:80".parse().unwrap()); MAX_SERVERS + 1];
        let mut weightless = upstream("a");
        weightless.servers[0].weight = 0;

        assert_eq!(
            refused(vec![upstream("a"), upstream("a")]),
            Place::Upstream { upstream: 1 }
        );
        for bad in [empty, crowd, weightless] {
            assert_eq!(refused(vec![bad]), Place::Upstream { upstream: 0 });
        }
    }
}
