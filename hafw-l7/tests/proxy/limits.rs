//! Sizes and times.

use std::time::{Duration, Instant};

use crate::harness::{Proxy, Upstream, answer, wait_until};

const HEAD: &str = "HTTP/1.1\r\nHost: www.oldboy.com\r\n";

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let web = Upstream::start(|_, connection| connection.send(answer(200, "ok")));
    let proxy = Proxy::over(&[web.address], "client_max_body_size = \"100KiB\"");
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));

    let by_length = proxy.ask(format!("POST / {HEAD}Content-Length: 102401\r\n\r\n"));
    let mut client = proxy.client();
    client.send(format!("POST / {HEAD}Transfer-Encoding: chunked\r\n\r\n"));
    client.send(chunk.repeat(4));
    let by_chunks = client.response();
    let fits = proxy.ask(format!(
        "POST / {HEAD}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(3)
    ));

    assert_eq!(
        (by_length.status, by_chunks.status, fits.status),
        (413, 413, 200)
    );
    assert_eq!(web.seen().len(), 1, "the others were not served");
}

#[test]
fn zero_means_no_limit() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "client_max_body_size = 0");
    let body = "x".repeat(3 << 20);

    let response = proxy.ask(format!(
        "POST / {HEAD}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));

    assert_eq!(response.status, 200);
}

#[test]
fn heads_beyond_the_limit_are_refused() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let value = "v".repeat(30_000);

    let fits = proxy.ask(format!("GET / {HEAD}X: {value}\r\n\r\n"));
    let long = proxy.ask(format!("GET / {HEAD}X: {value}\r\nY: {value}\r\n\r\n"));
    let target = proxy.ask(format!("GET /{value}{value} {HEAD}\r\n"));
    let many = proxy.ask(format!("GET / {HEAD}{}\r\n", "X: y\r\n".repeat(200)));

    assert_eq!(fits.status, 200);
    assert_eq!((long.status, target.status, many.status), (431, 414, 431));
}

#[test]
fn a_client_that_is_slow_to_ask_is_told_and_closed() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "client_header_timeout = \"300ms\"");
    let mut slow = proxy.client();
    let mut silent = proxy.client();
    let start = Instant::now();

    // Progress does not prolong the time for a head.
    while start.elapsed() < Duration::from_millis(250) {
        slow.send("X");
        std::thread::sleep(Duration::from_millis(50));
    }

    assert_eq!(slow.response().status, 408);
    assert!(slow.is_closed());
    assert!(silent.is_closed());
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(proxy.status().totals.client_timeouts, 2);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "keepalive_timeout = \"300ms\"");
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");
    assert_eq!(client.response().text(), "ok");

    assert!(client.is_closed());
}

#[test]
fn a_body_that_stalls_is_told_and_closed() {
    let web = Upstream::start_raw(|connection, _| {
        connection.head();
        connection.wait_for_close();
    });
    let proxy = Proxy::over(&[web.address], "client_body_timeout = \"300ms\"");

    for len in [10, 100_000] {
        let response = proxy.ask(format!("POST / {HEAD}Content-Length: {len}\r\n\r\nstart"));
        assert_eq!(response.status, 408, "{len}");
    }
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let web = Upstream::start_raw(|connection, _| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            connection.send(&block);
        }
    });
    let proxy = Proxy::over(&[web.address], "send_timeout = \"300ms\"");
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");

    wait_until("the proxy to give up", || {
        let status = proxy.status();
        status.totals.client_timeouts == 1 && status.totals.active == 0
    });
}

#[test]
fn a_server_that_falls_silent_within_a_body_is_given_up() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal");
        connection.wait_for_close();
    });
    let proxy = Proxy::over(&[web.address], "read_timeout = \"300ms\"");
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");

    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.rest(), b"hal");
    wait_until("the count", || proxy.status().totals.truncated == 1);
}

#[test]
fn a_server_that_takes_no_more_of_a_body_times_out() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let web = Upstream::start_raw(move |connection, _| {
        connection.head();
        // Reads no more until the test has ended.
        let _ = wait.lock().unwrap().recv();
    });
    let proxy = Proxy::over(
        &[web.address],
        "send_timeout = \"300ms\"\nclient_max_body_size = 0",
    );
    let mut client = proxy.client();

    client.send(format!("POST / {HEAD}Content-Length: 100000000\r\n\r\n"));
    // More than the buffers of two connections hold; the proxy stops reading at some point.
    let sender = std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        let mut client = client;
        for _ in 0..12 {
            client.send(&block);
        }
        client.response().status
    });

    assert_eq!(sender.join().unwrap(), 504);
    drop(done);
}

#[test]
fn requests_beyond_a_rate_are_refused_and_bursts_are_delayed() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::start(
        &[("web", &[web.address])],
        r#"
[[server.route]]
path_prefix = "/strict"
rate_limit = { rate = "1/m", burst = 1, nodelay = true, key = "$http_x_user" }
upstream = "web"
[[server.route]]
path_prefix = "/burst"
rate_limit = [{ rate = "20/s", burst = 2, status = 503 }]
upstream = "web"
"#,
    );
    let strict = |user: &str| {
        let request = format!("GET /strict HTTP/1.1\r\nHost: www.oldboy.com\r\n{user}\r\n");
        proxy.ask(request).status
    };

    assert_eq!([0; 3].map(|_| strict("X-User: a\r\n")), [200, 200, 429]);
    assert_eq!(strict("X-User: b\r\n"), 200, "keys count for themselves");
    assert_eq!([0; 3].map(|_| strict("")), [200; 3], "no key, no limit");
    assert_eq!(proxy.status().totals.rate_limited, 1);

    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    let start = Instant::now();
    for client in &mut clients {
        client.get("www.oldboy.com", "/burst");
    }
    let mut statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| client.response().status)
        .collect();
    statuses.sort_unstable();
    // The machine may be so slow that the last came when there was room again.
    assert_eq!(statuses[..3], [200; 3]);
    assert!(
        start.elapsed() >= Duration::from_millis(90),
        "two were delayed"
    );
    let asked = web.seen();
    let bursts = asked.iter().filter(|r| r.line().contains("/burst")).count();
    assert_eq!(bursts, statuses.iter().filter(|s| **s == 200).count());
}

#[test]
fn a_source_has_so_many_connections_and_no_more() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{}\" }}]\n\
             [[server]]\nlisten = [\"{address}\"]\ndefault = true\n\
             [[server.route]]\nupstream = \"web\"\n\
             [proxy]\nworkers = 2\nmax_connections_per_source = 2\n",
            web.address
        )
    });
    let (mut first, mut second) = (proxy.client(), proxy.client());
    for client in [&mut first, &mut second] {
        client.get("a", "/");
        assert_eq!(client.response().status, 200);
    }

    assert!(proxy.client().is_closed());
    assert_eq!(proxy.status().totals.over_limit, 1);

    drop(first);
    wait_until("the first to be forgotten", || {
        proxy.status().totals.active == 1
    });
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_body_within_the_replay_buffer_is_sent_again_and_a_longer_one_is_not() {
    let broken = Upstream::start(|_, connection| connection.close());
    let web = Upstream::start(|request, connection| {
        connection.send(answer(200, &request.body.len().to_string()));
    });
    let proxy = Proxy::start(
        &[
            ("web", &[broken.address, web.address]),
            ("other", &[broken.address, web.address]),
        ],
        r#"
next_upstream = ["error", "non_idempotent"]
client_max_body_size = "1MiB"
[[server.route]]
path_prefix = "/kept"
replay_buffer = "256KiB"
upstream = "web"
[[server.route]]
replay_buffer = 0
upstream = "other"
"#,
    );
    let post = |path: &str, len: usize| {
        let body = "x".repeat(len);
        proxy.ask(format!(
            "POST {path} HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: {len}\r\n\r\n{body}"
        ))
    };

    let kept = post("/kept", 200_000);
    assert_eq!((kept.status, kept.text()), (200, "200000"));
    assert_eq!(broken.seen().len(), 1);
    assert_eq!(post("/passed", 1000).status, 502);
}

/// The sources that the proxy has kept out, with keys of its listener.
fn offenders(listen: &str, header: &str) -> String {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{}\" }}]\n\
             [[server]]\nlisten = [{{ address = \"{address}\"{listen} }}]\ndefault = true\n\
             rate_limit = {{ rate = \"1/m\" }}\n[[server.route]]\nupstream = \"web\"\n\
             [proxy]\nworkers = 1\nenforce = \"xdp\"\nblock_after = 3\n",
            web.address
        )
    });
    let get = format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let statuses: Vec<_> = (0..4).map(|_| proxy.ask(&get).status).collect();
    assert_eq!(statuses, [200, 429, 429, 429]);
    proxy.control(r#"{"cmd":"offenders"}"#)
}

#[test]
fn a_source_that_goes_on_over_a_limit_is_told_of_but_none_behind_a_proxy() {
    assert_eq!(offenders("", "").trim(), r#"{"offenders":["127.0.0.1"]}"#);
    let header = "PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n";
    let behind = offenders(", proxy_protocol = true", header);
    assert_eq!(behind.trim(), r#"{"offenders":[]}"#);
}
