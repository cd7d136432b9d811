//! Which server of a cluster is asked, and when none is.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::harness::{Proxy, Upstream, answer, wait_until};

/// A proxy over one cluster with these further lines and these servers, as tables.
fn proxy(cluster: &str, servers: &str) -> Proxy {
    Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\n{cluster}\nserver = [{servers}]\n\
             [[server]]\nlisten = [\"{address}\"]\ndefault = true\n\
             [[server.route]]\nupstream = \"web\"\n[proxy]\nworkers = 1\n"
        )
    })
}

fn named(name: &'static str) -> Upstream {
    Upstream::answering(answer(200, name))
}

#[test]
fn a_cookie_keeps_a_client_at_its_server() {
    let (a, b) = (named("a"), named("b"));
    let servers = format!(
        "{{ address = \"{}\" }}, {{ address = \"{}\" }}",
        a.address, b.address
    );
    let proxy = proxy("sticky = { cookie = \"srv\", max_age = \"1h\" }", &servers);

    let first = proxy.get("/");
    let cookie = first.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("srv="), "{cookie}");
    assert!(cookie.contains("; Max-Age=3600"), "{cookie}");
    let (pair, _) = cookie.split_once(';').unwrap();
    for _ in 0..4 {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {pair}\r\n\r\n");
        let again = proxy.ask(request);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("set-cookie"), None);
    }
    let forged = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: srv=nonsense\r\n\r\n");
    assert!(forged.header("set-cookie").is_some());
}

#[test]
fn a_hash_brings_equal_keys_to_one_server() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let servers = [&a, &b, &c].map(|server| format!("{{ address = \"{}\" }}", server.address));
    let proxy = proxy(
        "balance = \"hash\"\nhash = \"$uri$cookie_user\"",
        &servers.join(", "),
    );

    let mut seen = std::collections::BTreeSet::new();
    for path in 0..32 {
        let path = format!("/{path}");
        let first = proxy.get(&path).text().to_owned();
        assert_eq!(proxy.get(&path).text(), first);
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn probes_take_a_server_out_before_a_request_is_lost() {
    let healthy = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&healthy);
    let sick = Upstream::start(move |request, connection| {
        let is_probe = request.line().contains("/health");
        let status = if is_probe && !state.load(Ordering::Relaxed) {
            503
        } else {
            200
        };
        connection.send(answer(status, "sick"));
    });
    let well = named("well");
    let servers = format!(
        "{{ address = \"{}\" }}, {{ address = \"{}\" }}",
        sick.address, well.address
    );
    let proxy = proxy(
        "health = { http = \"/health\", host = \"probe\", interval = \"20ms\", timeout = \"5s\" }",
        &servers,
    );
    let is_out = || proxy.status().upstreams[0].servers[0].out == 1;
    wait_until("the probes to come", || sick.seen().len() > 2);
    assert_eq!(sick.seen()[0].header("host"), Some("probe"));
    assert!(!is_out());

    healthy.store(false, Ordering::Relaxed);
    wait_until("the server to be out", is_out);
    assert!((0..4).all(|_| proxy.get("/").text() == "well"));

    healthy.store(true, Ordering::Relaxed);
    wait_until("the server to be back", || !is_out());
    wait_until("it to be asked", || proxy.get("/").text() == "sick");
}

#[test]
fn requests_wait_for_a_server_that_has_as_many_as_it_may() {
    let release = Arc::new(AtomicBool::new(false));
    let wait = Arc::clone(&release);
    let web = Upstream::start(move |_, connection| {
        wait_until("the test to go on", || wait.load(Ordering::Relaxed));
        connection.send(answer(200, "served"));
    });
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", web.address);
    let proxy = proxy("queue = { length = 1, timeout = \"60s\" }", &servers);
    let (mut first, mut second, mut third) = (proxy.client(), proxy.client(), proxy.client());

    first.get("a", "/1");
    wait_until("the first to be asked", || web.seen().len() == 1);
    second.get("a", "/2");
    wait_until("the second to come", || proxy.status().totals.requests == 2);
    third.get("a", "/3");
    assert_eq!(third.response().status, 503);
    assert_eq!(web.seen().len(), 1);

    release.store(true, Ordering::Relaxed);
    assert_eq!(first.response().text(), "served");
    assert_eq!(second.response().text(), "served");
    assert_eq!(web.seen().len(), 2);
}

#[test]
fn a_name_stands_for_its_addresses_and_may_have_none() {
    let web = named("web");
    let port = web.address.port();
    let servers = format!(
        "{{ address = \"localhost:{port}\" }}, {{ address = \"nothing.invalid:{port}\", backup = true }}"
    );

    let proxy = proxy("resolve = \"1h\"", &servers);

    assert_eq!(proxy.get("/").text(), "web");
    let servers = &proxy.status().upstreams[0].servers;
    let has = |text: &str| servers.iter().any(|server| server.address == text);
    assert!(has(&format!("127.0.0.1:{port}")), "{servers:?}");
    assert!(has(&format!("nothing.invalid:{port}")), "{servers:?}");
}

#[test]
fn a_cluster_whose_probes_fail_answers_at_once() {
    let closed = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let servers = format!("{{ address = \"{closed}\" }}");
    let proxy = proxy("health = { tcp = true, interval = \"20ms\" }", &servers);
    wait_until("the server to be out", || {
        proxy.status().upstreams[0].servers[0].out == 1
    });

    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(proxy.status().upstreams[0].servers[0].attempts, 0);
}
