//! HTTP/1 heads and chunks as they come from clients and servers.
//!
//! The first byte says which reader gets the rest. What a reader lets through is sent on; the head
//! that is sent on must read as the same request or answer, or the proxy could be made to smuggle.
#![no_main]

use std::{net::SocketAddr, sync::LazyLock};

use hafw_l7::{
    http1::{
        Body,
        forward::{self, ANSWER_GROWTH, AnswerOptions},
        request::{self, RequestBody},
        response, slots,
    },
    model::{PathCondition, ProxyConfig, Route, Server, SetHeader, Upstream, UpstreamServer},
    plan::Plan,
    route::{Fields as _, path},
    template::Scope,
    values::{Ends, RequestValues},
};
use libfuzzer_sys::fuzz_target;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let address = SocketAddr::from(([10, 0, 0, 3], 80));
    let route = Route::to("web", PathCondition::Any);
    let mut server = Server::new(
        vec![address],
        vec!["www.oldboy.com".to_owned()],
        vec![route],
    );
    for (name, value) in [
        ("Host", "$host"),
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("X-Uri", "$request_uri"),
        ("X-Path", "$uri$is_args$args $http_x_a $arg_a $cookie_a"),
    ] {
        server.options.set_headers.push(SetHeader {
            name: name.to_owned(),
            value: value.to_owned(),
        });
    }
    let upstream = Upstream::new("web", vec![UpstreamServer::new(address)]);
    Plan::new(&ProxyConfig {
        workers: 1,
        upstreams: vec![upstream],
        servers: vec![server],
        ..ProxyConfig::default()
    })
    .expect("the plan is good")
});

fn ends() -> Ends {
    let client = SocketAddr::from(([10, 0, 0, 1], 5000));
    Ends::new(client, SocketAddr::from(([10, 0, 0, 3], 80)))
}

fn client(bytes: &[u8]) {
    let (mut slots, mut again) = (slots(), slots());
    let Ok(Some(head)) = request::parse(bytes, &mut slots) else {
        return;
    };
    let mut scratch = Vec::new();
    let Ok(path) = path::normalize(head.target.path(), &mut scratch) else {
        return;
    };
    let plan = &PLAN.servers[0];
    let values = RequestValues {
        request: &head,
        server_name: &plan.name,
        ends: &ends(),
        id: 1,
    };
    let scope = Scope {
        captures: None,
        path,
        query: head.query(),
    };
    let mut out = Vec::new();
    forward::request(&head, None, plan.options(None), &scope, &values, &mut out);
    let sent = request::parse(&out, &mut again)
        .expect("what is sent on is good")
        .expect("what is sent on is whole");
    assert_eq!(sent.len(), out.len(), "one head is sent on");
    assert_eq!(sent.body, head.body);
    assert_eq!(sent.method, head.method);
    assert_eq!(sent.target.path(), head.target.path());
    assert!(sent.http11 && sent.keep_alive && !sent.expects_continue);
    careless(&out, &sent);
}

/// What is sent on, as a careless server would read it: one that ends lines at any LF, and takes a
/// name up to the first colon, whatever surrounds it. If it comes to the same body and the same host
/// all the same, no request hides behind another one.
fn careless(head: &[u8], sent: &request::RequestHead<'_, '_>) {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default().trim_ascii();
    assert_eq!(
        first.split(|byte| *byte == b' ').count(),
        3,
        "a request line"
    );
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
    {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.expect("a header line has a colon"));
        let name = name.trim_ascii().to_ascii_lowercase();
        let value = value[1..].trim_ascii().to_vec();
        match name.as_slice() {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            b"host" => hosts += 1,
            _ => {}
        }
    }
    assert!(hosts <= 1, "several Hosts");
    match sent.body {
        RequestBody::Chunked => {
            assert!(lengths.is_empty(), "no length beside chunks");
            assert!(matches!(&codings[..], [one] if one.eq_ignore_ascii_case(b"chunked")));
        }
        RequestBody::Length(len) => {
            assert!(codings.is_empty(), "no coding beside a length");
            match &lengths[..] {
                [] => assert_eq!(len, 0),
                [one] => assert_eq!(one, len.to_string().as_bytes()),
                _ => panic!("several lengths"),
            }
        }
    }
}

fn server(bytes: &[u8], to_head: bool, unchunked: bool) {
    let (mut slots, mut again) = (slots(), slots());
    let Ok(Some(head)) = response::parse(bytes, to_head, &mut slots) else {
        return;
    };
    let options = AnswerOptions {
        close: false,
        say_keep_alive: true,
        unchunked: unchunked && head.body == Body::chunked(),
        date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        coding: None,
        removed: &[],
        lines: b"",
    };
    let mut out = Vec::new();
    forward::answer(&head, options, &mut out);
    assert!(out.len() <= head.bytes.len() + ANSWER_GROWTH);
    let sent = response::parse(&out, to_head, &mut again)
        .expect("what is sent on is good")
        .expect("what is sent on is whole");
    assert_eq!(sent.status, head.status);
    if !options.unchunked {
        assert_eq!(sent.body, head.body);
    }
}

fn chunks(bytes: &[u8], cut: usize) {
    let (mut whole, mut split) = (Body::chunked(), Body::chunked());
    let taken = whole.advance(bytes);
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let in_two = split.advance(first).and_then(|taken| {
        if taken < first.len() {
            return Ok(taken);
        }
        Ok(taken + split.advance(second)?)
    });
    assert_eq!(in_two, taken);
    if taken.is_ok() {
        assert_eq!(whole, split);
    }
}

fuzz_target!(|input: &[u8]| {
    let [kind, bytes @ ..] = input else {
        return;
    };
    match kind % 4 {
        0 => client(bytes),
        1 => server(bytes, kind & 4 != 0, kind & 8 != 0),
        2 => chunks(bytes, usize::from(*kind)),
        _ => {
            let _ = path::normalize(bytes, &mut Vec::new());
        }
    }
});
