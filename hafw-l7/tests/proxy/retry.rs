//! nginx's next_upstream on the wire.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::harness::{Proxy, Upstream, answer, wait_until};

const LESSON: &str = r#"next_upstream = ["error", "timeout", "http_404", "http_502", "http_403"]"#;
const POST: &str = "POST / HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: 3\r\n\r\nabc";

fn over(servers: &[&Upstream], server: &str) -> Proxy {
    let addresses: Vec<SocketAddr> = servers.iter().map(|s| s.address).collect();
    Proxy::over(&addresses, server)
}

#[test]
fn the_next_server_is_asked_on_the_listed_answers() {
    for status in [404, 502, 403] {
        let bad = Upstream::answering(answer(status, "bad"));
        let good = Upstream::answering(answer(200, "good"));
        let proxy = over(&[&bad, &good], LESSON);

        assert_eq!(proxy.get("/").text(), "good", "{status}");
        assert_eq!((bad.seen().len(), good.seen().len()), (1, 1));
        assert_eq!(proxy.status().totals.retries, 1);
    }
}

#[test]
fn answers_that_are_not_listed_are_passed_on() {
    let bad = Upstream::answering(answer(503, "bad"));
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(&[&bad, &good], LESSON);

    assert_eq!(proxy.get("/").text(), "bad");
    assert_eq!(proxy.get("/").text(), "good");
}

#[test]
fn the_last_servers_answer_is_passed_on_as_it_is() {
    let first = Upstream::answering(answer(404, "no file at the first"));
    let last = Upstream::answering(answer(404, "no file at the last"));
    let proxy = over(&[&first, &last], LESSON);

    let response = proxy.get("/");

    assert_eq!(
        (response.status, response.text()),
        (404, "no file at the last")
    );
    assert_eq!(first.seen().len(), 1);
}

#[test]
fn an_answer_is_passed_on_if_the_other_servers_are_out() {
    let here = Upstream::answering(answer(404, "no file"));
    let proxy = Proxy::over(&[Upstream::refused(), here.address], LESSON);

    // The first request finds out that one is gone, the second knows it.
    for _ in 0..2 {
        let response = proxy.get("/");
        assert_eq!((response.status, response.text()), (404, "no file"));
    }
    assert_eq!(proxy.status().upstreams[0].servers[0].out, 1);
}

#[test]
fn a_refused_connection_leads_to_the_next_server() {
    let good = Upstream::answering(answer(200, "good"));
    let proxy = Proxy::over(&[Upstream::refused(), good.address], LESSON);

    assert_eq!(proxy.get("/").text(), "good");
    assert_eq!(proxy.ask(POST).text(), "good", "nothing of it was sent");
}

#[test]
fn a_connection_that_breaks_leads_to_the_next_server() {
    for reset in [false, true] {
        let bad = Upstream::start(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nConte");
            match reset {
                true => connection.reset(),
                false => connection.close(),
            }
        });
        let good = Upstream::answering(answer(200, "good"));
        let proxy = over(&[&bad, &good], LESSON);

        assert_eq!(proxy.get("/").text(), "good");
    }
}

#[test]
fn a_silent_server_times_out_to_the_next() {
    let silent = Upstream::start(|_, connection| assert!(connection.wait_for_close()));
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(&[&silent, &good], "read_timeout = \"200ms\"");

    assert_eq!(proxy.get("/").text(), "good");
    assert_eq!(silent.seen().len(), 1);
}

#[test]
fn a_silent_server_without_another_is_a_gateway_timeout() {
    let silent = Upstream::start(|_, connection| assert!(connection.wait_for_close()));
    let proxy = over(&[&silent], "read_timeout = \"200ms\"");

    assert_eq!(proxy.get("/").status, 504);
    assert_eq!(proxy.status().totals.failed, 1);
}

#[test]
fn with_no_server_left_the_gateway_is_bad_and_the_connection_stays() {
    let proxy = Proxy::over(&[Upstream::refused(), Upstream::refused()], LESSON);
    let mut client = proxy.client();

    for _ in 0..2 {
        client.get("www.oldboy.com", "/");
        assert_eq!(client.response().status, 502);
    }
}

#[test]
fn an_answer_that_is_no_http_is_an_invalid_header() {
    let bad = || {
        Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")
    };
    let good = || Upstream::answering(answer(200, "good"));
    let strict = over(&[&bad(), &good()], LESSON);
    let listed = over(&[&bad(), &good()], "next_upstream = [\"invalid_header\"]");

    assert_eq!(strict.get("/").status, 502);
    assert_eq!(listed.get("/").text(), "good");
}

#[test]
fn a_post_is_not_sent_twice() {
    let bad = Upstream::answering(answer(502, "bad"));
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(&[&bad, &good], LESSON);

    assert_eq!(proxy.ask(POST).text(), "bad");
    assert!(good.seen().is_empty());
}

#[test]
fn a_post_is_sent_twice_with_its_body_on_demand() {
    let bad = Upstream::start(|_, connection| connection.close());
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(
        &[&bad, &good],
        "next_upstream = [\"error\", \"non_idempotent\"]",
    );

    assert_eq!(proxy.ask(POST).text(), "good");
    assert_eq!(bad.seen()[0].body, b"abc");
    assert_eq!(good.seen()[0].body, b"abc");
}

#[test]
fn a_body_that_was_passed_through_is_not_sent_twice() {
    let bad = Upstream::answering(answer(404, "bad"));
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(&[&bad, &good], LESSON);
    let body = "x".repeat(100_000);

    let put = format!(
        "PUT / HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );

    assert_eq!(proxy.ask(put).text(), "bad");
    assert!(good.seen().is_empty());
}

#[test]
fn off_means_off() {
    let good = Upstream::answering(answer(200, "good"));
    let proxy = Proxy::over(&[Upstream::refused(), good.address], "next_upstream = []");

    assert_eq!(proxy.get("/").status, 502);
}

#[test]
fn tries_are_bounded() {
    let bad: Vec<_> = (0..3)
        .map(|_| Upstream::answering(answer(404, "bad")))
        .collect();
    let servers: Vec<_> = bad.iter().collect();
    let proxy = over(&servers, &format!("{LESSON}\nnext_upstream_tries = 2"));

    assert_eq!(proxy.get("/").status, 404);
    assert_eq!(
        bad.iter().map(|server| server.seen().len()).sum::<usize>(),
        2
    );
}

#[test]
fn time_is_bounded() {
    let silent: Vec<_> = (0..3)
        .map(|_| Upstream::start(|_, connection| assert!(connection.wait_for_close())))
        .collect();
    let servers: Vec<_> = silent.iter().collect();
    let proxy = over(
        &servers,
        "read_timeout = \"300ms\"\nnext_upstream_timeout = \"100ms\"",
    );

    assert_eq!(proxy.get("/").status, 504);
    assert_eq!(
        silent
            .iter()
            .map(|server| server.seen().len())
            .sum::<usize>(),
        1
    );
}

#[test]
fn a_closed_pooled_connection_is_replaced_unseen() {
    // Closes as the second request of a connection arrives: it looked idle until then.
    let web = Upstream::start(|request, connection| match request.nth {
        0 => connection.send(answer(200, "served")),
        _ => connection.close(),
    });
    let proxy = over(&[&web], "next_upstream = []");

    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "served");
    }

    let status = proxy.status();
    assert_eq!(status.totals.stale_replaced, 2);
    assert_eq!(status.upstreams[0].servers[0].failures, 0);
    assert_eq!(web.connections(), 3);
}

#[test]
fn a_post_on_a_closed_pooled_connection_is_not_sent_twice() {
    let web = Upstream::start(|request, connection| match request.nth {
        0 => connection.send(answer(200, "served")),
        _ => connection.close(),
    });
    let proxy = over(&[&web], "");

    assert_eq!(proxy.ask(POST).text(), "served");
    assert_eq!(proxy.ask(POST).status, 502);
}

#[test]
fn a_pooled_connection_that_closed_while_idle_is_not_used() {
    let web = Upstream::start(|_, connection| {
        connection.send(answer(200, "served"));
        connection.close();
    });
    let proxy = over(&[&web], "");

    assert_eq!(proxy.ask(POST).text(), "served");
    wait_until("the closed connection to be dropped", || {
        proxy.status().upstreams[0].servers[0].idle == 0
    });
    assert_eq!(proxy.ask(POST).text(), "served");
    assert_eq!(proxy.status().totals.stale_replaced, 0);
}

#[test]
fn nothing_is_repeated_after_the_first_byte() {
    let bad = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal");
        connection.close();
    });
    let good = Upstream::answering(answer(200, "good"));
    let proxy = over(&[&bad, &good], LESSON);
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");

    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.rest(), b"hal");
    assert!(good.seen().is_empty());
    wait_until("the count", || proxy.status().totals.truncated == 1);
}

#[test]
fn a_server_that_fails_is_out_until_its_time_is_over() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let bad = Upstream::start(
        |_, connection| match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => connection.close(),
            _ => connection.send(answer(200, "bad")),
        },
    );
    let good = Upstream::answering(answer(200, "good"));
    let proxy = Proxy::start_with(|address| {
        format!(
            r#"
[[upstream]]
name = "web"
server = [{{ address = "{}", fail_timeout = "500ms" }}, {{ address = "{}" }}]
[[server]]
listen = ["{address}"]
default = true
[[server.route]]
upstream = "web"
[proxy]
workers = 1
"#,
            bad.address, good.address
        )
    });

    let first: Vec<_> = (0..4).map(|_| proxy.get("/").text().to_owned()).collect();

    assert_eq!(first, ["good"; 4]);
    wait_until("the server to be asked again", || {
        proxy.get("/").text() == "bad"
    });
    wait_until("the server to be back", || {
        proxy.status().upstreams[0].servers[0].out == 0
    });
}
