//! The configuration compiled into what a worker looks things up in: names to servers, routes,
//! header templates, retry rules. Each worker compiles its own, so that nothing is shared.

mod action;
mod options;
mod routing;
mod upstream;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use action::{ActionPlan, PathChangePlan, RespondPlan, RoutePlan};
pub(crate) use options::append_line;
pub use options::{HeaderChanges, HeaderPlan, Limits, OptionsPlan, RatePlan};
pub use routing::{Resolved, Unrouted};
pub use upstream::{StickyPlan, UpstreamPlan};

use crate::{
    model::{Listen, LogTo, Network, ProxyConfig, Server},
    route::{Router, Rules, host, host::Hosts},
    tls::ServerTls,
    upstream::MAX_SERVERS,
};

/// A compiled configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The clusters, in the order of the model.
    pub upstreams: Vec<UpstreamPlan>,
    pub servers: Vec<ServerPlan>,
    /// Most client connections, and most of one source; 0 = no limit.
    pub connections: (u32, u32),
    /// How long a stop waits for the requests under way.
    pub stop_timeout: Duration,
    /// How many refusals make an offender of a source; none: none does.
    pub block_after: Option<u32>,
    /// By address; there are few.
    sites: Vec<(SocketAddr, Site)>,
}

/// Where the configuration does not say how long a stop takes.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What is served on one address.
#[derive(Clone, Debug)]
pub struct Site {
    pub hosts: Hosts,
    /// The server whose time limits hold until a request has named its host: the default one, or
    /// the first of the file.
    pub first: usize,
    /// TLS by server; empty: requests come in clear.
    tls: BTreeMap<usize, ServerTls>,
    /// Connections from these networks (from all, if there is none) begin with a PROXY header.
    proxy_protocol: Option<Vec<Network>>,
}

/// One virtual server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// The server's first host name, or nothing.
    pub name: Box<[u8]>,
    pub router: Router,
    pub rewrites: Rules,
    pub routes: Vec<RoutePlan>,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    options: OptionsPlan,
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
    Upstream {
        upstream: usize,
    },
    Server {
        server: usize,
    },
    Host {
        server: usize,
        host: usize,
    },
    Route {
        server: usize,
        route: usize,
    },
    /// A key of a server or of one of its routes; perhaps one entry of what it is set to.
    Key {
        server: usize,
        route: Option<usize>,
        key: &'static str,
        entry: Option<usize>,
    },
}

/// What is wrong with a key, and with which entry of it.
pub(crate) struct KeyError {
    key: &'static str,
    entry: Option<usize>,
    what: String,
}

impl KeyError {
    fn within(self, server: usize, route: Option<usize>) -> PlanError {
        let Self { key, entry, what } = self;
        PlanError {
            place: Place::Key {
                server,
                route,
                key,
                entry,
            },
            what,
        }
    }
}

impl Plan {
    /// Compiles and checks a configuration.
    ///
    /// # Errors
    ///
    /// [`PlanError`] for the first thing that is wrong.
    pub fn new(config: &ProxyConfig) -> Result<Self, PlanError> {
        let clusters = clusters(config)?;
        let upstreams = config
            .upstreams
            .iter()
            .enumerate()
            .map(|(index, upstream)| {
                UpstreamPlan::new(upstream).map_err(|what| PlanError {
                    place: Place::Upstream { upstream: index },
                    what: format!("upstream \"{}\": {what}", upstream.name),
                })
            });
        let mut plan = Self {
            upstreams: upstreams.collect::<Result<_, _>>()?,
            servers: Vec::with_capacity(config.servers.len()),
            connections: (config.max_connections, config.max_connections_per_source),
            stop_timeout: config.stop_timeout.unwrap_or(STOP_TIMEOUT),
            block_after: config.block.map(|block| block.after),
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

    /// Every rate limit.
    pub fn rates(&self) -> impl Iterator<Item = &RatePlan> {
        self.all_options().flat_map(|options| &options.rates)
    }

    /// Where requests are logged, each place perhaps several times.
    pub fn logs(&self) -> impl Iterator<Item = &LogTo> {
        let logs = self
            .all_options()
            .filter_map(|options| options.access_log.as_ref());
        logs.map(|log| &log.to)
    }

    fn all_options(&self) -> impl Iterator<Item = &OptionsPlan> {
        let servers = self.servers.iter();
        servers.flat_map(|server| {
            let own = server
                .routes
                .iter()
                .filter_map(|route| route.options.as_ref());
            own.chain([&server.options])
        })
    }

    fn site_mut(&mut self, address: SocketAddr, first: usize) -> &mut Site {
        let known = self.sites.iter().position(|(known, _)| *known == address);
        let at = known.unwrap_or_else(|| {
            let hosts = Hosts::default();
            let site = Site {
                hosts,
                first,
                tls: BTreeMap::new(),
                proxy_protocol: None,
            };
            self.sites.push((address, site));
            self.sites.len() - 1
        });
        &mut self.sites[at].1
    }

    fn add_names(&mut self, index: usize, server: &Server) -> Result<(), PlanError> {
        let error = |place, what| Err(PlanError { place, what });
        for Listen {
            address,
            tls,
            proxy_protocol,
        } in &server.listen
        {
            let is_new = self.site(*address).is_none();
            let site = self.site_mut(*address, index);
            if is_new {
                site.proxy_protocol.clone_from(proxy_protocol);
            } else if site.proxy_protocol != *proxy_protocol {
                let what = format!("servers on {address} differ in proxy_protocol or trusted");
                return error(Place::Server { server: index }, what);
            }
            if !is_new && site.tls.is_empty() == tls.is_some() {
                let what = format!("some servers on {address} have tls, and some have not");
                return error(Place::Server { server: index }, what);
            }
            if let Some(tls) = tls {
                match ServerTls::new(tls, server.http2) {
                    Ok(tls) => drop(site.tls.insert(index, tls)),
                    Err(wrong) => {
                        return error(Place::Server { server: index }, wrong.to_string());
                    }
                }
            }
            for (at, host) in server.hosts.iter().enumerate() {
                let place = Place::Host {
                    server: index,
                    host: at,
                };
                let name = host::Name::new(host).map_err(|what| PlanError { place, what })?;
                if let Err(conflict) = site.hosts.add(&name, index) {
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

impl Site {
    /// TLS for a client that asks for a name, and the server that has it: that of the name, or the
    /// one that stands in for others. `None`: requests come in clear.
    pub(crate) fn tls(&self, name: Option<&str>) -> Option<(usize, &ServerTls)> {
        let named = name.and_then(|name| self.hosts.find(Some(name.as_bytes())));
        let server = named.unwrap_or(self.first);
        self.tls.get(&server).map(|tls| (server, tls))
    }

    /// Whether connections from this address begin with a PROXY header.
    pub(crate) fn expects_proxy(&self, client: IpAddr) -> bool {
        let trusted = self.proxy_protocol.as_ref();
        trusted.is_some_and(|trusted| {
            trusted.is_empty() || trusted.iter().any(|network| network.contains(client))
        })
    }

    /// Whether a connection that named one server may ask another: not if that wants to know its
    /// clients and the connection was not asked on its behalf.
    pub(crate) fn admits(&self, named: usize, server: usize) -> bool {
        named == server || self.tls.get(&server).is_none_or(|tls| !tls.asks)
    }
}

impl ServerPlan {
    fn new(
        index: usize,
        server: &Server,
        clusters: &BTreeMap<&str, usize>,
    ) -> Result<Self, PlanError> {
        let router = Router::new(&server.routes).map_err(|error| PlanError {
            place: Place::Route {
                server: index,
                route: error.route,
            },
            what: error.to_string(),
        })?;
        let options = OptionsPlan::new(&server.options, &format!("{index}"))
            .map_err(|error| error.within(index, None));
        let rewrites = rules(&server.rewrites).map_err(|error| error.within(index, None));
        let routes = server.routes.iter().enumerate().map(|(at, route)| {
            RoutePlan::new(&format!("{index}/{at}"), at, route, clusters)
                .map_err(|error| error.within(index, Some(at)))
        });
        let name = server.hosts.iter().find(|name| !name.starts_with('~'));
        Ok(Self {
            name: name.map_or("", String::as_str).as_bytes().into(),
            router,
            rewrites: rewrites?,
            routes: routes.collect::<Result<_, _>>()?,
            http2: server.http2,
            options: options?,
        })
    }

    /// What holds for a route's requests, or for requests that have none.
    #[must_use]
    pub fn options(&self, route: Option<usize>) -> &OptionsPlan {
        route
            .and_then(|route| self.routes.get(route)?.options.as_ref())
            .unwrap_or(&self.options)
    }
}

fn rules(rewrites: &[crate::model::Rewrite]) -> Result<Rules, KeyError> {
    Rules::new(rewrites).map_err(|(entry, what)| KeyError {
        key: "rewrite",
        entry: Some(entry),
        what,
    })
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

/// Whether a byte may be part of a method or a field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PathCondition, Route, SetHeader, Upstream, UpstreamServer};

    fn server_at(address: &str) -> UpstreamServer {
        UpstreamServer::new(address.parse::<SocketAddr>().unwrap())
    }

    fn upstream(name: &str) -> Upstream {
        Upstream::new(name, vec![server_at("10.0.0.7:80")])
    }

    fn server(listen: &str, host: &str) -> Server {
        let route = Route::to("web", PathCondition::Any);
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
            ..ProxyConfig::default()
        })
    }

    fn set_header(name: &str, value: &str) -> Result<Plan, PlanError> {
        let mut server = server("10.0.0.3:80", "a");
        server.options.set_headers.push(SetHeader {
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
                Place::Key {
                    server: 0,
                    route: None,
                    key: "set_headers",
                    entry: Some(0)
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
                ..ProxyConfig::default()
            };
            Plan::new(&config).unwrap_err().place
        };
        let mut empty = upstream("a");
        empty.servers.clear();
        let mut crowd = upstream("a");
        crowd.servers = vec![server_at("10.0.0.7:80"); MAX_SERVERS + 1];
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
