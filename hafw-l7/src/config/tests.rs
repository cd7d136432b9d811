use std::time::Duration;

use super::*;
use crate::model::{Action, Balance, PathChange, PathCondition, RewriteEnd, UpstreamServer};

const LESSON: &str = r#"
[[upstream]]
name = "upload"
server = [{ address = "10.0.0.8:80" }]

[[upstream]]
name = "default"
balance = "least_connections"
server = [
    { address = "10.0.0.9:80", weight = 2, max_fails = 3, fail_timeout = "30s" },
    { address = "10.0.0.7:80", backup = true },
]
keepalive = 16

[[server]]
listen = ["10.0.0.3:80", "[2001:db8::3]:80"]
hosts = ["www.oldboy.com"]
set_headers = { Host = "$host", X-Forwarded-For = "$remote_addr" }
next_upstream = ["error", "timeout", "http_404", "http_502", "http_403"]
next_upstream_tries = 2
next_upstream_timeout = "3s"
connect_timeout = "1s"
client_max_body_size = "8MiB"

[[server.route]]
path_prefix = "/upload"
final = true
upstream = "upload"

[[server.route]]
user_agent = "(?i)iphone"
header = { name = "X-Version", regex = "^2" }
upstream = "upload"

[[server.route]]
upstream = "default"

[proxy]
workers = 2
"#;

fn read(text: &str) -> (ProxyConfig, String) {
    let document = Document::parse("hafw.toml", text).unwrap();
    let config = ProxyConfig::read(&document);
    document.root().finish();
    (config, document.into_problems().to_string())
}

/// The messages for a file that is the lesson's with one text replaced.
#[track_caller]
fn problems(from: &str, to: &str) -> String {
    assert!(LESSON.contains(from), "{from}");
    read(&LESSON.replacen(from, to, 1)).1
}

#[test]
fn the_lessons_file_is_read() {
    let (config, problems) = read(LESSON);

    assert_eq!(problems, "");
    assert_eq!(config.workers, 2);
    let [upload, default] = &config.upstreams[..] else {
        panic!("two upstreams");
    };
    assert_eq!(
        (upload.balance, upload.keepalive),
        (Balance::RoundRobin, 64)
    );
    assert_eq!(
        upload.servers,
        [UpstreamServer::new(
            "10.0.0.8:80".parse::<SocketAddr>().unwrap()
        )]
    );
    assert_eq!(
        (default.balance, default.keepalive),
        (Balance::LeastConnections, 16)
    );
    assert_eq!(default.servers[0].weight, 2);
    assert_eq!(default.servers[0].max_fails, 3);
    assert_eq!(default.servers[0].fail_timeout, Duration::from_secs(30));
    assert!(default.servers[1].backup);
    let server = &config.servers[0];
    assert_eq!(server.listen.len(), 2);
    assert_eq!(server.hosts, ["www.oldboy.com"]);
    assert_eq!(server.options.set_headers.len(), 2);
    assert_eq!(server.options.next_upstream.on.len(), 5);
    assert_eq!(server.options.next_upstream.tries, 2);
    assert_eq!(server.options.next_upstream.timeout, Duration::from_secs(3));
    assert_eq!(server.options.timeouts.connect, Duration::from_secs(1));
    assert_eq!(server.options.timeouts.read, Duration::from_secs(60));
    assert_eq!(server.options.client_max_body_size, 8 << 20);
    assert_eq!(
        server.routes[0].path,
        PathCondition::Prefix {
            prefix: "/upload".to_owned(),
            r#final: true
        }
    );
    assert_eq!(server.routes[1].conditions.len(), 2);
    assert_eq!(server.routes[2].path, PathCondition::Any);
}

#[test]
fn what_is_left_out_has_its_default() {
    let text = r#"
[[upstream]]
name = "a"
server = [{ address = "10.0.0.8:80" }]
[[server]]
listen = ["10.0.0.3:80"]
default = true
[[server.route]]
upstream = "a"
"#;

    let (config, problems) = read(text);

    assert_eq!(problems, "");
    let address = "10.0.0.3:80".parse().unwrap();
    let mut expected = Server::new(vec![address], Vec::new(), config.servers[0].routes.clone());
    expected.default = true;
    assert_eq!(config.servers, [expected]);
    assert_eq!(config.workers, 0);
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (from, to, expected) in [
        (
            "path_prefix = \"/upload\"",
            "path_prefix = \"upload\"",
            "hafw.toml:25:1: route 0: a path begins with \"/\"",
        ),
        (
            "user_agent = \"(?i)iphone\"",
            "user_agent = \"(iphone\"",
            "hafw.toml:30:1: route 1: bad regex for header User-Agent",
        ),
        (
            "[[server.route]]\nupstream = \"default\"",
            "[[server.route]]\nupstream = \"defalt\"",
            "hafw.toml:36:12: route 2: no upstream has the name \"defalt\"",
        ),
        (
            "X-Forwarded-For = \"$remote_addr\"",
            "X-Forwarded-For = \"$remote\"",
            "hafw.toml:18:33: value of X-Forwarded-For: no variable $remote",
        ),
        (
            "hosts = [\"www.oldboy.com\"]",
            "hosts = [\"a\", \"www.oldboy.com:80\"]",
            "hafw.toml:17:15: \"www.oldboy.com:80\" is not a host name",
        ),
        (
            "name = \"default\"",
            "name = \"upload\"",
            "hafw.toml:7:8: upstream \"upload\"",
        ),
        (
            "\"http_404\"",
            "\"http_405\"",
            "hafw.toml:19:38: server: next_upstream: \"http_405\"",
        ),
        (
            "\"10.0.0.8:80\"",
            "\"web\"",
            "hafw.toml:4:23: upstream \"upload\": server: address = \"web\": expected an address",
        ),
        (
            "\"10.0.0.3:80\"",
            "\"10.0.0.3\"",
            "hafw.toml:16:11: server: listen: \"10.0.0.3\"",
        ),
        (
            "workers = 2",
            "workers = -1",
            "hafw.toml:39:11: proxy: workers = -1",
        ),
        (
            "balance = \"least_connections\"",
            "balance = \"random\"",
            "hafw.toml:8:11:",
        ),
        (
            "balance = \"least_connections\"",
            "balance = \"hash\"",
            "hafw.toml:6:1: upstream \"default\": balance = \"hash\" and hash",
        ),
        (
            "keepalive = 16",
            "health = { interval = \"1s\" }",
            "hafw.toml:13:10: upstream \"default\": health: expected exactly one",
        ),
        (
            "keepalive = 16",
            "sticky = { cookie = \"a b\" }",
            "hafw.toml:7:8: upstream \"default\": sticky: \"a b\"",
        ),
    ] {
        let problems = problems(from, to);
        assert!(
            problems.starts_with(expected),
            "{problems}\nexpected {expected}"
        );
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[test]
fn keys_that_are_unknown_or_not_carried_out_are_refused() {
    for (from, to, expected) in [
        (
            "keepalive = 16",
            "keepalives = 16",
            "did you mean `keepalive`?",
        ),
        (
            "path_prefix =",
            "path_prefx =",
            "did you mean `path_prefix`?",
        ),
        (
            "balance =",
            "http2 = true\nhealth = { http = \"/\" }\nbalance =",
            "probes speak HTTP/1.1 in clear",
        ),
        (
            "\"10.0.0.7:80\", backup = true },\n]",
            "\"unix:/run/app.sock\" },\n]\ntls = { verify = false }",
            "not with unix sockets",
        ),
        (
            "connect_timeout =",
            "http2 = 1\nconnect_timeout =",
            "expected true or false",
        ),
        (
            "listen = [\"10.0.0.3:80\"",
            "listen = [{ address = \"10.0.0.3:80\", trusted = [] }",
            "needs proxy_protocol = true",
        ),
        (
            "connect_timeout = \"1s\"",
            "connect_timeout = \"0s\"",
            "more than no time",
        ),
        (
            "final = true",
            "final = true\npath_exact = \"/x\"",
            "only one of",
        ),
        (
            "user_agent =",
            "final = true\nuser_agent =",
            "only for a path_prefix",
        ),
        (
            "user_agent =",
            "strip_prefix = true\nuser_agent =",
            "strip_prefix: only for a path_prefix",
        ),
        (
            "[[server.route]]\nupstream = \"default\"",
            "[[server.route]]\npath_exact = \"/x\"",
            "exactly one of upstream, respond and redirect",
        ),
        (
            "final = true",
            "final = true\nclient_header_timeout = \"1s\"",
            "only for a [[server]]",
        ),
        (
            "final = true",
            "final = true\nsource = [\"10.0.0.1/8\"]",
            "expected a network",
        ),
        (
            "final = true",
            "final = true\nrewrite = [{ regex = \"(\", to = \"/\" }]",
            "bad rewrite regex",
        ),
        (
            "hosts = [\"www.oldboy.com\"]\n",
            "",
            "expected hosts, or default",
        ),
        (
            "listen = [\"10.0.0.3:80\", \"[2001:db8::3]:80\"]",
            "listen = []",
            "at least one",
        ),
    ] {
        let problems = problems(from, to);
        assert!(
            problems.contains(expected),
            "{problems}\nexpected {expected}"
        );
    }
}

#[test]
fn every_key_of_a_route_is_read() {
    let text = r#"
[[upstream]]
name = "a"
server = [{ address = "10.0.0.8:80" }]
[[server]]
listen = ["10.0.0.3:80"]
hosts = ["*.oldboy.com", ".oldboy.org", "www.oldboy.*", '~^www\d+']
read_timeout = "7s"
add_headers = { X-A = "1" }
set_response_headers = { Server = "" }
add_response_headers = { X-Id = "$request_id" }
error_page = [{ on = [502, 504], status = 503, body = "later" }]
rewrite = [{ regex = "^/a", to = "/b", then = "last" }, { regex = "x", to = "y", then = "permanent" }]

[[server.route]]
path_prefix = "/api"
strip_prefix = true
method = ["GET"]
source = ["10.0.0.0/8", "::1"]
header = [{ name = "A", value = "b" }, { name = "B", not = true }]
query = { name = "q" }
cookie = { name = "c", regex = "^x" }
rewrite = { regex = "^/c", to = "/d", then = "break" }
upstream = "a"
connect_timeout = "2s"

[[server.route]]
path_exact = "/old"
redirect = { to = "https://$host/new", status = 308 }

[[server.route]]
respond = { status = 503, body = "down\n", content_type = "text/html" }
"#;

    let (config, problems) = read(text);

    assert_eq!(problems, "");
    let server = &config.servers[0];
    assert_eq!(server.rewrites.len(), 2);
    assert_eq!(server.options.error_pages[0].status, 503);
    let [api, old, rest] = &server.routes[..] else {
        panic!("three routes");
    };
    assert_eq!(api.conditions.len(), 6);
    assert_eq!(api.path_change, PathChange::Strip);
    assert_eq!(api.rewrites[0].end, RewriteEnd::Break);
    let own = api.options.as_ref().unwrap();
    assert_eq!(own.timeouts.connect, Duration::from_secs(2));
    assert_eq!(own.timeouts.read, Duration::from_secs(7));
    assert_eq!(own.add_headers, server.options.add_headers);
    assert_eq!(old.options, None);
    let to = "https://$host/new".to_owned();
    assert_eq!(old.action, Action::Redirect { status: 308, to });
    assert!(matches!(&rest.action, Action::Respond(respond) if respond.status == 503));
}

#[test]
fn the_proxy_alone_passes_over_the_controllers_sections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hafw.toml");
    let router = "[node]\nid = \"lb01\"\n[[virtual_router]]\nname = \"x\"\n";

    std::fs::write(&path, format!("{router}{LESSON}")).unwrap();
    assert!(load(&path).is_ok());

    std::fs::write(&path, format!("[nod]\n{LESSON}")).unwrap();
    let problems = load(&path).unwrap_err().to_string();
    assert!(problems.contains("did you mean `node`?"), "{problems}");

    std::fs::write(&path, router).unwrap();
    let problems = load(&path).unwrap_err().to_string();
    assert!(problems.contains("no [[server]]"), "{problems}");
}
