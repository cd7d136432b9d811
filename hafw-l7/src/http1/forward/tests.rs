use super::*;
use crate::{
    http1::{request as req, response as resp, slots},
    model::{PathCondition, ProxyConfig, Route, Server, SetHeader, Upstream, UpstreamServer},
    plan::{Plan, ServerPlan},
    route::Fields as _,
    values::{Ends, RequestValues},
};

fn server(set_headers: &[(&str, &str)]) -> ServerPlan {
    let route = Route::to("web", PathCondition::Any);
    let listen: std::net::SocketAddr = "10.0.0.3:80".parse().unwrap();
    let mut server = Server::new(vec![listen], vec!["www.oldboy.com".to_owned()], vec![route]);
    let headers = set_headers.iter();
    server.options.set_headers = headers
        .map(|(name, value)| SetHeader {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    let config = ProxyConfig {
        workers: 1,
        upstreams: vec![Upstream::new("web", vec![UpstreamServer::new(listen)])],
        servers: vec![server],
        ..ProxyConfig::default()
    };
    Plan::new(&config).unwrap().servers.remove(0)
}

fn sent(head: &str, set_headers: &[(&str, &str)]) -> String {
    sent_by(&server(set_headers), head)
}

fn sent_by(plan: &ServerPlan, head: &str) -> String {
    let ends = Ends::new(
        "10.0.0.1:5000".parse().unwrap(),
        "10.0.0.3:80".parse().unwrap(),
    );
    let mut slots = slots();
    let head = req::parse(head.as_bytes(), &mut slots).unwrap().unwrap();
    let values = RequestValues {
        request: &head,
        server_name: &plan.name,
        ends: &ends,
        id: 0xabc,
    };
    let scope = Scope {
        captures: None,
        path: head.target.path(),
        query: head.query(),
    };
    let mut out = Vec::new();
    request(&head, None, plan.options(None), &scope, &values, &mut out);
    String::from_utf8(out).unwrap()
}

fn answered(head: &str, options: AnswerOptions<'_>) -> String {
    let mut slots = slots();
    let parsed = resp::parse(head.as_bytes(), false, &mut slots)
        .unwrap()
        .unwrap();
    let mut out = Vec::new();
    answer(&parsed, options, &mut out);
    assert!(out.len() <= head.len() + ANSWER_GROWTH);
    String::from_utf8(out).unwrap()
}

const PLAIN: AnswerOptions<'_> = AnswerOptions {
    close: false,
    say_keep_alive: false,
    unchunked: false,
    date: b"Thu, 01 Jan 1970 00:00:00 GMT",
    coding: None,
    removed: &[],
    lines: b"",
};

#[test]
fn lines_are_copied_as_they_are() {
    let head = "GET /a%20b?c HTTP/1.1\r\nHost: WWW.oldboy.com:80\r\nuser-agent:  x \r\nX:\r\n\r\n";

    assert_eq!(sent(head, &[]), head);
}

#[test]
fn what_belongs_to_the_clients_connection_stays_behind() {
    let head = "GET / HTTP/1.1\r\nConnection: keep-alive, X-Hop\r\nHost: a\r\nTE: trailers\r\n\
        X-Hop: 1\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nX-End: 1\r\n\r\n";

    assert_eq!(
        sent(head, &[]),
        "GET / HTTP/1.1\r\nHost: a\r\nX-End: 1\r\n\r\n"
    );
}

#[test]
fn the_lessons_headers_are_set() {
    let head = "GET / HTTP/1.1\r\nHost: WWW.oldboy.com:80\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    let set = [("Host", "$host"), ("X-Forwarded-For", "$remote_addr")];

    assert_eq!(
        sent(head, &set),
        "GET / HTTP/1.1\r\nHost: www.oldboy.com\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
    );
}

#[test]
fn every_variable_has_its_value() {
    let head = "GET /x?y=1 HTTP/1.1\r\nHost: A:8080\r\nx-forwarded-for: 1.2.3.4\r\n\
        Cookie: a=b; id=7\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let set = [(
        "V",
        "$host $http_host $remote_addr $remote_port $proxy_add_x_forwarded_for $scheme \
         $request_uri $server_name $server_addr $server_port $uri $args $is_args \
         $request_method $http_x_a $arg_y $cookie_id $http_none$1",
    )];

    assert_eq!(
        sent(head, &set).lines().nth(6).unwrap(),
        "V: a A:8080 10.0.0.1 5000 1.2.3.4, 10.0.0.1 http /x?y=1 www.oldboy.com 10.0.0.3 80 \
         /x y=1 ? GET 1, 2 1 7 "
    );
}

#[test]
fn an_empty_value_removes_a_header() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";

    assert_eq!(
        sent(head, &[("Accept-Encoding", "")]),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    );
}

#[test]
fn a_header_that_is_set_cannot_be_slipped_in_with_underscores() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded-For: 6.6.6.6\r\n\r\n";

    assert_eq!(
        sent(head, &[("X-Forwarded-For", "$remote_addr")]),
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
    );
}

#[test]
fn old_requests_become_new_ones_with_a_host() {
    assert_eq!(
        sent("GET /a HTTP/1.0\r\nX: y\r\n\r\n", &[]),
        "GET /a HTTP/1.1\r\nX: y\r\nHost: www.oldboy.com\r\n\r\n"
    );
}

#[test]
fn a_request_names_a_host_even_if_its_value_is_empty() {
    let mut plan = server(&[("Host", "$server_name")]);
    plan.name = Box::default();
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    assert_eq!(sent_by(&plan, head), head);
}

#[test]
fn absolute_targets_become_paths() {
    for (target, path) in [
        ("http://a/b?c", "/b?c"),
        ("http://a", "/"),
        ("http://a?c", "/?c"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            sent(&head, &[("Uri", "$request_uri")]),
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nUri: {path}\r\n\r\n")
        );
    }
}

#[test]
fn an_answer_loses_its_connection_and_gains_a_date() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n";

    assert_eq!(
        answered(head, PLAIN),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    );
}

#[test]
fn an_answer_says_what_becomes_of_the_connection() {
    let head = "HTTP/1.0 404 Not Found\r\nDate: now\r\nContent-Length: 3\r\n\r\n";
    let close = AnswerOptions {
        close: true,
        ..PLAIN
    };
    let stay = AnswerOptions {
        say_keep_alive: true,
        ..PLAIN
    };

    assert_eq!(
        answered(head, close),
        "HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        answered(head, stay),
        "HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn a_body_that_is_sent_unchunked_does_not_say_chunked() {
    let head = "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n";
    let unchunked = AnswerOptions {
        unchunked: true,
        close: true,
        ..PLAIN
    };

    assert_eq!(
        answered(head, unchunked),
        "HTTP/1.1 200 OK\r\nDate: now\r\nX: y\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn a_request_has_an_id_of_its_own() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    assert!(
        sent(head, &[("X-Request-Id", "$request_id")])
            .contains("X-Request-Id: 00000000000000000000000000000abc\r\n")
    );
}

#[test]
fn an_answers_headers_are_removed_and_added() {
    let head = "HTTP/1.1 200 OK\r\nDate: now\r\nServer: nginx\r\nX: y\r\n\r\n";
    let removed = server(&[("server", "")]).options(None).clone();
    let options = AnswerOptions {
        removed: &removed.request_headers.set,
        lines: b"X: z\r\n",
        ..PLAIN
    };

    assert_eq!(
        answered(head, options),
        "HTTP/1.1 200 OK\r\nDate: now\r\nX: y\r\nX: z\r\n\r\n"
    );
}

#[test]
fn a_trace_context_is_passed_on_or_made() {
    let set = [("traceparent", "$traceparent")];
    let with = |value: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {value}\r\n\r\n");
        let sent = sent(&head, &set);
        let line = sent
            .lines()
            .find_map(|line| line.strip_prefix("traceparent: "));
        line.unwrap().to_owned()
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let new = "00-00000000000000000000000000000abc-0000000000000abc-01";

    assert_eq!(with(good), good);
    for bad in [
        "",
        "01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    ] {
        assert_eq!(with(bad), new, "{bad}");
    }
}
