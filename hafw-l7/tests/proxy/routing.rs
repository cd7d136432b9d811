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

#[test]
fn a_prefix_is_stripped_or_replaced_on_the_decoded_path() {
    let web = Upstream::answering(answer(200, ""));
    let proxy = Proxy::start(
        &[("web", &[web.address])],
        r#"
[[server.route]]
path_prefix = "/api/"
strip_prefix = true
upstream = "web"
[[server.route]]
path_prefix = "/old/"
replace_prefix = "/new/"
upstream = "web"
[[server.route]]
path_regex = "^/f/(.*)[.]php$"
rewrite = { regex = "^/f/(.*)[.]php$", to = "/php?file=$1", then = "break" }
upstream = "web"
"#,
    );

    for (path, sent) in [
        ("/api/a%20b?q=%20", "/a%20b?q=%20"),
        ("/%61pi//x/../y", "/y"),
        ("/old/%E4%B8%AD", "/new/%E4%B8%AD"),
        ("/f/a%26b.php?x=1", "/php?file=a%26b&x=1"),
    ] {
        assert_eq!(proxy.get(path).status, 200, "{path}");
        let last = web.seen().pop().unwrap();
        assert_eq!(last.line(), format!("GET {sent} HTTP/1.1"), "{path}");
    }
}

#[test]
fn rules_send_requests_round_to_another_route_but_not_for_ever() {
    let web = Upstream::answering(answer(200, "web"));
    let other = Upstream::answering(answer(200, "other"));
    let proxy = Proxy::start(
        &[("web", &[web.address]), ("other", &[other.address])],
        r#"
rewrite = [{ regex = "^/moved/(.*)", to = "/other/$1" }]
[[server.route]]
path_prefix = "/a"
rewrite = { regex = "^/a(.*)", to = "/other$1", then = "last" }
upstream = "web"
[[server.route]]
path_prefix = "/circle"
rewrite = { regex = "^", to = "/circle", then = "last" }
upstream = "web"
[[server.route]]
path_prefix = "/other"
upstream = "other"
"#,
    );

    assert_eq!(proxy.get("/a/x").text(), "other");
    assert_eq!(proxy.get("/moved/y").text(), "other");
    assert_eq!(other.seen()[1].line(), "GET /other/y HTTP/1.1");
    assert_eq!(proxy.get("/circle").status, 500);
}

#[test]
fn a_route_can_answer_by_itself() {
    let proxy = Proxy::start(
        &[],
        r#"
add_response_headers = { X-Request-Id = "$request_id" }
error_page = [{ on = [404], status = 410, body = "<p>gone</p>" }]
[[server.route]]
path_prefix = "/down"
respond = { status = 503, body = "$host is down\n" }
set_response_headers = { Content-Type = "text/html", Retry-After = "60" }
[[server.route]]
path_regex = "(?s)^/old/(.*)$"
redirect = { to = "https://$host/new/$1$is_args$args", status = 301 }
"#,
    );
    let mut client = proxy.client();

    client.send("POST /down HTTP/1.1\r\nHost: WWW.oldboy.com\r\nContent-Length: 4\r\n\r\nbody");
    let down = client.response();
    assert_eq!(
        (down.status, down.text()),
        (503, "www.oldboy.com is down\n")
    );
    assert_eq!(down.header("content-type"), Some("text/html"));
    assert_eq!(down.header("retry-after"), Some("60"));
    assert_eq!(down.header("x-request-id").map(str::len), Some(32));

    client.get(HOST, "/old/a%0d%0aX:%20y?q");
    let moved = client.response();
    assert_eq!(moved.status, 301);
    assert_eq!(
        moved.header("location"),
        Some("https://www.oldboy.com/new/a%0D%0AX: y?q")
    );
    assert_eq!(moved.header("x-request-id").map(str::len), Some(32));

    client.get(HOST, "/nothing");
    let gone = client.response();
    assert_eq!((gone.status, gone.text()), (410, "<p>gone</p>"));
    assert_eq!(gone.header("content-type"), Some("text/html"));

    client.send(
        "POST /down HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: 4\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    let early = client.response();
    assert_eq!(
        early.status, 503,
        "nobody asks for a body that nobody reads"
    );
    assert_eq!(early.header("connection"), Some("close"));
}

#[test]
fn a_route_has_limits_and_headers_of_its_own() {
    let web = Upstream::answering(
        "HTTP/1.1 200 OK\r\nServer: secret\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::start(
        &[("web", &[web.address])],
        r#"
client_max_body_size = 3
set_headers = { X-From = "server", Host = "$host" }
set_response_headers = { Server = "" }
[[server.route]]
path_prefix = "/big"
client_max_body_size = "1MiB"
set_headers = { X-From = "route" }
add_headers = { X-Seen = "$remote_addr" }
add_response_headers = { Set-Cookie = "c=d" }
upstream = "web"
[[server.route]]
upstream = "web"
"#,
    );
    let post = |path: &str| {
        proxy.ask(format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Seen: before\r\nContent-Length: 4\r\n\r\nbody"
        ))
    };

    assert_eq!(post("/small").status, 413);
    let answer = post("/big");

    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("secret"), "{}", answer.head);
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    let seen = &web.seen()[0];
    assert_eq!(seen.header("x-from"), Some("route"));
    assert_eq!(seen.head.to_lowercase().matches("x-seen: ").count(), 2);
}

#[test]
fn names_have_wildcards_and_conditions_have_kinds() {
    let [tree, tagged, local] =
        ["tree", "tagged", "local"].map(|name| Upstream::answering(answer(200, name)));
    let proxy = Proxy::start_with(|address| {
        let upstream = |name: &str, web: &Upstream| {
            let address = web.address;
            format!("[[upstream]]\nname = \"{name}\"\nserver = [{{ address = \"{address}\" }}]\n")
        };
        [
            upstream("tree", &tree),
            upstream("tagged", &tagged),
            upstream("local", &local),
            format!(
                r#"[[server]]
listen = ["{address}"]
hosts = ["*.oldboy.com"]
[[server.route]]
header = [{{ name = "X-Tag", value = "a" }}, {{ name = "X-Not", not = true }}]
upstream = "tagged"
[[server.route]]
source = ["127.0.0.0/8"]
method = ["DELETE"]
upstream = "local"
[[server.route]]
upstream = "tree"
[proxy]
workers = 1
"#
            ),
        ]
        .concat()
    });
    let ask = |line: &str, more: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: a.b.oldboy.com\r\n{more}\r\n");
        proxy.ask(request).text().to_owned()
    };

    assert_eq!(ask("GET /", ""), "tree");
    assert_eq!(ask("GET /", "X-Tag: a\r\n"), "tagged");
    assert_eq!(ask("GET /", "X-Tag: a\r\nX-Not: 1\r\n"), "tree");
    assert_eq!(ask("DELETE /", ""), "local");
    assert_eq!(
        proxy
            .ask("GET / HTTP/1.1\r\nHost: oldboy.com\r\n\r\n")
            .status,
        421
    );
}
