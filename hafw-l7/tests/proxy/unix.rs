//! Servers on unix sockets, and nginx as a server by TLS.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use tempfile::TempDir;

use crate::harness::{Authority, Nginx, Proxy, Upstream, answer, wait_until};

/// A folder in which the proxy, which is nobody by then, finds sockets.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Passes connections of a unix socket on to a server.
fn relay(path: &Path, to: SocketAddr) {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(to).unwrap();
            let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || copy(&mut from, &mut into));
            thread::spawn(move || {
                let (mut server, mut client) = (server, client);
                let _ = io::copy(&mut server, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
}

fn copy(from: &mut UnixStream, into: &mut TcpStream) {
    let _ = io::copy(from, into);
    let _ = into.shutdown(std::net::Shutdown::Write);
}

/// A proxy over one server, with further keys of its cluster.
fn proxy(server: &str, cluster: &str) -> Proxy {
    Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"app\"\nserver = [{{ address = \"{server}\" }}]\n{cluster}\n\
             [[server]]\nlisten = [\"{address}\"]\ndefault = true\n\
             [[server.route]]\nupstream = \"app\"\n[proxy]\nworkers = 1\n"
        )
    })
}

#[test]
fn a_unix_socket_is_a_server_like_another() {
    let dir = folder();
    let path = dir.path().join("app.sock");
    let web = Upstream::start(|request, connection| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        connection.send(answer(200, &format!("{} {body}", request.line())));
    });
    relay(&path, web.address);
    let server = format!("unix:{}", path.display());
    let proxy = proxy(&server, "health = { http = \"/up\", interval = \"20ms\" }");
    wait_until("a probe", || !web.seen().is_empty());
    assert_eq!(web.seen()[0].header("host"), Some("localhost"));

    let mut client = proxy.client();
    for _ in 0..3 {
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.response().text(), "POST /a HTTP/1.1 body");
    }

    let app = &proxy.status().upstreams[0].servers[0];
    assert_eq!(
        (app.address.as_str(), app.connects, app.idle),
        (server.as_str(), 1, 1)
    );
}

#[test]
fn a_kept_connection_to_a_unix_socket_that_closed_is_replaced_unseen() {
    let dir = folder();
    let path = dir.path().join("app.sock");
    let web = Upstream::start(|_, connection| {
        connection.send(answer(200, "once"));
        connection.close();
    });
    relay(&path, web.address);
    let proxy = proxy(&format!("unix:{}", path.display()), "");

    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "once");
    }

    assert_eq!(proxy.status().totals.failed, 0);
}

#[test]
fn a_unix_socket_that_is_not_there_is_a_server_that_is_down() {
    let proxy = proxy("unix:/nowhere/app.sock", "");

    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(proxy.status().upstreams[0].servers[0].failures, 1);
}

#[test]
#[ignore = "needs nginx"]
fn nginx_is_asked_by_a_unix_socket_and_by_tls_and_its_certificate_is_checked() {
    let dir = folder();
    let path = dir.path().join("nginx.sock");
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let app = ca.issue("app", &["app.oldboy.com"]);
    let front = ca.issue("front", &["front"]);
    let nginx = Nginx::start(|address| {
        format!(
            "server {{ listen unix:{}; location / {{ return 200 \"unix $request_uri\"; }} }}\n\
             server {{ listen {address} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
             ssl_client_certificate {}; ssl_verify_client on;\n\
             location / {{ return 200 \"$ssl_server_name $ssl_client_s_dn $server_protocol\"; }} }}",
            path.display(),
            app.certificate.display(),
            app.key.display(),
            ca.file().display(),
        )
    });
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let by_tls = |name: &str, ca: &Authority, more: &str| {
        let tls = format!(
            "tls = {{ ca = \"{}\", server_name = \"{name}\", {} }}\n{more}",
            ca.file().display(),
            front.keys()
        );
        proxy(&nginx.address.to_string(), &tls).get("/a?b")
    };

    let by_unix = proxy(&format!("unix:{}", path.display()), "").get("/a?b");

    assert_eq!(by_unix.text(), "unix /a?b");
    let dn = "O=Oldboy\\, Inc,CN=front";
    let good = by_tls("app.oldboy.com", &ca, "");
    assert_eq!(good.text(), format!("app.oldboy.com {dn} HTTP/1.1"));
    let http2 = by_tls("app.oldboy.com", &ca, "http2 = true");
    assert_eq!(http2.text(), format!("app.oldboy.com {dn} HTTP/2.0"));
    assert_eq!(by_tls("bbs.oldboy.com", &ca, "").status, 502);
    assert_eq!(by_tls("app.oldboy.com", &other, "").status, 502);
}
