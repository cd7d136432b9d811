//! Requests and answers over HTTP/2 beside what HTTP/1.1 has, and clients that mean no good.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block, request, setting,
};
use crate::harness::{Proxy, Upstream, answer, wait_until};

fn get(stream: u32) -> Frame {
    Frame::new(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        request("GET", &[]),
    )
}

/// Reads a stream's body to its end.
fn body(raw: &mut Raw, stream: u32) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let frame = raw.frame().expect("the rest of an answer");
        if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) {
            if frame.kind == DATA {
                body.extend(&frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }
}

#[test]
fn requests_run_beside_each_other_and_reach_servers_as_http1() {
    let web = Upstream::start(|request, connection| {
        if request.line().contains("/slow") {
            thread::sleep(Duration::from_millis(300));
        }
        connection.send(answer(200, request.line()));
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    let of = |stream, path| {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "WWW.oldboy.com:80"),
            (":path", path),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ];
        Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, block(&fields))
    };

    raw.send(&of(1, "/slow"));
    raw.send(&of(3, "/fast"));

    assert_eq!(body(&mut raw, 3), b"GET /fast HTTP/1.1");
    assert_eq!(body(&mut raw, 1), b"GET /slow HTTP/1.1");
    let seen = web.seen();
    assert_eq!(seen[0].header("host"), Some("WWW.oldboy.com:80"));
    assert_eq!(seen[0].header("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_request_that_is_given_up_is_given_up_at_the_server() {
    let (gone, seen) = std::sync::mpsc::channel();
    let web = Upstream::start(move |_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
        gone.send(connection.wait_for_close()).unwrap();
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    raw.send(&get(1));
    raw.frame_of(DATA).unwrap();

    raw.send(&Frame::new(RST_STREAM, 0, 1, 8_u32.to_be_bytes()));

    assert!(seen.recv_timeout(crate::harness::PATIENCE).unwrap());
    wait_until("the request to be counted", || {
        proxy.status().totals.client_aborts == 1
    });
}

#[test]
fn an_answer_that_breaks_off_is_seen_to() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
        connection.close();
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);

    raw.send(&get(1));

    assert_eq!(raw.frame_of(RST_STREAM).unwrap().stream, 1);
}

#[test]
fn interim_answers_and_trailers_pass() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        connection.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n\
             4\r\nbody\r\n0\r\nX-T: y\r\n\r\n",
        );
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);

    raw.send(&get(1));

    assert_eq!(raw.frame_of(HEADERS).unwrap().flags & END_STREAM, 0, "103");
    assert_eq!(raw.frame_of(HEADERS).unwrap().flags & END_STREAM, 0, "200");
    assert_eq!(raw.frame_of(DATA).unwrap().payload, b"body");
    let trailers = raw.frame_of(HEADERS).unwrap();
    assert_ne!(trailers.flags & END_STREAM, 0);
    assert!(trailers.payload.windows(1).any(|byte| byte == b"y") || trailers.payload.len() > 4);
}

#[test]
fn a_client_that_reads_slowly_holds_the_server_back() {
    let (sent, seen) = std::sync::mpsc::channel();
    let web = Upstream::start(move |_, connection| {
        let body = vec![b'x'; 32 << 20];
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        connection.send(body);
        sent.send(()).unwrap();
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &setting(4, 1000));

    raw.send(&get(1));
    raw.frame_of(DATA).unwrap();

    // What fits into the sockets' buffers is far less than the body.
    assert!(seen.recv_timeout(Duration::from_secs(1)).is_err());
}

#[test]
fn a_client_that_gives_up_all_its_requests_is_sent_away() {
    let web = Upstream::start(|_, connection| {
        connection.wait_for_close();
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);

    for n in 0..1000 {
        raw.send(&get(2 * n + 1));
        raw.send(&Frame::new(RST_STREAM, 0, 2 * n + 1, 8_u32.to_be_bytes()));
    }

    let end = raw.frame_of(GOAWAY).expect("a reason");
    assert_eq!(end.code(), 11, "ENHANCE_YOUR_CALM");
    assert!(web.connections() < 1000);
}

#[test]
fn a_block_without_end_is_not_collected() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);

    raw.send(&Frame::new(HEADERS, END_STREAM, 1, request("GET", &[])));
    for _ in 0..100_000 {
        raw.send(&Frame::new(CONTINUATION, 0, 1, []));
    }

    while raw.frame().is_some() {}
    assert!(web.seen().is_empty());
}

#[test]
fn floods_of_frames_that_ask_for_nothing_end_the_connection() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let post = Frame::new(HEADERS, END_HEADERS, 1, request("POST", &[]));

    for (what, frame) in [
        ("CVE-2019-9512, ping", Frame::new(PING, 0, 0, [0; 8])),
        ("CVE-2019-9515, settings", Frame::new(SETTINGS, 0, 0, [])),
        (
            "CVE-2019-9513, priority",
            Frame::new(PRIORITY, 0, 1, [0; 5]),
        ),
        ("CVE-2019-9518, empty frames", Frame::new(DATA, 0, 1, [])),
        (
            "CVE-2019-9511, windows",
            Frame::new(WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes()),
        ),
    ] {
        let mut raw = Raw::connect(proxy.address, &[]);
        raw.send(&post);
        // Sent while what comes back is not read, as such a client would.
        for _ in 0..5_000 {
            raw.send(&frame);
        }
        let end = raw.frame_of(GOAWAY);
        assert_eq!(
            end.map(|frame| frame.code()),
            Some(11),
            "{what}: ENHANCE_YOUR_CALM"
        );
    }

    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn fields_that_grow_when_they_are_decoded_are_counted_as_what_they_are() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    // 4000 bytes go into the table, and every byte 0xbe stands for them (CVE-2016-6581).
    let large = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
    let bomb = [request("GET", &[]), large, vec![0xbe; 10_000]].concat();

    raw.send(&Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, bomb));

    // Refused, by 431 or with the connection; no server has to look at 40 MB.
    loop {
        match raw.frame() {
            Some(frame) if frame.kind == GOAWAY => break assert_eq!(frame.code(), 11),
            Some(frame) if frame.kind == HEADERS && frame.stream == 1 => break,
            Some(_) => {}
            None => panic!("closed without a reason"),
        }
    }
    assert!(web.seen().is_empty());
}

#[test]
fn a_client_that_makes_the_proxy_give_up_is_sent_away() {
    // CVE-2025-8671: the resets are the server's own, of streams that the client broke.
    let web = Upstream::start(|_, connection| {
        connection.wait_for_close();
    });
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);

    for n in 0..2000 {
        raw.send(&get(2 * n + 1));
        raw.send(&Frame::new(WINDOW_UPDATE, 0, 2 * n + 1, [0; 4]));
    }

    assert!(raw.frame_of(GOAWAY).is_some());
    assert!(web.connections() < 2000);
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_connection_stays() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    let large: &'static str = Box::leak("x".repeat(10_000).into_boxed_str());
    let one = request("GET", &[("a", large)]);
    let more = block(&[("b", large)]);

    raw.send(&Frame::new(HEADERS, END_STREAM, 1, one));
    for _ in 0..3 {
        raw.send(&Frame::new(CONTINUATION, 0, 1, more.clone()));
    }
    raw.send(&Frame::new(CONTINUATION, END_HEADERS, 1, []));
    raw.send(&get(3));

    assert_eq!(body(&mut raw, 3), b"ok");
    assert_eq!(web.seen().len(), 1);
}

#[test]
fn a_stop_lets_requests_end_and_says_goodbye() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let web = Upstream::start(move |_, connection| {
        wait.lock().unwrap().recv().unwrap();
        connection.send(answer(200, "late"));
    });
    let mut proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    raw.send(&get(1));
    wait_until("the request to be under way", || web.seen().len() == 1);

    proxy.signal(Signal::TERM);
    assert_eq!(raw.frame_of(GOAWAY).unwrap().code(), 0);
    go.send(()).unwrap();

    assert_eq!(body(&mut raw, 1), b"late");
    assert!(proxy.ended().success());
}

#[test]
fn http2_may_be_off() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "http2 = false");

    assert_eq!(proxy.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
}

#[test]
fn methods_that_no_gateway_serves_are_refused() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &[]);
    let connect = block(&[(":method", "CONNECT"), (":authority", "www.oldboy.com:443")]);

    raw.send(&Frame::new(HEADERS, END_HEADERS, 1, connect));

    assert_eq!(body(&mut raw, 1), b"405 Method Not Allowed\n");
    assert!(web.seen().is_empty());
}

#[test]
fn a_preface_in_pieces_is_one() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect_silently(proxy.address);

    for piece in [&b"PRI * HT"[..], b"TP/2.0\r\n", b"\r\nSM\r\n\r\n"] {
        raw.send_bytes(piece);
        thread::sleep(Duration::from_millis(20));
    }
    raw.send(&Frame::new(SETTINGS, 0, 0, []));
    raw.send(&get(1));

    assert_eq!(body(&mut raw, 1), b"ok");
}
