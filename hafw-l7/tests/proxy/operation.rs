//! What an operator sees and does: logs, counters, reloads under load.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::Signal;

use crate::harness::{Client, Proxy, Upstream, answer, wait_for, wait_until};

/// A folder that the proxy, which runs as nobody, may write to.
fn log_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

#[test]
fn requests_are_logged_and_the_file_can_be_moved_away() {
    let web = Upstream::answering(answer(200, "hello"));
    let folder = log_folder();
    let (access, json) = (
        folder.path().join("access.log"),
        folder.path().join("json.log"),
    );
    let proxy = Proxy::start(
        &[("web", &[web.address])],
        &format!(
            r#"
access_log = {{ file = "{}" }}
[[server.route]]
path_prefix = "/json"
access_log = {{ file = "{}", format = "json" }}
upstream = "web"
[[server.route]]
path_prefix = "/quiet"
access_log = {{ off = true }}
upstream = "web"
[[server.route]]
path_prefix = "/own"
respond = {{ status = 403, body = "no\n" }}
[[server.route]]
path_exact = "/"
upstream = "web"
"#,
            access.display(),
            json.display()
        ),
    );
    let text = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
    let host = "Host: www.oldboy.com\r\n";

    proxy.ask(format!(
        "GET / HTTP/1.1\r\n{host}User-Agent: a \"quoted\" one\r\nReferer: http://x/\r\n\r\n"
    ));
    proxy.ask(format!("GET /own HTTP/1.0\r\n{host}\r\n"));
    proxy.ask(format!("GET /quiet HTTP/1.1\r\n{host}\r\n"));
    proxy.ask(format!("GET /nothing HTTP/1.1\r\n{host}\r\n"));
    proxy.ask(format!("GET /json HTTP/1.1\r\n{host}\r\n"));

    wait_until("three lines", || text(&access).lines().count() == 3);
    let lines = text(&access);
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
    assert!(
        lines[0]
            .ends_with("+0000] \"GET / HTTP/1.1\" 200 5 \"http://x/\" \"a \\x22quoted\\x22 one\""),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].ends_with("\"GET /own HTTP/1.0\" 403 3 \"-\" \"-\""),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("\"GET /nothing HTTP/1.1\" 404 "),
        "{}",
        lines[2]
    );
    let line = wait_for("the line in JSON", || {
        text(&json).lines().next().map(str::to_owned)
    });
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["upstream"], web.address.to_string());
    assert_eq!(value["host"], "www.oldboy.com");
    assert_eq!(value["bytes"], 5);

    let moved = folder.path().join("access.log.1");
    fs::rename(&access, &moved).unwrap();
    proxy.signal(Signal::USR1);
    wait_until("a new file", || access.exists());
    proxy.get("/");
    wait_until("a line in it", || text(&access).lines().count() == 1);
    assert_eq!(text(&moved).lines().count(), 3);
}

#[test]
fn a_log_that_cannot_be_opened_is_refused() {
    let web = Upstream::answering(answer(200, "hello"));
    let proxy = Proxy::over(&[web.address], "");
    let text = fs::read_to_string(proxy.file()).unwrap();
    let bad = text.replace(
        "hosts =",
        "access_log = { file = \"/proc/no/such.log\" }\nhosts =",
    );

    fs::write(proxy.file(), bad).unwrap();
    proxy.signal(Signal::HUP);

    wait_until("the refusal", || proxy.log().contains("/proc/no/such.log"));
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn routes_and_servers_are_counted_with_their_latency() {
    let web = Upstream::answering(answer(200, "hello"));
    let proxy = Proxy::start(
        &[("web", &[web.address])],
        "[[server.route]]\npath_prefix = \"/a\"\nupstream = \"web\"\n\
         [[server.route]]\npath_exact = \"/b\"\nrespond = { status = 503 }\n",
    );

    for path in ["/a", "/a/b", "/b", "/c"] {
        proxy.get(path);
    }

    let status = proxy.status();
    let counted: Vec<_> = status
        .routes
        .iter()
        .map(|route| {
            let measured: u64 = route.latency.buckets.iter().sum();
            (&*route.server, &*route.route, route.answers, measured)
        })
        .collect();
    assert_eq!(
        counted,
        [
            ("www.oldboy.com", "/a", [0, 2, 0, 0, 0], 2),
            ("www.oldboy.com", "= /b", [0, 0, 0, 0, 1], 1),
            ("www.oldboy.com", "", [0, 0, 0, 1, 0], 1),
        ]
    );
    let server = &status.upstreams[0].servers[0];
    assert_eq!(server.latency.buckets.iter().sum::<u64>(), 2);
}

#[test]
fn reloads_under_load_lose_no_request() {
    let web = Upstream::answering(answer(200, "hello"));
    let proxy = Proxy::over(&[web.address], "");
    let text = fs::read_to_string(proxy.file()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, address) = (Arc::clone(&stop), proxy.address);
            thread::spawn(move || {
                let mut kept = Client::connect(address);
                let mut asked = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    // Half of them on connections of their own.
                    if client % 2 == 0 {
                        kept = Client::connect(address);
                    }
                    kept.get("www.oldboy.com", "/");
                    assert_eq!(kept.response().text(), "hello");
                    asked += 1;
                }
                asked
            })
        })
        .collect();

    let mut last = proxy.status().config;
    for round in 0..8 {
        let more = format!("set_headers = {{ X-Round = \"{round}\" }}\nhosts =");
        fs::write(proxy.file(), text.replace("hosts =", &more)).unwrap();
        proxy.signal(Signal::HUP);
        last = wait_for("the new configuration", || {
            let now = proxy.status().config;
            (now != last).then_some(now)
        });
    }
    stop.store(true, Ordering::Relaxed);

    let asked: u32 = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let status = proxy.status();
    assert_eq!(status.totals.answers[1], u64::from(asked));
    assert_eq!(status.totals.failed + status.totals.refused, 0);
    let counted = |route: &hafw_l7::counters::RouteCounters| route.answers[1];
    assert_eq!(
        status.routes.iter().map(counted).sum::<u64>(),
        u64::from(asked)
    );
}
