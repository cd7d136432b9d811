//! Requests and answers that two readers could understand differently are refused, and the
//! connection closes with them.

use crate::harness::{Proxy, Upstream, answer};

const HOST: &str = "Host: www.oldboy.com\r\n";

#[test]
fn what_could_smuggle_a_request_is_refused_and_closed() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: www.oldboy.com\r\n\r\n";

    for (lines, body) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("Content-Length: 0\r\nContent-Length: 50\r\n", ""),
        ("Content-Length: 0\r\nContent-Length: 0\r\n", ""),
        ("Content-Length: 0, 50\r\n", ""),
        ("Content-Length: +0\r\n", ""),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\n", "0\r\n\r\n"),
        ("X: y\n", ""),
        ("X: y\r\n folded: z\r\n", ""),
        ("X: a\0b\r\n", ""),
        ("X : y\r\n", ""),
        (HOST, ""),
    ] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\n{HOST}{lines}\r\n{body}{smuggled}"
        ));
        let response = client.response();
        assert_eq!(response.status, 400, "{lines:?}");
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_closed(), "{lines:?}");
    }

    assert!(web.seen().is_empty());
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn bad_request_lines_are_refused() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");

    for (line, status) in [
        ("GET / HTTP/1.1\n", 400),
        ("GET  / HTTP/1.1\r\n", 400),
        ("GET /a#b HTTP/1.1\r\n", 400),
        ("GET a HTTP/1.1\r\n", 400),
        ("G=T / HTTP/1.1\r\n", 400),
        ("CONNECT www.oldboy.com:80 HTTP/1.1\r\n", 405),
        ("GET / HTTP/1.9\r\n", 505),
        ("\x16\x03\x01\x02\r\n", 400),
    ] {
        assert_eq!(
            proxy.ask(format!("{line}{HOST}\r\n")).status,
            status,
            "{line:?}"
        );
    }

    assert!(web.seen().is_empty());
}

#[test]
fn bad_chunks_of_a_request_are_refused_before_they_are_passed_on() {
    let web = Upstream::start_raw(|connection, seen| {
        if let Some(request) = connection.request(0) {
            seen.lock().unwrap().push(request);
        }
    });
    let proxy = Proxy::over(&[web.address], "");

    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "0\r\nX : y\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"
        ));
        client.send(body);
        assert_eq!(client.response().status, 400, "{body:?}");
        assert!(client.is_closed(), "{body:?}");
    }

    assert!(web.seen().is_empty());
}

#[test]
fn answers_that_could_split_are_a_bad_gateway() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let web = Upstream::answering(answer);
        let proxy = Proxy::over(&[web.address], "");
        assert_eq!(proxy.get("/").status, 502, "{answer:?}");
    }
}

#[test]
fn bytes_after_an_answer_are_never_given_to_the_next_client() {
    let web = Upstream::answering(format!("{}HTTP/1.1 200 Poison\r\n\r\n", answer(200, "ok")));
    let proxy = Proxy::over(&[web.address], "");

    for _ in 0..3 {
        let response = proxy.get("/");
        assert_eq!(response.text(), "ok");
        assert!(!response.head.contains("Poison"));
    }

    assert_eq!(web.connections(), 3);
}
