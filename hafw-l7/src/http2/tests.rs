use super::*;
use crate::http1;

fn parts(request: request::Builder) -> request::Parts {
    request.body(()).unwrap().into_parts().0
}

fn written(request: request::Builder, has_body: bool) -> (String, Framing) {
    let mut out = Vec::new();
    let framing = request_head(&parts(request), has_body, &mut out);
    (String::from_utf8(out).unwrap(), framing)
}

#[test]
fn a_request_gets_a_host_one_cookie_line_and_a_framing() {
    let request = || {
        Request::get("https://www.oldboy.com/a?b")
            .header("cookie", "a=1")
            .header("x", "y")
            .header("cookie", "b=2")
            .header("te", "trailers")
    };
    let head = "GET /a?b HTTP/1.1\r\nhost: www.oldboy.com\r\nx: y\r\ncookie: a=1; b=2\r\n";

    assert_eq!(
        written(request(), false),
        (format!("{head}\r\n"), Framing::None)
    );
    assert_eq!(
        written(request(), true),
        (
            format!("{head}transfer-encoding: chunked\r\n\r\n"),
            Framing::Chunked
        )
    );
    let (text, framing) = written(request().header("content-length", "3"), true);
    assert!(
        text.ends_with("content-length: 3\r\ncookie: a=1; b=2\r\n\r\n"),
        "{text}"
    );
    assert_eq!(framing, Framing::Plain);
}

#[test]
fn an_authority_and_another_host_are_two_hosts() {
    let with_host = |host| {
        let (text, _) = written(Request::get("http://a/").header("host", host), false);
        let mut slots = http1::slots();
        http1::request::parse(text.as_bytes(), &mut slots).map(|head| head.is_some())
    };

    assert_eq!(with_host("a"), Ok(true));
    assert_eq!(with_host("b"), Err(http1::request::RequestError::TwoHosts));
}

#[test]
fn a_request_comes_back_as_it_was() {
    let request = Request::put("http://a.b:80/x?y=z")
        .header("content-length", "3")
        .header("x-y", "z");
    let (text, _) = written(request, true);

    let (request, body) = super::request(text.as_bytes(), "http").unwrap();

    assert_eq!(request.uri(), "http://a.b:80/x?y=z");
    assert_eq!(request.method(), "PUT");
    assert_eq!(request.headers()["x-y"], "z");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(body, Body::Length(3));
    assert!(!request.headers().contains_key("host"));
}

#[test]
fn an_answer_without_a_body_says_so() {
    let written = |status: u16, has_body| {
        let (parts, ()) = Response::builder()
            .status(status)
            .body(())
            .unwrap()
            .into_parts();
        let mut out = Vec::new();
        response_head(&parts, has_body, &mut out);
        String::from_utf8(out).unwrap()
    };

    assert_eq!(
        written(200, false),
        "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(written(204, false), "HTTP/1.1 204 \r\n\r\n");
    assert_eq!(written(103, false), "HTTP/1.1 103 \r\n\r\n");
    assert_eq!(
        written(200, true),
        "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"
    );
}

#[test]
fn trailers_pass_in_both_directions() {
    let mut fields = trailer_fields(b"grpc-status: 0\r\nX: y\r\n\r\n").unwrap();
    fields.insert("content-length", HeaderValue::from_static("5"));
    fields.insert("host", HeaderValue::from_static("b"));
    let mut out = Vec::new();
    trailers(Some(&fields), &mut out);

    assert_eq!(out, b"0\r\ngrpc-status: 0\r\nx: y\r\n\r\n");
    assert!(trailer_fields(b"\r\n").unwrap().is_empty());
    assert!(trailer_fields(b"no field\r\n\r\n").is_err());
}

#[test]
fn an_answers_connection_headers_stay_behind() {
    let bytes = b"HTTP/1.1 200 OK\r\nConnection: close, x-a\r\nX-A: 1\r\nX-B: 2\r\n\
                  Transfer-Encoding: chunked\r\n\r\n";
    let mut slots = http1::slots();
    let head = http1::response::parse(bytes, false, &mut slots)
        .unwrap()
        .unwrap();

    let response = response(&head).unwrap();

    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-b"]);
}
