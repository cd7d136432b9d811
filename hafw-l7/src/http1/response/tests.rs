use proptest::prelude::*;

use super::*;
use crate::http1::slots;

fn parsed<T>(head: &str, to_head: bool, look: impl FnOnce(ResponseHead<'_, '_>) -> T) -> Option<T> {
    let mut slots = slots();
    parse(head.as_bytes(), to_head, &mut slots)
        .ok()
        .flatten()
        .map(look)
}

fn body(head: &str) -> Option<Body> {
    parsed(head, false, |head| head.body)
}

#[test]
fn a_head_is_taken_apart() {
    let text = "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nDate: now\r\nContent-Length: 3\r\n\
        Connection: keep-alive\r\n\r\nabc";
    let mut slots = slots();

    let head = parse(text.as_bytes(), false, &mut slots).unwrap().unwrap();

    assert_eq!((head.status, head.body), (404, Body::Length(3)));
    assert!(head.http11 && head.keep_alive && head.has_date && !head.is_interim());
    assert_eq!(&text[head.bytes.len()..], "abc");
    let dropped: Vec<_> = (0..4).filter(|line| head.dropped.contains(*line)).collect();
    assert_eq!(dropped, [3]);
}

#[test]
fn the_body_ends_as_the_head_says() {
    let until_close = Some(Body::UntilClose);
    assert_eq!(body("HTTP/1.1 200 OK\r\n\r\n"), until_close);
    assert_eq!(body("HTTP/1.0 200 OK\r\n\r\n"), until_close);
    assert_eq!(
        body("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        Some(Body::Length(7))
    );
    assert_eq!(
        body("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
        Some(Body::chunked())
    );
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    let none = Some(Body::Length(0));
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), none);
    assert_eq!(
        body("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
        none
    );
    assert_eq!(body("HTTP/1.1 100 Continue\r\n\r\n"), none);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(parsed(head, true, |head| head.body), none);
}

#[test]
fn answers_without_a_body_do_not_name_a_length() {
    let first_line_goes =
        |head: &str| parsed(head, false, |head| head.dropped.contains(0)).unwrap();

    assert!(first_line_goes(
        "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
    ));
    assert!(first_line_goes(
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    assert!(!first_line_goes(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"
    ));
}

#[test]
fn connections_stay_open_by_version_and_option() {
    let keep = |head: &str| parsed(head, false, |head| head.keep_alive).unwrap();

    assert!(keep("HTTP/1.1 200 OK\r\n\r\n"));
    assert!(!keep("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
    assert!(!keep("HTTP/1.0 200 OK\r\n\r\n"));
    assert!(keep("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn answers_that_readers_disagree_on_are_refused() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "X: y\r\n".repeat(MAX_HEADERS + 1)
    );
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\nZ: a\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "HTTP/1.1 099 Odd\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        &many,
    ] {
        assert!(
            parse(head.as_bytes(), false, &mut slots()).is_err(),
            "{head:?}"
        );
    }
}

#[test]
fn every_start_of_a_good_head_is_incomplete() {
    let head = "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n";

    for end in 0..head.len() {
        let start = head.as_bytes().get(..end).unwrap();
        assert!(
            parse(start, false, &mut slots()).unwrap().is_none(),
            "{end}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, to_head: bool) {
        let _ = parse(&bytes, to_head, &mut slots());
    }
}
