//! Reads an `[[upstream]]`.

use std::time::Duration;

use hafw_config::{Document, Section};

use super::{upstream_tls, value_or, values};
use crate::{
    model::{Address, Balance, Health, Queue, StickyCookie, Upstream, UpstreamServer},
    proxy_protocol::Version,
};

const ADDRESS: &str = "an address and a port such as \"10.0.0.7:80\", a name and a port, or \
                       \"unix:/run/app.sock\"";

pub(super) fn read(document: &Document, section: &Section) -> Option<Upstream> {
    let name = section.name("name");
    let balance = section.choice(
        "balance",
        &[
            ("round_robin", Balance::RoundRobin),
            ("least_connections", Balance::LeastConnections),
            ("source_hash", Balance::SourceHash),
            ("hash", Balance::Hash),
            ("random_two", Balance::RandomTwo),
        ],
    );
    let balance = value_or(balance, Balance::default());
    let hash = section.string("hash");
    if (balance == Balance::Hash) != hash.is_some() {
        let what = "balance = \"hash\" and hash = \"$uri\" (or another text with variables) go \
                    together";
        section.note(&section.place_of("hash"), what);
    }
    let servers = section.tables("server", "server");
    let keepalive = section.number("keepalive", 0..=65_535);
    section.need("server", section.has("server").then_some(()));
    let health = section.table("health").map(|health| read_health(&health));
    let sticky = section.table("sticky").map(|sticky| read_sticky(&sticky));
    let queue = section.table("queue").map(|queue| read_queue(&queue));
    let resolve = section.duration("resolve");
    if resolve.as_ref().is_some_and(|resolve| resolve.is_zero()) {
        section.wrong("resolve", "expected more than no time");
    }
    let http2 = section.boolean("http2");
    let http2 = value_or(http2, false);
    let versions = [("v1", Version::V1), ("v2", Version::V2)];
    let proxy_protocol = section.choice("proxy_protocol", &versions);
    if http2 && proxy_protocol.is_some() {
        let what = "not with http2: its connections serve several clients";
        section.wrong("proxy_protocol", what);
    }
    let tls = section.table("tls");
    if let Some(Some(health)) = &health
        && health.http.is_some()
        && health.port.is_none()
        && (http2 || tls.is_some() || proxy_protocol.is_some())
    {
        let what = "probes speak HTTP/1.1 in clear: expected tcp = true or a port for them, where \
                    there is tls, http2 or proxy_protocol";
        section.wrong("health", what);
    }
    let servers: Vec<_> = servers.iter().filter_map(read_server).collect();
    let is_unix = |server: &UpstreamServer| matches!(server.address, Address::Unix(_));
    if servers.iter().any(is_unix) {
        if tls.is_some() {
            section.wrong("tls", "not with unix sockets");
        }
        if let Some(Some(Health { port: Some(_), .. })) = &health {
            section.wrong("health", "expected no port, as a unix socket has none");
        }
    }
    let tls = tls.map(|tls| upstream_tls::read(document, &tls, &servers, http2));
    section.finish();
    let standard = Upstream::new(name?.value, servers);
    Some(Upstream {
        balance,
        hash: hash.map(|hash| hash.value),
        keepalive: value_or(keepalive, standard.keepalive),
        health: health.flatten(),
        sticky: sticky.flatten(),
        queue: queue.unwrap_or_default(),
        resolve: value_or(resolve, standard.resolve),
        // What is wrong with it was noted, so that nothing comes of the whole.
        tls: tls.flatten(),
        http2,
        proxy_protocol: proxy_protocol.map(|version| version.value),
        ..standard
    })
}

fn read_server(section: &Section) -> Option<UpstreamServer> {
    let address = section.parsed("address", ADDRESS, |text| text.parse::<Address>().ok());
    let address = section.need("address", address);
    let weight = section.number("weight", 1..=65_535);
    let max_fails = section.number("max_fails", 0..=1_000_000);
    let fail_timeout = section.duration("fail_timeout");
    let backup = section.boolean("backup");
    let max_connections = section.number("max_connections", 0..=1_000_000);
    let slow_start = section.duration("slow_start");
    section.finish();
    let default = UpstreamServer::new(address?.value);
    Some(UpstreamServer {
        weight: value_or(weight, default.weight),
        max_fails: value_or(max_fails, default.max_fails),
        fail_timeout: value_or(fail_timeout, default.fail_timeout),
        backup: value_or(backup, default.backup),
        max_connections: value_or(max_connections, default.max_connections),
        slow_start: value_or(slow_start, default.slow_start),
        ..default
    })
}

/// The keys and defaults are those of a service's `health`.
fn read_health(section: &Section) -> Option<Health> {
    let http = section.parsed("http", "a path such as \"/\"", |path| {
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        is_path.then(|| path.to_owned())
    });
    let tcp = section.boolean("tcp");
    let host = section.string("host");
    let expect_status = section.integers("expect_status", 100..=599);
    let port = section.number("port", 1..=65_535);
    let interval = section.duration("interval");
    let timeout = section.duration("timeout");
    let rise = section.number("rise", 1..=1000);
    let fall = section.number("fall", 1..=1000);
    section.finish();
    for (key, duration) in [("interval", &interval), ("timeout", &timeout)] {
        if duration.as_ref().is_some_and(|duration| duration.is_zero()) {
            section.wrong(key, "expected more than no time");
        }
    }
    let is_tcp = tcp.is_some_and(|tcp| tcp.value);
    if http.is_some() == is_tcp {
        section.note(
            section.place(),
            "expected exactly one of http and tcp = true",
        );
        return None;
    }
    let statuses = values(expect_status).into_iter();
    let statuses: Vec<_> = statuses
        .filter_map(|status| u16::try_from(status).ok())
        .collect();
    Some(Health {
        http: http.map(|http| http.value),
        host: host.map(|host| host.value),
        expect_status: match statuses.is_empty() {
            true => vec![200],
            false => statuses,
        },
        port: port.map(|port| port.value),
        interval: value_or(interval, Duration::from_secs(1)),
        timeout: value_or(timeout, Duration::from_millis(500)),
        rise: value_or(rise, 2),
        fall: value_or(fall, 2),
    })
}

fn read_sticky(section: &Section) -> Option<StickyCookie> {
    let name = section.need("cookie", section.string("cookie"));
    let max_age = section.duration("max_age");
    let path = section.string("path");
    let secure = section.boolean("secure");
    section.finish();
    Some(StickyCookie {
        name: name?.value,
        max_age: value_or(max_age, Duration::ZERO),
        path: value_or(path, "/".to_owned()),
        secure: value_or(secure, false),
    })
}

fn read_queue(section: &Section) -> Queue {
    let length = section.need("length", section.number("length", 0..=1_000_000));
    let timeout = section.duration("timeout");
    section.finish();
    Queue {
        length: value_or(length, 0),
        timeout: value_or(timeout, Duration::from_secs(60)),
    }
}
