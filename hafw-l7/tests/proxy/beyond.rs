//! Connections to upstream servers that are more than TCP, and the PROXY protocol: a proxy in front
//! of another one.

use std::net::SocketAddr;

use crate::{
    harness::{Authority, Client, Proxy, Response, Upstream, answer},
    http2::frames::{
        DATA, END_HEADERS, END_STREAM, Frame, HEADERS, RST_STREAM, Raw, block, request,
    },
};

/// A proxy whose one server takes all names; `listen` and `upstream` are further keys.
fn proxy(to: SocketAddr, listen: &str, upstream: &str, server: &str) -> Proxy {
    Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{to}\" }}]\n{upstream}\n\
             [[server]]\nlisten = [{{ address = \"{address}\"{listen} }}]\ndefault = true\n\
             client_max_body_size = \"64MiB\"\n{server}\n[[server.route]]\nupstream = \"web\"\n\
             [proxy]\nworkers = 1\n"
        )
    })
}

fn post(proxy: &Proxy, body: &str) -> Response {
    proxy.ask(format!(
        "POST / HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Answers with the request's body.
fn echo() -> Upstream {
    Upstream::start(|request, connection| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        connection.send(answer(200, &body));
    })
}

#[test]
fn servers_are_asked_by_tls_and_checked() {
    let (ca, clients) = (Authority::new("ca"), Authority::new("clients"));
    let www = ca.issue("www", &["www.oldboy.com"]);
    let front = clients.issue("front", &["front"]);
    let web = echo();
    let tls = format!(
        ", tls = {{ {}, client_ca = \"{}\" }}",
        www.keys(),
        clients.file().display()
    );
    let headers = "set_headers = { X = \"$ssl_client_s_dn\" }";
    let back = proxy(web.address, &tls, "", headers);
    let body: String = ('a'..='z').cycle().take(1_000_000).collect();
    let asked = |keys: &str| {
        let front = proxy(back.address, "", &format!("tls = {{ {keys} }}"), "");
        (0..2).for_each(|_| drop(post(&front, &body)));
        (
            post(&front, &body),
            front.status().upstreams[0].servers[0].connects,
        )
    };
    let trust = format!("ca = \"{}\"", ca.file().display());
    let show = front.keys();

    let (response, connects) = asked(&format!(
        "{trust}, server_name = \"www.oldboy.com\", {show}"
    ));

    assert!(response.text() == body);
    assert_eq!(connects, 1, "the connection is kept");
    assert_eq!(web.seen()[0].header("x"), Some("O=Oldboy\\, Inc,CN=front"));
    let unchecked = asked(&format!("verify = false, {show}")).0;
    assert_eq!(unchecked.status, 200);
    for wrong in [
        format!("{trust}, server_name = \"bbs.oldboy.com\", {show}"),
        format!("{trust}, {show}"),
        format!(
            "ca = \"{}\", server_name = \"www.oldboy.com\", {show}",
            clients.file().display()
        ),
        format!("{trust}, server_name = \"www.oldboy.com\""),
    ] {
        assert_eq!(asked(&wrong).0.status, 502, "{wrong}");
    }
}

#[test]
fn servers_are_asked_over_http2_on_one_connection() {
    let web = echo();
    let back = proxy(web.address, "", "", "");
    let front = proxy(back.address, "", "http2 = true", "");
    let body: String = ('a'..='z').cycle().take(1_000_000).collect();

    for body in ["", "small", &body] {
        assert!(post(&front, body).text() == body);
    }
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-T: y\r\n\r\n";
    assert_eq!(front.ask(chunked).status, 200);

    assert_eq!(back.status().totals.accepted, 1);
    let seen = web.seen();
    assert_eq!(seen[3].body, b"3\r\nabc\r\n0\r\nx-t: y\r\n\r\n");
    assert_eq!(front.get("/").status, 200);
}

#[test]
fn interim_answers_and_trailers_pass_through_two_proxies() {
    let web = Upstream::start(|_, connection| {
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        connection.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\nX-T: y\r\n\r\n",
        );
    });
    let back = proxy(web.address, "", "", "");
    let front = proxy(back.address, "", "http2 = true", "");
    let mut client = front.client();

    client.get("www.oldboy.com", "/");

    let early = client.response_head();
    assert_eq!((early.status, early.header("link")), (103, Some("</a>")));
    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.take(22), b"4\r\nbody\r\n0\r\nx-t: y\r\n\r\n");
}

#[test]
fn a_shared_connection_that_broke_is_replaced_unseen() {
    let web = echo();
    let mut back = proxy(web.address, "", "", "keepalive_timeout = \"200ms\"");
    let front = proxy(back.address, "", "http2 = true", "");
    assert_eq!(post(&front, "a").text(), "a");

    crate::harness::wait_until("the idle connection to close", || {
        back.status().totals.active == 0
    });

    assert_eq!(front.get("/").status, 200);
    assert_eq!(front.status().totals.failed, 0);
    back.signal(rustix::process::Signal::TERM);
    assert!(back.ended().success());
    assert_eq!(front.get("/").status, 502);
}

#[test]
fn a_request_that_is_given_up_is_given_up_through_two_proxies() {
    let (gone, seen) = std::sync::mpsc::channel();
    let web = Upstream::start(move |_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
        gone.send(connection.wait_for_close()).unwrap();
    });
    let back = proxy(web.address, "", "", "");
    let front = proxy(back.address, "", "http2 = true", "");
    let mut raw = Raw::connect(front.address, &[]);
    raw.send(&Frame::new(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        request("GET", &[]),
    ));
    raw.frame_of(DATA).unwrap();

    raw.send(&Frame::new(RST_STREAM, 0, 1, 8_u32.to_be_bytes()));

    assert!(seen.recv_timeout(crate::harness::PATIENCE).unwrap());
}

#[test]
fn both_directions_of_a_request_run_at_once() {
    let web = Upstream::start_raw(|connection, _| {
        connection.head().unwrap();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Each message of the client is answered before the next one comes.
        while let Some(bytes) = connection.take(6) {
            connection.send(bytes);
        }
    });
    let back = proxy(web.address, "", "", "");
    let front = proxy(back.address, "", "http2 = true", "");
    let mut raw = Raw::connect(front.address, &[]);
    raw.send(&Frame::new(HEADERS, END_HEADERS, 1, request("POST", &[])));

    for message in [b"a", b"b", b"c"] {
        raw.send(&Frame::new(DATA, 0, 1, message));
        assert_eq!(raw.frame_of(DATA).unwrap().payload, message);
    }
}

#[test]
fn a_proxy_header_tells_who_the_client_is() {
    let web = Upstream::answering(answer(200, "ok"));
    let headers = "set_headers = { X = \"$remote_addr $remote_port $server_addr $server_port\" }";
    let back = proxy(web.address, ", proxy_protocol = true", "", headers);
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 1, 192, 0, 2, 9, 0x13, 0x88, 0, 80],
    ]
    .concat();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n"[..], &v2] {
        assert_eq!(back.ask([header, get].concat()).status, 200);
    }
    for version in ["v1", "v2"] {
        let key = format!("proxy_protocol = \"{version}\"");
        let front = proxy(back.address, "", &key, "");
        let mut client = front.client();
        let port = client.local_address().port();
        for _ in 0..2 {
            client.get("www.oldboy.com", "/");
            assert_eq!(client.response().text(), "ok");
        }
        let seen = web.seen();
        let expected = format!(
            "127.0.0.1 {port} {}",
            front.address.to_string().replace(':', " ")
        );
        assert_eq!(
            seen.last().unwrap().header("x"),
            Some(&*expected),
            "{version}"
        );
    }

    for request in &web.seen()[..2] {
        assert_eq!(request.header("x"), Some("192.0.2.1 5000 192.0.2.9 80"));
    }
    let mut without = back.client();
    without.get("a", "/");
    without.rest();
    assert_eq!(back.status().totals.proxy_failed, 1);
}

#[test]
fn a_proxy_header_is_for_trusted_sources_only() {
    let web = Upstream::answering(answer(200, "ok"));
    let listen = ", proxy_protocol = true, trusted = [\"192.0.2.0/24\"]";
    let proxy = proxy(web.address, listen, "", "");

    assert_eq!(proxy.get("/").status, 200);
    let forged = b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(proxy.ask(forged).status, 400);
}

#[test]
fn tls_and_http2_come_after_a_proxy_header() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let listen = format!(", proxy_protocol = true, tls = {{ {} }}", www.keys());
    let back = proxy(web.address, &listen, "", "");
    let tls = format!(
        "proxy_protocol = \"v2\"\ntls = {{ ca = \"{}\", server_name = \"www.oldboy.com\" }}",
        ca.file().display()
    );
    let front = proxy(back.address, "", &tls, "");

    assert_eq!(front.get("/").text(), "ok");
    let http2 = ca.client(None, &["h2"]);
    assert!(
        Client::connect_tls(back.address, http2, "www.oldboy.com").is_err(),
        "no header"
    );
}

#[test]
fn http2_is_agreed_on_by_tls() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = echo();
    let back = proxy(
        web.address,
        &format!(", tls = {{ {} }}", www.keys()),
        "",
        "",
    );
    let tls = format!(
        "http2 = true\ntls = {{ ca = \"{}\", server_name = \"www.oldboy.com\" }}",
        ca.file().display()
    );
    let front = proxy(back.address, "", &tls, "");

    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let config = ca.client(None, offered);
        let client = Client::connect_tls(back.address, config, "www.oldboy.com").unwrap();
        assert_eq!(client.tls().alpn_protocol(), agreed);
    }
    assert_eq!(post(&front, "by both").text(), "by both");
}

#[test]
fn what_grpc_needs_is_there() {
    let web = Upstream::answering(answer(200, "ok"));
    let back = proxy(web.address, "", "", "");
    let front = proxy(back.address, "", "http2 = true", "");
    let mut raw = Raw::connect(front.address, &[]);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/helloworld.Greeter/SayHello"),
        (":authority", "a"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];

    raw.send(&Frame::new(HEADERS, END_HEADERS, 1, block(&fields)));
    raw.send(&Frame::new(DATA, END_STREAM, 1, [0, 0, 0, 0, 0]));

    assert_eq!(raw.frame_of(DATA).unwrap().payload, b"ok");
    let seen = web.seen();
    assert_eq!(seen[0].header("content-type"), Some("application/grpc"));
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[test]
fn a_websocket_passes_both_ways_until_one_end_closes() {
    let (gone, seen) = std::sync::mpsc::channel();
    let web = Upstream::start_raw(move |connection, _| {
        let head = connection.head().unwrap();
        assert!(
            head.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
            "{head}"
        );
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
        );
        while let Some(bytes) = connection.take(3) {
            connection.send(bytes);
        }
        gone.send(()).unwrap();
    });
    let proxy = proxy(web.address, "", "", "client_body_timeout = \"200ms\"");
    let mut client = proxy.client();

    client.send(UPGRADE);
    let head = client.response_head();

    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(client.take(2), b"hi");
    for word in ["one", "two"] {
        std::thread::sleep(std::time::Duration::from_millis(500));
        client.send(word);
        assert_eq!(client.take(3), word.as_bytes());
    }
    drop(client);
    seen.recv_timeout(crate::harness::PATIENCE).unwrap();
}

#[test]
fn a_silent_tunnel_ends_and_one_that_nobody_asked_for_is_none() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let web = Upstream::start_raw(move |connection, _| {
        connection.head().unwrap();
        connection.send(switch);
        connection.wait_for_close();
    });
    let proxy = proxy(web.address, "", "", "read_timeout = \"300ms\"");

    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.response_head().status, 101);
    assert!(client.is_reset() || client.is_closed());
    assert_eq!(proxy.get("/").status, 502);
    let old = UPGRADE.replace("websocket", "h2c");
    assert_eq!(proxy.ask(old).status, 502);
}
