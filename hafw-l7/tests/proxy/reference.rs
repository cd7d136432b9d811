//! The same requests through nginx and through the proxy: both must route them alike and send the
//! same on. Needs Debian's nginx; `cargo xtask test netns` runs it.

use std::net::SocketAddr;

use crate::harness::{Client, Nginx, Proxy, Upstream, answer};

/// What a client sees of an answer.
fn outcome(address: SocketAddr, request: &str) -> String {
    let mut client = Client::connect(address);
    client.send(request);
    let answer = client.response();
    let location = answer.header("location").unwrap_or_default();
    // The proxies' own pages differ, and need not be the same.
    let body = match answer.status {
        200 => answer.text(),
        _ => "",
    };
    format!("{} {location} {body}", answer.status)
}

/// A server that repeats its name and what it was asked.
fn echo(name: &'static str) -> Upstream {
    Upstream::start(move |request, connection| {
        let line = request.line().replace("HTTP/1.0", "HTTP/1.1");
        let forwarded = request.header("x-forwarded-for").unwrap_or("none");
        let host = request.header("host").unwrap_or("none");
        let body = format!("{name}: {line} host={host} for={forwarded}");
        connection.send(answer(200, &body));
    })
}

#[test]
#[ignore = "needs nginx"]
fn routes_are_taken_as_nginx_takes_them() {
    let servers = ["root", "static", "regex", "exact", "final", "big", "new"].map(echo);
    let names = ["root", "static", "regex", "exact", "final", "big", "new"];
    let nginx = Nginx::start(|address| {
        let upstreams: String = names
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("upstream {name} {{ server {}; }}\n", server.address))
            .collect();
        format!(
            r#"{upstreams}
server {{ listen {address} default_server; return 404; }}
server {{
    listen {address};
    server_name www.oldboy.com *.wild.com end.* ~^re[0-9]+[.]net$;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location / {{ proxy_pass http://root; }}
    location /static {{ proxy_pass http://static; }}
    location ~ [.]png$ {{ proxy_pass http://regex; }}
    location ~* [.]gif$ {{ proxy_pass http://regex; }}
    location = /exact {{ proxy_pass http://exact; }}
    location ^~ /img {{ proxy_pass http://final; }}
    location /img/big {{ proxy_pass http://big; }}
    location /old/ {{ proxy_pass http://new/new/; }}
    location /rw/ {{ rewrite ^/rw/(.*)[.]php$ /php?file=$1 break; proxy_pass http://new; }}
    location /rq/ {{ rewrite ^/rq/(.*)$ /q/$1? break; proxy_pass http://new; }}
    location /last/ {{ rewrite ^/last/(.*)$ /static/$1 last; }}
    location /moved {{ return 301 https://$host$request_uri; }}
    location /perm/ {{ rewrite ^/perm/(.*)$ https://$host/p/$1 permanent; }}
}}"#
        )
    });
    let upstreams: String = names
        .iter()
        .zip(&servers)
        .map(|(name, server)| {
            let address = server.address;
            format!("[[upstream]]\nname = \"{name}\"\nserver = [{{ address = \"{address}\" }}]\n")
        })
        .collect();
    let proxy = Proxy::start_with(|address| {
        format!(
            r#"{upstreams}
[[server]]
listen = ["{address}"]
default = true
[[server.route]]
respond = {{ status = 404 }}

[[server]]
listen = ["{address}"]
hosts = ["www.oldboy.com", "*.wild.com", "end.*", "~^re[0-9]+[.]net$"]
set_headers = {{ Host = "$host", X-Forwarded-For = "$proxy_add_x_forwarded_for" }}
[[server.route]]
path_prefix = "/"
upstream = "root"
[[server.route]]
path_prefix = "/static"
upstream = "static"
[[server.route]]
path_regex = "[.]png$"
upstream = "regex"
[[server.route]]
path_regex = "(?i)[.]gif$"
upstream = "regex"
[[server.route]]
path_exact = "/exact"
upstream = "exact"
[[server.route]]
path_prefix = "/img"
final = true
upstream = "final"
[[server.route]]
path_prefix = "/img/big"
upstream = "big"
[[server.route]]
path_prefix = "/old/"
replace_prefix = "/new/"
upstream = "new"
[[server.route]]
path_prefix = "/rw/"
rewrite = {{ regex = "^/rw/(.*)[.]php$", to = "/php?file=$1", then = "break" }}
upstream = "new"
[[server.route]]
path_prefix = "/rq/"
rewrite = {{ regex = "^/rq/(.*)$", to = "/q/$1?", then = "break" }}
upstream = "new"
[[server.route]]
path_prefix = "/last/"
rewrite = {{ regex = "^/last/(.*)$", to = "/static/$1", then = "last" }}
upstream = "root"
[[server.route]]
path_prefix = "/moved"
redirect = {{ to = "https://$host$request_uri", status = 301 }}
[[server.route]]
path_prefix = "/perm/"
rewrite = {{ regex = "^/perm/(.*)$", to = "https://$host/p/$1", then = "permanent" }}
upstream = "root"
[proxy]
workers = 1
"#
        )
    });

    let mut requests = Vec::new();
    for target in [
        "/",
        "/a",
        "/static",
        "/statics/x?y=z",
        "/static/a.png",
        "/img/a.png",
        "/img/big/a.png",
        "/img/big/a.txt",
        "/x.GIF",
        "/x.PNG",
        "/exact",
        "/exact/",
        "/Exact",
        "/%65xact",
        "/exact?q=%20x",
        "/./exact",
        "/x/../exact",
        "//exact",
        "/x//../exact",
        "/exact/.",
        "/exact/..",
        "/exact%2F",
        "/static%2f..%2fimg/a",
        "/..",
        "/../exact",
        "/a/../../exact",
        "/%",
        "/%2",
        "/%zz",
        "/%00",
        "/a%00b",
        "/a%3Fb",
        "/a%23b",
        "/a%25b",
        "/a+b",
        "/a;b",
        "/%E4%B8%AD",
        "/static/%2e%2e/exact",
        "/...",
        "/..a",
        "/a/...",
        "/old/",
        "/old/a%20b",
        "/old/a%25b?x=%41",
        "/old/%E4%B8%AD/%3C%7B%22",
        "/old/a%2Fb",
        "/old/a%3Fb",
        "/old//a/../b",
        "/old/a+b&c;d",
        "/rw/a.php",
        "/rw/a%20b.php?x=1",
        "/rw/a%26b.php",
        "/rw/a+b.php",
        "/rw/a+%20b.php",
        "/perm/a+b%20",
        "/rw/a",
        "/rw/a%20b",
        "/rq/a?x=1",
        "/rq/a%3Fb",
        "/rq/a%25b%2Bc",
        "/last/a.png",
        "/last/a?b",
        "/moved/x?y",
        "/moved/%41",
        "/perm/x?y",
        "/perm/a%20b",
        "/perm/a+b",
    ] {
        requests.push(("www.oldboy.com", target, ""));
    }
    for host in [
        "WWW.OLDBOY.COM",
        "www.oldboy.com:81",
        "www.oldboy.com.",
        "a.wild.com",
        "a.b.wild.com",
        "wild.com",
        "awild.com",
        "end.com",
        "end.co.uk",
        "a.end.com",
        "re7.net",
        "RE7.net",
        "re.net",
        "other",
    ] {
        requests.push((host, "/static", ""));
    }
    for more in [
        "X-Forwarded-For: 1.2.3.4\r\n",
        "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n",
        "X-Forwarded-For:\r\n",
    ] {
        requests.push(("www.oldboy.com", "/", more));
    }

    let mut differences = Vec::new();
    for (host, target, more) in requests {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        // Clients of the two have different addresses only if these are bound.
        let theirs = outcome(nginx.address, &request);
        let ours = outcome(proxy.address, &request);
        if ours != theirs {
            differences.push(format!(
                "{host} {target} {more:?}\n  nginx {theirs}\n  hafw  {ours}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A server that answers a path `/STATUS/...` with that status the first time it is asked for that
/// path by anybody, and with 200 from then on.
struct Failing {
    servers: [Upstream; 2],
}

impl Failing {
    fn start() -> Self {
        let asked =
            std::sync::Arc::<std::sync::Mutex<std::collections::BTreeSet<String>>>::default();
        let servers = [0, 1].map(|_| {
            let asked = std::sync::Arc::clone(&asked);
            Upstream::start(move |request, connection| {
                let path = request
                    .line()
                    .split(' ')
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned();
                let kind = path.split('/').nth(1).unwrap_or_default().to_owned();
                if !asked.lock().unwrap().insert(path) {
                    return connection.send(answer(200, "second"));
                }
                match kind.as_str() {
                    "close" => connection.close(),
                    "reset" => connection.reset(),
                    "garbage" => {
                        connection.send("HTTP/1.1 200 OK\r\nno colon\r\n\r\n");
                        connection.close();
                    }
                    status => connection.send(answer(status.parse().unwrap(), "first")),
                }
            })
        });
        Self { servers }
    }

    /// How often a path was asked for.
    fn asked(&self, path: &str) -> usize {
        let seen = self.servers.iter().flat_map(Upstream::seen);
        seen.filter(|request| request.line().split(' ').nth(1) == Some(path))
            .count()
    }
}

#[test]
#[ignore = "needs nginx"]
fn another_server_is_asked_when_nginx_asks_another() {
    const POLICIES: [&str; 5] = [
        "error timeout",
        "error invalid_header http_403 http_404 http_429",
        "http_500 http_502 http_503 http_504",
        "error http_502 non_idempotent",
        "off",
    ];
    let failing = Failing::start();
    let [a, b] = [&failing.servers[0], &failing.servers[1]].map(|server| server.address);
    let nginx = Nginx::start(|address| {
        let locations: String = POLICIES
            .iter()
            .enumerate()
            .map(|(index, policy)| {
                format!(
                    "server {{ listen {address}; server_name p{index}; proxy_next_upstream {policy}; \
                     location / {{ proxy_pass http://web; }} }}\n"
                )
            })
            .collect();
        format!("upstream web {{ server {a} max_fails=0; server {b} max_fails=0; }}\n{locations}")
    });
    let proxy = Proxy::start_with(|address| {
        let servers: String = POLICIES
            .iter()
            .enumerate()
            .map(|(index, policy)| {
                let words: Vec<_> = policy
                    .split(' ')
                    .filter(|word| *word != "off")
                    .map(|word| format!("\"{word}\""))
                    .collect();
                format!(
                    "[[server]]\nlisten = [\"{address}\"]\nhosts = [\"p{index}\"]\n\
                     next_upstream = [{}]\n[[server.route]]\nupstream = \"web\"\n",
                    words.join(", ")
                )
            })
            .collect();
        format!(
            "[[upstream]]\nname = \"web\"\nkeepalive = 0\nserver = [{{ address = \"{a}\", max_fails = 0 }}, \
             {{ address = \"{b}\", max_fails = 0 }}]\n{servers}[proxy]\nworkers = 1\n"
        )
    });

    let mut differences = Vec::new();
    for (index, policy) in POLICIES.iter().enumerate() {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            for kind in [
                "403", "404", "429", "500", "501", "502", "503", "504", "close", "reset", "garbage",
            ] {
                let [theirs, ours] =
                    [("n", nginx.address), ("h", proxy.address)].map(|(who, address)| {
                        let path = format!("/{kind}/{who}/{index}/{method}");
                        let request = format!(
                            "{method} {path} HTTP/1.1\r\nHost: p{index}\r\n\
                             Content-Length: 0\r\nConnection: close\r\n\r\n"
                        );
                        let outcome = outcome(address, &request);
                        format!("{outcome} ({} asked)", failing.asked(&path))
                    });
                if ours != theirs {
                    differences.push(format!(
                        "{policy}: {method} {kind}\n  nginx {theirs}\n  hafw  {ours}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
