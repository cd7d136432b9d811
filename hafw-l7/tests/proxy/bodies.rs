//! Bodies in both directions, and the order of answers.

use std::io::Read as _;

use crate::harness::{Proxy, Upstream, answer, wait_until};

const HEAD: &str = "HTTP/1.1\r\nHost: www.oldboy.com\r\n";

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| b'a' + u8::try_from(i * 7 / 5 % 26).unwrap())
        .collect()
}

fn over(web: &Upstream) -> Proxy {
    Proxy::over(&[web.address], "client_max_body_size = \"4MiB\"")
}

#[test]
fn large_answers_arrive_whole() {
    let body = pattern(1 << 20);
    let sent = body.clone();
    let web = Upstream::start(move |_, connection| {
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        connection.send(&sent);
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for _ in 0..3 {
        client.get("www.oldboy.com", "/");
        assert!(client.response().body == body);
    }

    assert_eq!(
        web.connections(),
        1,
        "the server's connection is used again"
    );
}

#[test]
fn chunked_answers_are_passed_on_as_they_are() {
    let body = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
    let web = Upstream::start(move |_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.as_bytes().chunks(7) {
            connection.send(piece);
        }
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for _ in 0..2 {
        client.get("www.oldboy.com", "/");
        let head = client.response_head();
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        assert_eq!(client.take(body.len()), body.as_bytes());
    }

    assert_eq!(web.connections(), 1);
}

#[test]
fn old_clients_get_chunked_answers_without_the_chunks() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
        connection.send("lo\r\n1\r\n!\r\n0\r\n\r\n");
    });
    let proxy = over(&web);

    let response =
        proxy.ask("GET / HTTP/1.0\r\nHost: www.oldboy.com\r\nConnection: keep-alive\r\n\r\n");

    assert_eq!(response.text(), "hello!");
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn an_answer_that_ends_with_the_connection_arrives_whole() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\n\r\nall ");
        connection.send("of it");
        connection.close();
    });
    let proxy = over(&web);

    let response = proxy.get("/");

    assert_eq!(response.text(), "all of it");
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn an_answer_without_an_end_that_breaks_off_is_a_reset() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        connection.reset();
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");

    assert!(client.is_reset());
}

#[test]
fn some_answers_have_no_body() {
    let web = Upstream::start(|request, connection| {
        let path = request.line().split(' ').nth(1).unwrap();
        connection.send(match path {
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        });
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for (method, path, status) in [
        ("HEAD", "/", 200),
        ("GET", "/304", 304),
        ("GET", "/204", 204),
    ] {
        client.send(format!("{method} {path} {HEAD}\r\n"));
        let head = client.response_head();
        assert_eq!(head.status, status);
        assert_eq!(head.header("content-length").is_some(), status != 204);
    }

    client.send(format!("HEAD / {HEAD}Connection: close\r\n\r\n"));
    client.response_head();
    assert!(client.is_closed());
    assert_eq!(web.connections(), 1);
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let web = Upstream::start(|request, connection| {
        connection.send(answer(200, request.line()));
    });
    let proxy = over(&web);
    let mut client = proxy.client();
    let requests: String = (0..50).map(|i| format!("GET /{i} {HEAD}\r\n")).collect();

    client.send(requests);

    for i in 0..50 {
        assert_eq!(client.response().text(), format!("GET /{i} HTTP/1.1"));
    }
    assert_eq!(web.connections(), 1);
}

#[test]
fn requests_may_arrive_in_pieces() {
    let web = Upstream::start(|request, connection| {
        connection.send(answer(200, std::str::from_utf8(&request.body).unwrap()));
    });
    let proxy = over(&web);
    let mut client = proxy.client();
    let request = format!("POST / {HEAD}Content-Length: 5\r\n\r\nhello");

    for piece in request.repeat(3).as_bytes().chunks(11) {
        client.send(piece);
        std::thread::yield_now();
    }

    for _ in 0..3 {
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn request_bodies_arrive_whole() {
    let web = Upstream::start(|request, connection| {
        let sum: usize = request.body.iter().map(|byte| usize::from(*byte)).sum();
        connection.send(answer(200, &format!("{} {sum}", request.body.len())));
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for len in [0, 1, 16 * 1024, 16 * 1024 + 1, 200_000, 1 << 20] {
        let body = pattern(len);
        client.send(format!("POST / {HEAD}Content-Length: {len}\r\n\r\n"));
        client.send(&body);
        let sum: usize = body.iter().map(|byte| usize::from(*byte)).sum();
        assert_eq!(client.response().text(), format!("{len} {sum}"));
    }

    assert_eq!(web.connections(), 1);
}

#[test]
fn chunked_request_bodies_are_passed_on_as_they_are() {
    let web = Upstream::answering(answer(200, "got it"));
    let proxy = over(&web);
    let mut client = proxy.client();
    let body = "5;a=b\r\nhello\r\n3\r\nxyz\r\n0\r\n\r\n";

    client.send(format!(
        "POST / {HEAD}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhel"
    ));
    client.send("lo\r\n3\r\nxyz\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "got it");
    client.send(format!(
        "POST / {HEAD}Transfer-Encoding: chunked\r\n\r\n{body}GET /next {HEAD}\r\n"
    ));
    assert_eq!(client.response().text(), "got it");
    assert_eq!(client.response().text(), "got it");

    let seen = web.seen();
    assert_eq!(seen[0].body, body.as_bytes());
    assert_eq!(seen[1].body, body.as_bytes());
    assert_eq!(seen[2].line(), "GET /next HTTP/1.1");
}

#[test]
fn both_directions_flow_at_once() {
    // Echoes each block before it reads the next: waits for ever if the proxy waits for the end of
    // the request.
    let web = Upstream::start_raw(|connection, _| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        for _ in 0..10 {
            let block = connection.take(100_000).unwrap();
            connection.send(block);
        }
    });
    let proxy = over(&web);
    let mut client = proxy.client();
    let block = pattern(100_000);

    client.send(format!("POST / {HEAD}Content-Length: 1000000\r\n\r\n"));
    client.send(&block);
    assert_eq!(client.response_head().header("connection"), Some("close"));
    assert!(client.take(100_000) == block);
    for _ in 1..10 {
        client.send(&block);
        assert!(client.take(100_000) == block);
    }
    assert!(client.is_closed());
}

#[test]
fn an_early_answer_is_passed_on_and_the_connection_closes() {
    let web = Upstream::start_raw(|connection, _| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        connection.wait_for_close();
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    client.send(format!("POST / {HEAD}Content-Length: 1000000\r\n\r\nstart"));
    let response = client.response();

    assert_eq!((response.status, response.text()), (401, "no"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let web = Upstream::start(|request, connection| {
        assert_eq!(request.header("expect"), None);
        connection.send(answer(200, std::str::from_utf8(&request.body).unwrap()));
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for len in [5, 50_000] {
        client.send(format!(
            "POST / {HEAD}Expect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
        ));
        assert_eq!(client.response_head().status, 100);
        client.send("h".repeat(len));
        assert_eq!(client.response().body.len(), len);
    }
}

#[test]
fn interim_answers_are_passed_on_to_clients_that_know_them() {
    let web = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = over(&web);
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");
    let hints = client.response_head();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a>")));
    assert_eq!(client.response().text(), "ok");

    let old = proxy.ask("GET / HTTP/1.0\r\nHost: www.oldboy.com\r\n\r\n");
    assert_eq!((old.status, old.text()), (200, "ok"));
}

#[test]
fn old_clients_keep_their_connection_on_demand() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = over(&web);
    let mut client = proxy.client();

    client.send("GET / HTTP/1.0\r\nHost: www.oldboy.com\r\nConnection: keep-alive\r\n\r\n");
    let first = client.response();
    client.send("GET / HTTP/1.0\r\nHost: www.oldboy.com\r\n\r\n");
    let second = client.response();

    assert_eq!(first.header("connection"), Some("keep-alive"));
    assert_eq!(second.header("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(web.seen()[0].line(), "GET / HTTP/1.1");
}

#[test]
fn an_answer_of_an_old_server_closes_its_connection_only() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        connection.close();
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    for _ in 0..2 {
        client.get("www.oldboy.com", "/");
        let response = client.response();
        assert_eq!(response.text(), "ok");
        assert!(
            response.head.starts_with("HTTP/1.1 200"),
            "{}",
            response.head
        );
    }
}

#[test]
fn every_answer_has_a_date() {
    let web = Upstream::answering(answer(200, ""));
    let proxy = over(&web);

    for path in ["/", "/%00"] {
        let response = proxy.get(path);
        let date = response.header("date").unwrap();
        assert!(date.ends_with(" GMT"), "{date}");
    }
}

#[test]
fn a_client_that_goes_away_frees_the_server() {
    let (told, freed) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let web = Upstream::start(move |_, connection| {
        let is_closed = connection.wait_for_close();
        told.lock().unwrap().send(is_closed).unwrap();
    });
    let proxy = over(&web);
    let mut client = proxy.client();

    client.get("www.oldboy.com", "/");
    wait_until("the request", || !web.seen().is_empty());
    client.reset();

    assert_eq!(freed.recv_timeout(crate::harness::PATIENCE), Ok(true));
    wait_until("the count", || proxy.status().totals.client_aborts == 1);
}

#[test]
fn answers_are_compressed_for_clients_that_ask() {
    let page = "hello, ".repeat(40_000);
    let body = page.clone();
    let web = Upstream::start(move |request, connection| {
        let kind = match request.line() {
            line if line.contains("/image") => "image/png",
            _ => "text/html; charset=utf-8",
        };
        let body = if request.line().contains("/short") {
            "hello"
        } else {
            &body
        };
        let framing = match request.line().contains("/chunked") {
            true => format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            ),
            false => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        };
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"x\"\r\n{framing}"
        ));
    });
    let proxy = Proxy::over(&[web.address], "compress = {}");
    let mut client = proxy.client();
    let mut ask = |path: &str, accept: &str| {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: www.oldboy.com\r\nAccept-Encoding: {accept}\r\n\r\n"
        ));
        client.response()
    };

    for path in ["/", "/chunked"] {
        for (accept, coding) in [
            ("gzip, deflate", "gzip"),
            ("gzip, br", "br"),
            ("zstd", "zstd"),
        ] {
            let answer = ask(path, accept);
            assert_eq!(answer.header("content-encoding"), Some(coding));
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
            assert_eq!(answer.header("content-length"), None);
            assert_eq!(answer.header("etag"), None);
            assert!(answer.body.len() < page.len() / 10, "{coding}");
            if coding == "gzip" {
                let mut bytes = answer.body.clone();
                let (_, len) = hafw_l7::http1::Body::chunked()
                    .advance_unchunked(&mut bytes)
                    .unwrap();
                let mut decoded = String::new();
                flate2::read::GzDecoder::new(&bytes[..len])
                    .read_to_string(&mut decoded)
                    .unwrap();
                assert_eq!(decoded, page);
            }
        }
    }
    for (path, accept) in [
        ("/image", "gzip"),
        ("/short", "gzip"),
        ("/", "identity, gzip;q=0"),
    ] {
        let answer = ask(path, accept);
        assert_eq!(answer.header("content-encoding"), None, "{path} {accept}");
        assert_eq!(answer.header("etag"), Some("\"x\""));
    }
    assert_eq!(web.connections(), 1, "connections are kept");
}
