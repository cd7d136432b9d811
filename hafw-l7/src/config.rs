//! Reads the proxy's part of hafw.toml: `[[upstream]]`, `[[server]]` with its routes, `[proxy]`.

mod listen;
mod options;
mod route;
mod upstream;
mod upstream_tls;

use std::{net::SocketAddr, path::Path};

use hafw_config::{Document, Located, Place as FilePlace, Problems, Section};

use crate::{
    model::{Block, Options, ProxyConfig, Server},
    plan::{Place, Plan},
};

/// The parts of the file that are the controller's; the proxy alone does not look into them.
const OTHER_TABLES: [&str; 4] = ["node", "cluster", "alerts", "metrics"];
const OTHER_LISTS: [&str; 4] = ["interface", "virtual_router", "check", "service"];

/// Reads a file for the proxy alone.
///
/// # Errors
///
/// Everything that is wrong with the proxy's part of the file.
pub fn load(path: &Path) -> Result<ProxyConfig, Problems> {
    alone(Document::load(path)?)
}

/// As [`load`], of a text, which can include nothing.
///
/// # Errors
///
/// As [`load`].
pub fn parse(name: &str, text: &str) -> Result<ProxyConfig, Problems> {
    alone(Document::parse(name, text)?)
}

fn alone(document: Document) -> Result<ProxyConfig, Problems> {
    let mut config = ProxyConfig::read(&document);
    let root = document.root();
    let node = root.table("node");
    config.stop_timeout = node
        .and_then(|node| node.duration("stop_timeout"))
        .map(|timeout| timeout.value);
    for key in OTHER_TABLES {
        let _ = root.table(key);
    }
    for key in OTHER_LISTS {
        let _ = root.tables(key, key);
    }
    root.finish();
    if !document.has_problems() && config.servers.is_empty() {
        document.problem(root.place(), "there is no [[server]] to serve");
    }
    let problems = document.into_problems();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// Where each `[[server]]` listens. What is wrong with that [`ProxyConfig::read`] notes.
#[must_use]
pub fn listeners(document: &Document) -> Vec<Located<SocketAddr>> {
    let servers = document.root().tables("server", "server");
    servers
        .iter()
        .filter_map(listen::addresses)
        .flatten()
        .collect()
}

impl ProxyConfig {
    /// Reads the proxy's sections. What is wrong is noted in the document, and the result is of use
    /// only if nothing was.
    #[must_use]
    pub fn read(document: &Document) -> Self {
        let root = document.root();
        let upstreams = root.tables("upstream", "upstream");
        let servers = root.tables("server", "server");
        let proxy = root.table("proxy");
        let read = |key, range| proxy.as_ref().and_then(|proxy| proxy.integer(key, range));
        let number = |key, most| value_or(read(key, 0..=most), 0);
        let [workers, max_connections, max_connections_per_source] = [
            number("workers", 1024),
            number("max_connections", 10_000_000),
            number("max_connections_per_source", 10_000_000),
        ];
        let block = proxy.as_ref().and_then(read_block);
        if let Some(proxy) = &proxy {
            proxy.finish();
        }
        let config = Self {
            workers: u16::try_from(workers).unwrap_or(0),
            max_connections: u32::try_from(max_connections).unwrap_or(0),
            max_connections_per_source: u32::try_from(max_connections_per_source).unwrap_or(0),
            block,
            // Of the node, and read by whoever reads that.
            stop_timeout: None,
            upstreams: upstreams
                .iter()
                .filter_map(|section| upstream::read(document, section))
                .collect(),
            servers: servers
                .iter()
                .map(|section| read_server(document, section))
                .collect(),
        };
        if !document.has_problems()
            && let Err(error) = Plan::new(&config)
        {
            document.problem(&place_of(error.place, &upstreams, &servers), error.what);
        }
        config
    }
}

/// What `enforce = "xdp"` asks for.
fn read_block(proxy: &Section) -> Option<Block> {
    let by_xdp = proxy.choice("enforce", &[("proxy", false), ("xdp", true)]);
    let after = proxy.number("block_after", 1..=1_000_000);
    let time = proxy.duration("block_for");
    if time.as_ref().is_some_and(|time| time.is_zero()) {
        proxy.wrong("block_for", "expected more than no time");
    }
    if !value_or(by_xdp, false) {
        for key in ["block_after", "block_for"] {
            if proxy.has(key) {
                proxy.wrong(key, "of use only with enforce = \"xdp\"");
            }
        }
        return None;
    }
    let standard = Block::default();
    Some(Block {
        after: value_or(after, standard.after),
        time: value_or(time, standard.time),
    })
}

fn read_server(document: &Document, section: &Section) -> Server {
    let hosts = values(section.strings("hosts"));
    let listen = section.need("listen", listen::read(document, section, &hosts));
    let default = section.boolean("default");
    let routes = section.tables("route", "route");
    let http2 = section.boolean("http2");
    let (options, _) = options::read(section, &Options::default());
    let standard = Server::new(Vec::new(), hosts, Vec::new());
    let server = Server {
        listen: values(listen),
        default: value_or(default, false),
        http2: value_or(http2, standard.http2),
        rewrites: route::read_rewrites(section),
        routes: routes
            .iter()
            .filter_map(|section| route::read(section, &options))
            .collect(),
        options,
        ..standard
    };
    section.finish();
    if server.listen.is_empty() && section.has("listen") {
        section.wrong("listen", "expected at least one address");
    }
    if server.hosts.is_empty() && !server.default {
        section.note(
            section.place(),
            "expected hosts, or default = true for a server of all names",
        );
    }
    if server.routes.is_empty() && !section.has("route") {
        section.note(section.place(), "expected a [[server.route]]");
    }
    server
}

/// Where in the file a place of the model is. All of its sections were read without a mistake, so
/// the indices are the same.
fn place_of(place: Place, upstreams: &[Section], servers: &[Section]) -> FilePlace {
    let fallback = || servers.first().or(upstreams.first()).map(Section::place);
    let (sections, index) = match place {
        Place::Upstream { upstream } => (upstreams, upstream),
        Place::Server { server }
        | Place::Host { server, .. }
        | Place::Route { server, .. }
        | Place::Key { server, .. } => (servers, server),
    };
    let Some(section) = sections.get(index) else {
        return fallback()
            .cloned()
            .expect("an error needs something that is wrong");
    };
    let route_of = |route: usize| section.tables("route", "route").into_iter().nth(route);
    let within = match place {
        Place::Upstream { .. } => Some(section.place_of("name")),
        Place::Server { .. } => None,
        Place::Host { host, .. } => section
            .strings("hosts")
            .and_then(|hosts| hosts.get(host).map(|host| host.place.clone())),
        Place::Route { route, .. } => route_of(route).map(|route| route.place().clone()),
        Place::Key {
            route, key, entry, ..
        } => {
            let section = route.map_or(Some(section.clone()), route_of);
            section.map(|section| {
                entry
                    .and_then(|entry| place_of_entry(&section, key, entry))
                    .unwrap_or_else(|| section.place_of(key))
            })
        }
    };
    within.unwrap_or_else(|| section.place().clone())
}

/// Where an entry of a table of strings, or of a list of tables, is.
fn place_of_entry(section: &Section, key: &str, entry: usize) -> Option<FilePlace> {
    if key.ends_with("headers") {
        let entries = section.table(key)?.string_entries();
        return entries.get(entry).map(|(name, _)| name.place.clone());
    }
    let tables = section.tables(key, key);
    tables.get(entry).map(|table| table.place().clone())
}

fn value_or<T>(read: Option<Located<T>>, standard: T) -> T {
    read.map_or(standard, |located| located.value)
}

fn values<T>(read: Option<Vec<Located<T>>>) -> Vec<T> {
    let all = read.unwrap_or_default().into_iter();
    all.map(|located| located.value).collect()
}

#[cfg(test)]
mod tests;
