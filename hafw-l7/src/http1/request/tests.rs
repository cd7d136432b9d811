use proptest::prelude::*;

use super::*;
use crate::http1::slots;

/// The status that a head is refused with, or 200; 0 if it is not complete.
fn verdict(head: &str) -> u16 {
    match parse(head.as_bytes(), &mut slots()) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(error) => error.status(),
    }
}

/// A head of a GET to `/` with these lines after Host.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_head_is_taken_apart() {
    let bytes = b"POST /upload/a?b=c HTTP/1.1\r\nHost: www.oldboy.com:80\r\nUser-Agent: x\r\n\
        Connection: keep-alive\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello";
    let mut slots = slots();

    let head = parse(bytes, &mut slots).unwrap().unwrap();

    assert_eq!(head.method, b"POST");
    assert_eq!(head.target.path_and_query, b"/upload/a?b=c");
    assert_eq!(head.target.path(), b"/upload/a");
    assert_eq!(head.authority, Some(&b"www.oldboy.com:80"[..]));
    assert_eq!(head.host(), Some(&b"www.oldboy.com"[..]));
    assert_eq!(head.body, RequestBody::Length(5));
    assert!(head.http11 && head.keep_alive && head.expects_continue);
    assert!(!head.is_idempotent());
    assert_eq!(&bytes[head.len()..], b"hello");
    assert!(head.any(b"user-agent", |value| value == b"x"));
    let dropped: Vec<_> = (0..5).filter(|line| head.dropped.contains(*line)).collect();
    assert_eq!(dropped, [2, 4]);
}

#[test]
fn one_empty_line_before_the_request_is_skipped() {
    let mut slots = slots();
    let head = parse(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut slots)
        .unwrap()
        .unwrap();

    assert_eq!((head.skipped, head.len()), (2, 29));
    assert_eq!(verdict("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(verdict("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn every_start_of_a_good_head_is_incomplete() {
    let head = "\r\nGET /a HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n";

    for end in 0..head.len() {
        assert_eq!(verdict(&head[..end]), 0, "{end}");
    }
    assert_eq!(verdict(head), 200);
}

#[test]
fn requests_that_readers_disagree_on_are_refused() {
    for (lines, why) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "CL and TE",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "TE and CL",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "two CLs that differ",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "two equal CLs",
        ),
        ("Content-Length: 5, 5\r\n", "CL list"),
        ("Content-Length: +5\r\n", "signed CL"),
        ("Content-Length: 0x5\r\n", "hexadecimal CL"),
        ("Content-Length: 5 5\r\n", "CL with a space"),
        ("Content-Length:\r\n", "empty CL"),
        (
            "Content-Length: 99999999999999999999\r\n",
            "CL beyond a word",
        ),
        ("Transfer-Encoding: identity\r\n", "TE identity"),
        ("Transfer-Encoding: gzip, chunked\r\n", "TE list"),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            "TE twice in a line",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "TE twice",
        ),
        ("Transfer-Encoding: xchunked\r\n", "TE misspelt"),
        ("Transfer-Encoding: \x0bchunked\r\n", "TE with a control"),
        ("Transfer-Encoding : chunked\r\n", "space before the colon"),
        ("Content-Length : 5\r\n", "space before the colon"),
        (" X: y\r\n", "space before a name"),
        ("X: y\r\n folded\r\n", "folded line"),
        ("X: y\r\n\tfolded\r\n", "folded line"),
        ("X: a\0b\r\n", "NUL"),
        ("X: a\x01b\r\n", "control character"),
        ("X: a\x7fb\r\n", "DEL"),
        ("X: a\rb\r\n", "bare CR"),
        ("X: a\n", "bare LF"),
        ("X: a\nY: b\r\n", "bare LF within"),
        ("X\r\n", "no colon"),
        (": y\r\n", "no name"),
        ("X(y): z\r\n", "bad name"),
        ("Host: b\r\n", "two Hosts"),
        ("Host: a\r\n", "two equal Hosts"),
    ] {
        assert_eq!(verdict(&with(lines)), 400, "{why}");
    }
    let many = (0..20).map(|i| format!("x{i},")).collect::<String>();
    assert_eq!(verdict(&with(&format!("Connection: {many}\r\n"))), 400);
}

#[test]
fn request_lines_are_strict() {
    for (line, expected) in [
        ("GET / HTTP/1.1", 200),
        ("GET /a%20b?c=d|e HTTP/1.1", 200),
        ("OPTIONS * HTTP/1.1", 200),
        ("X-Y!# / HTTP/1.1", 200),
        ("GET * HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET\t/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /\x01 HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("GET http:///a HTTP/1.1", 400),
        ("GET /", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / http/1.1", 505),
        ("PRI * HTTP/2.0", 505),
        ("CONNECT a:443 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
    ] {
        assert_eq!(
            verdict(&format!("{line}\r\nHost: a\r\n\r\n")),
            expected,
            "{line}"
        );
    }
}

#[test]
fn bare_line_feeds_are_refused_before_the_head_is_complete() {
    assert_eq!(verdict("GET / HTTP/1.1\n"), 400);
    assert_eq!(verdict("GET / HTTP/1.1\nHost: a\n\n"), 400);
    assert_eq!(verdict("GET / HTTP/1.1\r\nHost: a\n"), 400);
    assert_eq!(verdict("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400);
}

#[test]
fn the_host_is_the_targets_or_the_fields() {
    let host = |head: &str| {
        let mut slots = slots();
        let head = parse(head.as_bytes(), &mut slots).map_err(RequestError::status)?;
        Ok::<_, u16>(head.unwrap().authority.map(<[u8]>::to_vec))
    };
    let some = |text: &str| Ok(Some(text.as_bytes().to_vec()));

    assert_eq!(host("GET / HTTP/1.1\r\nHost: a:80\r\n\r\n"), some("a:80"));
    assert_eq!(host("GET / HTTP/1.0\r\n\r\n"), Ok(None));
    assert_eq!(host("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), some("a"));
    assert_eq!(host("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Ok(None));
    assert_eq!(host("GET / HTTP/1.1\r\n\r\n"), Err(400));
    assert_eq!(host("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), Err(400));
    assert_eq!(host("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), Err(400));
    assert_eq!(
        host("GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        some("A")
    );
    assert_eq!(host("GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n"), some("a"));
    assert_eq!(host("GET http://a/ HTTP/1.0\r\n\r\n"), some("a"));
    assert_eq!(host("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), Err(400));
    assert_eq!(host("GET http://a/ HTTP/1.1\r\n\r\n"), Err(400));
    assert_eq!(
        host("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        Err(400)
    );
}

#[test]
fn an_absolute_target_leaves_its_path() {
    for (target, path, sent) in [
        ("http://a/b?c", "/b", "/b?c"),
        ("http://a", "/", ""),
        ("http://a?c", "/", "?c"),
        ("https://a/b", "/b", "/b"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut slots = slots();
        let head = parse(text.as_bytes(), &mut slots).unwrap().unwrap();
        assert!(head.target.absolute);
        assert_eq!(head.target.path(), path.as_bytes(), "{target}");
        assert_eq!(head.target.path_and_query, sent.as_bytes(), "{target}");
    }
}

#[test]
fn old_clients_persist_only_on_demand() {
    let keep = |head: &str| {
        parse(head.as_bytes(), &mut slots())
            .unwrap()
            .unwrap()
            .keep_alive
    };

    assert!(keep("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!keep(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
    assert!(keep("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn old_requests_have_no_chunks_and_no_expectations() {
    assert_eq!(
        verdict("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400
    );
    let text = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert!(!parse(text, &mut slots()).unwrap().unwrap().expects_continue);
    assert_eq!(verdict(&with("Expect: 200-ok\r\n")), 417);
}

#[test]
fn too_many_lines_are_refused() {
    assert_eq!(verdict(&with(&"X: y\r\n".repeat(MAX_HEADERS - 1))), 200);
    assert_eq!(verdict(&with(&"X: y\r\n".repeat(MAX_HEADERS))), 431);
}

#[test]
fn what_is_not_known_is_not_idempotent() {
    for (method, expected) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("LOCK", false),
        ("BREW", false),
        ("get", false),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut slots = slots();
        let head = parse(text.as_bytes(), &mut slots).unwrap().unwrap();
        assert_eq!(head.is_idempotent(), expected, "{method}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes, &mut slots());
    }

    #[test]
    fn nearly_good_heads_do_not_panic(
        head in "(GET|POST|A) (/|http://a|\\*)[a%/.?]{0,8} HTTP/1.[01]\r\n\
            ((Host|Connection|Content-Length|Transfer-Encoding|X)[: ]{1,2}[a,5 \r\n]{0,6}\r\n){0,6}\r\n"
    ) {
        if let Ok(Some(head)) = parse(head.as_bytes(), &mut slots()) {
            prop_assert!(head.bytes.ends_with(b"\r\n\r\n"));
            prop_assert!(head.headers_start() <= head.bytes.len());
        }
    }
}
