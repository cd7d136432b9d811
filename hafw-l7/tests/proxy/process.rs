//! The process: signals, the control socket, privileges.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Proxy, Upstream, answer, wait_until};

#[test]
fn the_control_socket_tells_the_state() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let mut client = proxy.client();
    client.get("www.oldboy.com", "/");
    client.response();

    let status = proxy.status();

    assert_eq!(status.pid, proxy.pid());
    assert_eq!(status.version, hafw_l7::VERSION);
    assert_eq!(status.listeners, [proxy.address]);
    assert!(!status.stopping);
    assert_eq!(status.workers.len(), 1);
    assert!(status.workers[0].alive);
    assert_eq!(status.totals.active, 1);
    assert_eq!(status.totals.answers, [0, 1, 0, 0, 0]);
    let server = &status.upstreams[0].servers[0];
    assert_eq!((server.attempts, server.connects, server.idle), (1, 1, 1));
    assert_eq!(status.upstreams[0].name, "web");
}

#[test]
fn what_the_control_socket_does_not_understand_is_refused() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");

    for line in ["status", "{}", r#"{"cmd":"fly"}"#] {
        let reply = proxy.control(line);
        assert!(
            reply.starts_with(r#"{"refused":"not understood"#),
            "{reply}"
        );
    }
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn a_stop_lets_requests_end_and_closes_idle_connections() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let web = Upstream::start(move |_, connection| {
        wait.lock().unwrap().recv().unwrap();
        connection.send(answer(200, "late"));
    });
    let mut proxy = Proxy::over(&[web.address], "");
    let mut idle = proxy.client();
    let mut busy = proxy.client();
    busy.get("www.oldboy.com", "/");
    wait_until("the request", || web.seen().len() == 1);

    proxy.signal(Signal::TERM);

    assert!(idle.is_closed());
    wait_until("the listener to close", || !proxy.accepts());
    assert!(proxy.status().stopping);
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!(response.text(), "late");
    assert_eq!(response.header("connection"), Some("close"));
    assert!(proxy.ended().success());
}

#[test]
fn a_changed_file_is_put_into_force_without_a_break() {
    let web = Upstream::answering(answer(200, "old"));
    let new = Upstream::answering(answer(200, "new"));
    let proxy = Proxy::over(&[web.address], "");
    let mut client = proxy.client();
    client.get("www.oldboy.com", "/");
    assert_eq!(client.response().text(), "old");
    let old_config = proxy.status().config;

    let text = fs::read_to_string(proxy.file()).unwrap();
    let text = text.replace(&web.address.to_string(), &new.address.to_string());
    make_readable(&proxy);
    fs::write(proxy.file(), text).unwrap();
    proxy.signal(Signal::HUP);

    wait_until("the new configuration", || {
        proxy.status().config != old_config
    });
    client.get("www.oldboy.com", "/");
    assert_eq!(client.response().text(), "new", "on the same connection");
}

#[test]
fn a_bad_file_changes_nothing() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");
    let config = proxy.status().config;

    make_readable(&proxy);
    fs::write(proxy.file(), "[[server]]\n").unwrap();
    proxy.signal(Signal::HUP);

    wait_until("the file to be refused", || {
        proxy.log().contains("nothing has changed")
    });
    assert!(proxy.log().contains("expected a [[server.route]]"));
    assert_eq!(proxy.status().config, config);
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn a_bad_file_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hafw.toml");
    fs::write(&path, "[[server]]\nlisten = [\"here\"]\n").unwrap();

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hafw-l7"))
        .arg("-c")
        .arg(&path)
        .output()
        .unwrap();

    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        text.contains("hafw.toml:2:11: server: listen: \"here\""),
        "{text}"
    );
}

#[test]
fn the_proxy_has_no_privileges() {
    let web = Upstream::answering(answer(200, "ok"));
    let proxy = Proxy::over(&[web.address], "");

    for task in fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        if rustix::process::geteuid().is_root() {
            assert_eq!(field("CapBnd"), "0000000000000000");
            assert_eq!(field("Groups"), "");
            assert!(!field("Uid").split('\t').any(|uid| uid == "0"));
            assert!(!field("Gid").split('\t').any(|gid| gid == "0"));
        }
    }
    assert_eq!(proxy.get("/").text(), "ok", "and serves");
}

/// The proxy reads its file again as nobody.
fn make_readable(proxy: &Proxy) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = proxy.file().parent().unwrap().to_owned();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}
