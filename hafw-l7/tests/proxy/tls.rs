//! TLS on listeners.

use std::{fs, net::SocketAddr, sync::Arc};

use rustix::process::Signal;
use rustls::{ClientConfig, HandshakeKind};

use hafw_config::Document;
use hafw_l7::model::ProxyConfig;

use crate::harness::{Authority, Client, Identity, Proxy, Upstream, answer, wait_until};

/// A `[[server]]` with TLS.
fn server(address: SocketAddr, host: &str, tls: &str, more: &str) -> String {
    format!(
        "[[server]]\nlisten = [{{ address = \"{address}\", tls = {{ {tls} }} }}]\n\
         hosts = [\"{host}\"]\n{more}\n[[server.route]]\nupstream = \"web\"\n"
    )
}

fn start(web: &Upstream, servers: impl FnOnce(SocketAddr) -> String) -> Proxy {
    let web = web.address;
    Proxy::start_with(|address| {
        let servers = servers(address);
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{web}\" }}]\n{servers}\
             [proxy]\nworkers = 2\n"
        )
    })
}

fn connect(proxy: &Proxy, config: &Arc<ClientConfig>, name: &'static str) -> Client {
    Client::connect_tls(proxy.address, Arc::clone(config), name).unwrap()
}

fn shown(client: &Client) -> &[u8] {
    &client.tls().peer_certificates().unwrap()[0]
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let bbs = ca.issue("bbs", &["bbs.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let headers = "set_headers = { X = \"$scheme $ssl_protocol $ssl_server_name\" }";
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &www.keys(), headers)
            + &server(address, "bbs.oldboy.com", &bbs.keys(), "")
    });
    let config = ca.client(None, &[]);

    let mut to_www = connect(&proxy, &config, "www.oldboy.com");
    let mut to_bbs = connect(&proxy, &config, "bbs.oldboy.com");

    assert_eq!(shown(&to_www), www.der);
    assert_eq!(shown(&to_bbs), bbs.der);
    for (client, host) in [
        (&mut to_www, "www.oldboy.com"),
        (&mut to_bbs, "bbs.oldboy.com"),
    ] {
        for _ in 0..2 {
            client.get(host, "/");
            assert_eq!(client.response().text(), "ok");
        }
    }
    assert_eq!(
        web.seen()[0].header("x"),
        Some("https TLSv1.3 www.oldboy.com")
    );
    let unknown = Client::connect_tls(proxy.address, config, "ftp.oldboy.com");
    assert!(unknown.err().unwrap().to_string().contains("certificate"));
}

#[test]
fn large_bodies_pass_both_ways() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::start(|request, connection| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        connection.send(answer(200, &body));
    });
    let more = "client_max_body_size = \"8MiB\"";
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &www.keys(), more)
    });
    let mut client = connect(&proxy, &ca.client(None, &[]), "www.oldboy.com");
    let body: String = ('a'..='z').cycle().take(3_000_000).collect();

    client.send(format!(
        "POST / HTTP/1.1\r\nHost: www.oldboy.com\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));

    assert!(client.response().text() == body);
}

#[test]
fn a_server_that_knows_its_clients_turns_others_away() {
    let ca = Authority::new("ca");
    let clients = Authority::new("clients");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let bbs = ca.issue("bbs", &["bbs.oldboy.com"]);
    let tom = clients.issue("tom", &["tom"]);
    let stranger = Authority::new("others").issue("tom", &["tom"]);
    let web = Upstream::answering(answer(200, "ok"));
    let tls = format!(
        "{}, client_ca = \"{}\"",
        www.keys(),
        clients.file().display()
    );
    let headers = "set_headers = { X = \"$ssl_client_verify $ssl_client_s_dn\" }";
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &tls, headers)
            + &server(address, "bbs.oldboy.com", &bbs.keys(), "")
    });
    let to = |identity: Option<&Identity>, name| {
        let config = ca.client(identity, &[]);
        let mut client = Client::connect_tls(proxy.address, config, name).ok()?;
        Some(move |host: &str| {
            client.get(host, "/");
            client.response().status
        })
    };
    let is_refused = |identity| {
        let config = ca.client(identity, &[]);
        // With TLS 1.3 a client learns of it after its own part of the handshake.
        let connected = Client::connect_tls(proxy.address, config, "www.oldboy.com");
        connected.map_or(true, |mut client| client.is_broken())
    };

    assert_eq!(
        to(Some(&tom), "www.oldboy.com").unwrap()("www.oldboy.com"),
        200
    );
    let subject = web.seen()[0].header("x").map(str::to_owned);
    assert_eq!(subject.as_deref(), Some("SUCCESS O=Oldboy\\, Inc,CN=tom"));
    assert!(is_refused(None));
    assert!(is_refused(Some(&stranger)));
    // Whoever was let in by another name does not get there by Host.
    assert_eq!(to(None, "bbs.oldboy.com").unwrap()("www.oldboy.com"), 421);
    assert_eq!(to(None, "bbs.oldboy.com").unwrap()("bbs.oldboy.com"), 200);
}

#[test]
fn a_revoked_certificate_is_turned_away_also_after_a_reload() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let (tom, eve) = (ca.issue("tom", &["tom"]), ca.issue("eve", &["eve"]));
    let web = Upstream::answering(answer(200, "ok"));
    let crl = ca.revoke("crl.pem", &[&eve]);
    let tls = format!(
        "{}, client_ca = \"{}\", client_crl = \"{}\"",
        www.keys(),
        ca.file().display(),
        crl.display()
    );
    let proxy = start(&web, |address| server(address, "www.oldboy.com", &tls, ""));
    let is_served = |config: &Arc<ClientConfig>| {
        let connected = Client::connect_tls(proxy.address, Arc::clone(config), "www.oldboy.com");
        // With TLS 1.3 a client learns of it after its own part of the handshake.
        connected.is_ok_and(|mut client| {
            let get = b"GET / HTTP/1.1\r\nHost: www.oldboy.com\r\nConnection: close\r\n\r\n";
            client
                .send_and_read(get)
                .is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
        })
    };
    let (of_tom, of_eve) = (ca.client(Some(&tom), &[]), ca.client(Some(&eve), &[]));

    assert!(is_served(&of_tom));
    assert!(!is_served(&of_eve));
    ca.revoke("crl.pem", &[&eve, &tom]);
    let before = proxy.status().config;
    make_readable(&proxy);
    proxy.signal(Signal::HUP);
    wait_until("the new list", || proxy.status().config != before);
    // Not by the session of before either.
    assert!(!is_served(&of_tom));
}

#[test]
#[ignore = "needs openssl and curl"]
fn versions_and_ciphers_are_those_of_the_file_and_the_response_is_stapled() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let bbs = ca.issue("bbs", &["bbs.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let ocsp = ca.file().with_file_name("ocsp.der");
    // A response without an answer: RFC 6960's tryLater.
    fs::write(&ocsp, [0x30, 3, 0x0a, 1, 3]).unwrap();
    let new = format!(
        "{}, min_version = \"1.3\", ciphers = [\"TLS_CHACHA20_POLY1305_SHA256\"], ocsp = \"{}\"",
        www.keys(),
        ocsp.display()
    );
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &new, "")
            + &server(address, "bbs.oldboy.com", &bbs.keys(), "")
    });
    let output = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program)
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let address = proxy.address.to_string();
    let openssl = |name: &str, more: &[&str]| {
        let args = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            name,
            "-status",
        ];
        output("openssl", &[&args[..], more].concat())
    };

    let said = openssl("www.oldboy.com", &[]);
    assert!(
        said.contains("TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256"),
        "{said}"
    );
    assert!(said.contains("trylater"), "{said}");
    let said = openssl("www.oldboy.com", &["-tls1_2"]);
    assert!(said.contains("Cipher is (NONE)"), "{said}");
    let said = openssl("bbs.oldboy.com", &["-tls1_2"]);
    assert!(said.contains("TLSv1.2, Cipher is ECDHE-"), "{said}");

    let curl = |name: &str, version: &str| {
        let (host, port) = address.split_once(':').unwrap();
        let ca = ca.file().display().to_string();
        let to = format!("{name}:{port}:{host}");
        let url = format!("https://{name}:{port}/");
        let args = [
            "-sS",
            "--cacert",
            &ca,
            "--resolve",
            &to,
            "--tls-max",
            version,
            &url,
        ];
        output("curl", &args)
    };
    assert_eq!(curl("bbs.oldboy.com", "1.2"), "ok");
    assert_eq!(curl("www.oldboy.com", "1.3"), "ok");
    assert!(curl("www.oldboy.com", "1.2").contains("curl: (35)"));
}

#[test]
fn a_certificate_may_be_optional() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let tls = format!(
        "{}, client_ca = \"{}\", client_certificate = \"optional\"",
        www.keys(),
        ca.file().display()
    );
    let headers = "set_headers = { X = \"$ssl_client_verify\" }";
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &tls, headers)
    });

    for identity in [None, Some(&ca.issue("tom", &["tom"]))] {
        let mut client = connect(&proxy, &ca.client(identity, &[]), "www.oldboy.com");
        client.get("www.oldboy.com", "/");
        assert_eq!(client.response().status, 200);
    }

    let seen: Vec<_> = web
        .seen()
        .iter()
        .map(|r| r.header("x").unwrap().to_owned())
        .collect();
    assert_eq!(seen, ["NONE", "SUCCESS"]);
}

#[test]
fn sessions_are_resumed_by_any_worker_and_after_a_reload() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &www.keys(), "")
    });
    let config = ca.client(None, &[]);
    let kind = || {
        let mut client = connect(&proxy, &config, "www.oldboy.com");
        client.get("www.oldboy.com", "/");
        assert_eq!(client.response().text(), "ok");
        client.tls().handshake_kind()
    };

    assert_eq!(kind(), Some(HandshakeKind::Full));
    for _ in 0..8 {
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
    }
    let before = proxy.status().config;
    make_readable(&proxy);
    let text = fs::read_to_string(proxy.file()).unwrap();
    fs::write(
        proxy.file(),
        text.replace(
            "[[server.route]]",
            "read_timeout = \"7s\"\n[[server.route]]",
        ),
    )
    .unwrap();
    proxy.signal(Signal::HUP);
    wait_until("the new configuration", || proxy.status().config != before);

    assert_eq!(kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_old_connections_go_on() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &www.keys(), "")
    });
    let mut old = connect(&proxy, &ca.client(None, &[]), "www.oldboy.com");
    old.get("www.oldboy.com", "/");
    assert_eq!(old.response().text(), "ok");
    let before = proxy.status().config;
    let new = ca.issue("new", &["www.oldboy.com"]);

    make_readable(&proxy);
    www.replace_with(&new);
    proxy.signal(Signal::HUP);
    wait_until("the new certificate", || proxy.status().config != before);

    let client = connect(&proxy, &ca.client(None, &[]), "www.oldboy.com");
    assert_eq!(shown(&client), new.der);
    old.get("www.oldboy.com", "/");
    assert_eq!(old.response().text(), "ok");
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "ok"));
    let more = "client_header_timeout = \"300ms\"";
    let proxy = start(&web, |address| {
        server(address, "www.oldboy.com", &www.keys(), more)
    });

    let mut plain = proxy.client();
    plain.get("www.oldboy.com", "/");
    plain.rest();
    let mut silent = proxy.client();
    silent.rest();

    let totals = proxy.status().totals;
    assert_eq!((totals.tls_failed, totals.client_timeouts), (1, 1));
    assert!(web.seen().is_empty());
}

/// What `check` says of a server: mistakes, then warnings.
fn check(tls: &str) -> String {
    let address = "127.0.0.1:443".parse().unwrap();
    let cluster = "[[upstream]]\nname = \"web\"\nserver = [{ address = \"127.0.0.1:80\" }]\n";
    let text = cluster.to_owned() + &server(address, "www.oldboy.com", tls, "");
    let document = Document::parse("hafw.toml", &text).unwrap();
    let _ = ProxyConfig::read(&document);
    let warnings: Vec<_> = document
        .warnings()
        .iter()
        .map(|w| w.message.clone())
        .collect();
    document.into_problems().to_string() + &warnings.join("\n")
}

#[test]
fn check_names_what_is_wrong_with_a_certificate() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let bbs = ca.issue("bbs", &["bbs.oldboy.com"]);
    let old = ca.issue_expired("old", &["www.oldboy.com"]);
    let (www_file, bbs_key) = (www.certificate.display(), bbs.key.display());

    assert_eq!(check(&www.keys()), "");
    for (tls, expected) in [
        (
            format!("certificate = \"{www_file}\", key = \"{bbs_key}\""),
            format!("key = \"{bbs_key}\": not the certificate's key"),
        ),
        (
            format!("certificate = \"{bbs_key}\", key = \"{bbs_key}\""),
            format!("certificate = \"{bbs_key}\": no certificate in PEM"),
        ),
        (
            format!("certificate = \"{www_file}\", key = \"{www_file}\""),
            format!("key = \"{www_file}\": no private key in PEM"),
        ),
        (
            format!("certificate = \"/nowhere\", key = \"{bbs_key}\""),
            "certificate = \"/nowhere\": cannot read it: No such file".to_owned(),
        ),
        (
            format!("{}, ocsp = \"{www_file}\"", www.keys()),
            format!("ocsp = \"{www_file}\": not an OCSP response"),
        ),
        (
            format!("{}, client_certificate = \"optional\"", www.keys()),
            "client_certificate = \"optional\": needs a client_ca".to_owned(),
        ),
        (
            format!("{}, client_ca = \"{bbs_key}\"", www.keys()),
            "no certificate in PEM".to_owned(),
        ),
        (
            format!("{}, ciphers = [\"RC4\"]", www.keys()),
            "ciphers: \"RC4\" is none of TLS_".to_owned(),
        ),
        (
            format!("{}, client_crl = \"{www_file}\"", www.keys()),
            "needs a client_ca".to_owned(),
        ),
        (old.keys(), "certificate: it expired on".to_owned()),
        (
            bbs.keys(),
            "certificate: it is not for \"www.oldboy.com\"".to_owned(),
        ),
    ] {
        let said = check(&tls);
        assert!(said.contains(&expected), "{said}\nexpected {expected}");
    }
}

#[test]
fn servers_of_one_address_all_have_tls_or_none_has() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let plain = "\n[[server]]\nlisten = [\"127.0.0.1:443\"]\nhosts = [\"b\"]\n\
                 [[server.route]]\nupstream = \"web\"\n";
    let address = "127.0.0.1:443".parse().unwrap();
    let cluster = "[[upstream]]\nname = \"web\"\nserver = [{ address = \"127.0.0.1:80\" }]\n";
    let text = cluster.to_owned() + &server(address, "www.oldboy.com", &www.keys(), "") + plain;

    let document = Document::parse("hafw.toml", &text).unwrap();
    let _ = ProxyConfig::read(&document);

    let said = document.into_problems().to_string();
    assert!(
        said.contains("some servers on 127.0.0.1:443 have tls"),
        "{said}"
    );
}

/// Lets the proxy, which is nobody by now, read its file again.
fn make_readable(proxy: &Proxy) {
    use std::os::unix::fs::PermissionsExt as _;

    let file = proxy.file();
    let dir = file.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}
