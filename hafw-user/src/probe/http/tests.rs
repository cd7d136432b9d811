use std::time::Duration;

use hafw_lb::Outcome;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::probe::Probe;

/// Long enough never to matter.
const MINUTE: Duration = Duration::from_secs(60);

/// Answers one connection with these bytes once a request's head is there, then reads until the
/// client closes. Gives the request, and whether the client closed in order.
async fn server(answer: Vec<u8>) -> (SocketAddr, JoinHandle<(String, bool)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        // The client may have had enough before all is sent.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        let closed = stream.read_to_end(&mut Vec::new()).await.is_ok();
        (String::from_utf8(request).unwrap(), closed)
    });
    (address, served)
}

async fn probe(address: SocketAddr, expect: &[u16], timeout: Duration) -> Report {
    let probe = HttpProbe::new(
        address,
        &HttpRequest::get("www.oldboy.com", "/status?full=1"),
        expect,
    )
    .unwrap();
    Probe::Http(probe).run(timeout).await
}

async fn report_on(answer: impl Into<Vec<u8>>) -> Report {
    let (address, _served) = server(answer.into()).await;
    probe(address, &[], MINUTE).await
}

#[tokio::test]
async fn the_request_names_host_path_and_hafw() {
    let (address, served) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()).await;
    assert_eq!(probe(address, &[200], MINUTE).await, Report::ok("HTTP 200"));
    let (request, closed) = served.await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "GET /status?full=1 HTTP/1.1\r\nHost: www.oldboy.com\r\nUser-Agent: hafw/{version}\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(request, expected);
    assert!(closed, "the connection was reset");
}

#[tokio::test]
async fn a_status_that_is_not_expected_is_bad() {
    let not_found = "HTTP/1.1 404 Not Found\r\n\r\n";
    assert_eq!(report_on(not_found).await, Report::bad("HTTP 404, not 2xx"));
    let (address, _served) = server(not_found.into()).await;
    assert_eq!(
        probe(address, &[401, 404], MINUTE).await,
        Report::ok("HTTP 404")
    );
    let (address, _served) = server(b"HTTP/1.1 204 No Content\r\n\r\n".into()).await;
    let report = probe(address, &[200, 301], MINUTE).await;
    assert_eq!(report, Report::bad("HTTP 204, not 200 or 301"));
}

#[tokio::test]
async fn a_redirect_is_bad_and_says_where_it_leads() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n";
    assert_eq!(
        report_on(answer).await,
        Report::bad("HTTP 302 to /login, not 2xx")
    );
}

#[tokio::test]
async fn method_and_headers_are_as_asked_for() {
    let (address, served) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".into()).await;
    let request = HttpRequest {
        method: "HEAD".into(),
        headers: vec![
            ("user-agent".into(), "probe".into()),
            ("X-Key".into(), "a b".into()),
        ],
        ..HttpRequest::get("a", "/")
    };
    let probe = Probe::Http(HttpProbe::new(address, &request, &[]).unwrap());
    assert_eq!(probe.run(MINUTE).await, Report::ok("HTTP 200"));
    let (request, _) = served.await.unwrap();
    let expected = "HEAD / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nuser-agent: probe\r\n\
                    X-Key: a b\r\nConnection: close\r\n\r\n";
    assert_eq!(request, expected);
}

#[tokio::test]
async fn a_body_holds_what_is_expected_or_is_bad() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4\r\nall \r\n5;x=y\r\nis we\r\n2\r\nll\r\n0\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well";
    let ended = "HTTP/1.1 200 OK\r\n\r\nall is wellx";
    for answer in [chunked, plain, ended] {
        for (text, report) in [
            ("is well", Report::ok("HTTP 200 with the expected body")),
            (
                "unwell",
                Report::bad("HTTP 200 without \"unwell\" in its body"),
            ),
        ] {
            let (address, _served) = server(answer.into()).await;
            let probe = HttpProbe::new(address, &HttpRequest::get("a", "/"), &[]).unwrap();
            let probe = Probe::Http(probe.expecting_body(Some(text.into())));
            assert_eq!(probe.run(MINUTE).await, report, "{answer}");
        }
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_bad() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        stream
    });
    let tls = TlsSpec {
        name: "a.example".into(),
        verify: false,
    };
    let probe = HttpProbe::new(address, &HttpRequest::get("a", "/"), &[]).unwrap();
    let report = Probe::Http(probe.over_tls(Some(tls))).run(MINUTE).await;
    assert_eq!(report.outcome, Outcome::Bad);
    assert!(report.reason.starts_with("TLS: "), "{}", report.reason);
    drop(served);
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(report_on(answer).await, Report::ok("HTTP 200"));
}

#[tokio::test]
async fn garbage_is_bad_and_says_why() {
    for (answer, reason) in [
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "not an HTTP answer: invalid HTTP version",
        ),
        (
            "HTTP/1.1 abc\r\n\r\n",
            "not an HTTP answer: invalid response status",
        ),
        ("", "closed before the end of the answer's head"),
        (
            "HTTP/1.1 200 OK\r\nServer: x\r\n",
            "closed before the end of the answer's head",
        ),
    ] {
        assert_eq!(report_on(answer).await, Report::bad(reason), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let line = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(10 * HEAD_LIMIT));
    let reason = "the answer's head is longer than 16384 bytes";
    assert_eq!(report_on(line).await, Report::bad(reason));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10 * HEAD_LIMIT / 25);
    let report = report_on(interim).await;
    assert_eq!(report.outcome, Outcome::Bad, "{}", report.reason);
    let lines = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(HEADER_LINES + 1)
    );
    assert_eq!(
        report_on(lines).await,
        Report::bad("not an HTTP answer: too many headers")
    );
}

#[tokio::test]
async fn a_giant_body_does_not_matter() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(10 << 20, b'x');
    assert_eq!(report_on(answer).await, Report::ok("HTTP 200"));
}

#[tokio::test]
async fn silence_after_the_request_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let report = probe(
        listener.local_addr().unwrap(),
        &[],
        Duration::from_millis(50),
    )
    .await;
    assert_eq!(report.outcome, Outcome::TimedOut);
    assert_eq!(report.reason, "no answer within 50ms");
}

#[tokio::test]
async fn a_known_status_stands_though_the_body_does_not_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let report = probe(address, &[], Duration::from_millis(100)).await;
    assert_eq!(report, Report::ok("HTTP 200"));
    drop(held);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(probe(address, &[], MINUTE).await.outcome, Outcome::Refused);
}

#[test]
fn what_would_break_the_request_is_refused() {
    let address = "127.0.0.1:80".parse().unwrap();
    let new = |host, path, expect: &[u16]| {
        HttpProbe::new(address, &HttpRequest::get(host, path), expect).err()
    };
    assert_eq!(
        new("a", "status", &[]),
        Some(InvalidHttp::Path("status".into()))
    );
    assert_eq!(
        new("a", "/a b", &[]),
        Some(InvalidHttp::Path("/a b".into()))
    );
    assert_eq!(
        new("a\r\nX: y", "/", &[]),
        Some(InvalidHttp::Host("a\r\nX: y".into()))
    );
    assert_eq!(new("", "/", &[]), Some(InvalidHttp::Host(String::new())));
    assert_eq!(new("a", "/", &[200, 20]), Some(InvalidHttp::Status(20)));
    assert_eq!(new("a", "/", &[200]), None);
}
