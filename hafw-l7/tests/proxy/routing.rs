//! Which server gets a request, and with what headers.

use crate::harness::{Proxy, Upstream, answer};

const HOST: &str = "www.oldboy.com";

fn get(path: &str, user_agent: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {user_agent}\r\n\r\n")
}

#[test]
fn the_lessons_uris_reach_the_lessons_clusters() {
    let upload = Upstream::answering(answer(200, "upload-web 10.0.0.8"));
    let statics = Upstream::answering(answer(200, "static-web 10.0.0.7"));
    let default = Upstream::answering(answer(200, "default-web 10.0.0.9"));
    let proxy = Proxy::start(
        &[
            ("upload", &[upload.address]),
            ("static", &[statics.address]),
            ("default", &[default.address]),
        ],
        r#"
[[server.route]]
path_prefix = "/"
upstream = "default"
[[server.route]]
path_prefix = "/upload"
upstream = "upload"
[[server.route]]
path_prefix = "/static"
upstream = "static"
"#,
    );

    for (path, expected) in [
        ("/oldboy.html", "default-web 10.0.0.9"),
        ("/upload/oldboy.html", "upload-web 10.0.0.8"),
        ("/static/oldboy.html", "static-web 10.0.0.7"),
        ("/%75pload/oldboy.html", "upload-web 10.0.0.8"),
        ("/static/..//upload/x?y=/static", "upload-web 10.0.0.8"),
    ] {
        assert_eq!(proxy.get(path).text(), expected, "{path}");
    }
    assert_eq!(
        upload.seen()[1].line(),
        "GET /%75pload/oldboy.html HTTP/1.1",
        "the path goes on as it was written"
    );
}

#[test]
fn the_lessons_user_agents_reach_the_lessons_clusters() {
    let mobile = Upstream::answering(answer(200, "mobile"));
    let web = Upstream::answering(answer(200, "web"));
    let default = Upstream::answering(answer(200, "default"));
    let proxy = Proxy::start(
        &[
            ("mobile", &[mobile.address]),
            ("web", &[web.address]),
            ("default", &[default.address]),
        ],
        r#"
[[server.route]]
user_agent = "(?i)iphone"
upstream = "mobile"
[[server.route]]
user_agent = "(?i)Chrome"
upstream = "web"
[[server.route]]
path_prefix = "/"
upstream = "default"
"#,
    );

    for (user_agent, expected) in [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
            "mobile",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0", "web"),
        ("Mozilla/4.0 (compatible; MSIE 8.0)", "default"),
    ] {
        assert_eq!(
            proxy.ask(get("/", user_agent)).text(),
            expected,
            "{user_agent}"
        );
    }
}

#[test]
fn the_server_learns_host_and_client() {
    let web = Upstream::answering(answer(200, ""));
    let proxy = Proxy::over(
        &[web.address],
        r#"set_headers = { Host = "$host", X-Forwarded-For = "$remote_addr" }"#,
    );
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nHost: WWW.oldboy.com:80\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    assert_eq!(client.response().status, 200);

    let seen = &web.seen()[0];
    assert_eq!(seen.header("host"), Some(HOST));
    let address = client.local_address().ip().to_string();
    assert_eq!(seen.header("x-forwarded-for"), Some(address.as_str()));
    assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
}

#[test]
fn without_headers_to_set_the_host_goes_on_as_it_was_written() {
    let web = Upstream::answering(answer(200, ""));
    let proxy = Proxy::over(&[web.address], "");

    proxy.ask("GET / HTTP/1.1\r\nHost: WWW.oldboy.com:80\r\nConnection: close\r\n\r\n");

    let seen = &web.seen()[0];
    assert_eq!(seen.header("host"), Some("WWW.oldboy.com:80"));
    assert_eq!(seen.header("connection"), None);
}

#[test]
fn an_absolute_target_is_routed_by_its_host() {
    let web = Upstream::answering(answer(200, "here"));
    let proxy = Proxy::over(&[web.address], "");

    let found = proxy.ask(format!(
        "GET http://{HOST}/a?b HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ));
    let other = proxy.ask(format!(
        "GET http://other/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ));

    assert_eq!(found.text(), "here");
    assert_eq!(web.seen()[0].line(), "GET /a?b HTTP/1.1");
    assert_eq!(other.status, 400);
}

#[test]
fn a_name_that_is_not_served_here_gets_no_page() {
    let web = Upstream::answering(answer(200, ""));
    let proxy = Proxy::over(&[web.address], "");
    let mut client = proxy.client();

    client.get(&proxy.address.ip().to_string(), "/");
    let response = client.response();

    assert_eq!((response.status, response.text()), (421, ""));
    assert!(client.is_closed());
    assert_eq!(proxy.ask("GET / HTTP/1.0\r\n\r\n").status, 421);
    assert!(web.seen().is_empty());
    assert_eq!(proxy.status().totals.misdirected, 2);
}

#[test]
fn a_site_is_served_on_its_own_address_only() {
    let web = Upstream::answering(answer(200, "www"));
    let bbs = Upstream::answering(answer(200, "bbs"));
    let other = crate::harness::free_address();
    let proxy = Proxy::start_with(|address| {
        format!(
            r#"
upstream = [
    {{ name = "www", server = [{{ address = "{}" }}] }},
    {{ name = "bbs", server = [{{ address = "{}" }}] }},
]
server = [
    {{ listen = ["{address}"], hosts = ["www.oldboy.com"], route = [{{ upstream = "www" }}] }},
    {{ listen = ["{other}"], hosts = ["bbs.oldboy.com"], route = [{{ upstream = "bbs" }}] }},
]
"#,
            web.address, bbs.address
        )
    });
    let ask = |address, host: &str| {
        let mut client = crate::harness::Client::connect(address);
        client.get(host, "/");
        client.response()
    };

    assert_eq!(ask(proxy.address, "www.oldboy.com").text(), "www");
    assert_eq!(ask(other, "bbs.oldboy.com").text(), "bbs");
    assert_eq!(ask(proxy.address, "bbs.oldboy.com").status, 421);
    assert_eq!(ask(other, "www.oldboy.com").status, 421);
}

#[test]
fn a_request_without_a_route_is_not_found() {
    let web = Upstream::answering(answer(200, ""));
    let server = "[[server.route]]\npath_prefix = \"/a\"\nupstream = \"web\"\n";
    let proxy = Proxy::start(&[("web", &[web.address])], server);

    assert_eq!(proxy.get("/a").status, 200);
    assert_eq!(proxy.get("/b").status, 404);
    assert_eq!(proxy.get("/a/../b").status, 404);
    assert_eq!(proxy.get("/a/../../b").status, 400);
}

#[test]
fn servers_take_turns_by_weight() {
    let a = Upstream::answering(answer(200, "a"));
    let b = Upstream::answering(answer(200, "b"));
    let proxy = Proxy::start_with(|address| {
        format!(
            r#"
[[upstream]]
name = "web"
server = [{{ address = "{}", weight = 2 }}, {{ address = "{}" }}]
[[server]]
listen = ["{address}"]
default = true
[[server.route]]
upstream = "web"
[proxy]
workers = 1
"#,
            a.address, b.address
        )
    });

    let turns: String = (0..6).map(|_| proxy.get("/").text().to_owned()).collect();

    assert_eq!(turns, "abaaba");
    let counters = &proxy.status().upstreams[0].servers;
    assert_eq!((counters[0].attempts, counters[1].attempts), (4, 2));
}
