use std::{fs, path::Path, time::SystemTime};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::sleep,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn event(kind: Kind, name: &str, state: State, priority: u8) -> Event {
    Event {
        kind,
        name: name.into(),
        state,
        priority,
        reason: "why".into(),
        at: SystemTime::UNIX_EPOCH,
    }
}

fn alerting() -> Alerting {
    Alerting {
        email: None,
        webhook: None,
        exec: None,
        events: vec![Kind::Router, Kind::Check],
        interval: Duration::from_millis(10),
    }
}

/// A hook that writes its arguments into a file, a line a call.
fn hook(folder: &Path) -> Alerting {
    let user = rustix::process::geteuid().as_raw();
    let text = format!(
        "[node]\nid = \"lb01\"\n\
         [[virtual_router]]\nname = \"r\"\ninterface = \"eth0\"\nvrid = 1\nvips = [\"10.0.0.3\"]\n\
         [alerts]\nexec_user = \"{user}\"\nevents = [\"router\", \"check\"]\ninterval = \"10ms\"\n\
         exec = [\"/bin/sh\", \"-c\", 'echo \"$@\" >>{}/calls', \"hook\", \"own\"]\n",
        folder.display()
    );
    crate::config::parse("f", &text).unwrap().alerts.unwrap()
}

#[tokio::test]
async fn hooks_get_keepalived_s_words_of_what_is_news() {
    let folder = TempDir::new().unwrap();
    let alerts = Alerts::start(Some(&hook(folder.path())), "lb01").unwrap();
    let calls = || fs::read_to_string(folder.path().join("calls")).unwrap_or_default();
    let mut expected = String::new();
    let router = |state, priority| event(Kind::Router, "oldboy", state, priority);
    let check = |state| event(Kind::Check, "web", state, 0);
    for (event, call) in [
        (router(State::Backup, 150), "INSTANCE oldboy BACKUP 150"),
        (check(State::Up), ""),
        (router(State::Active, 150), "INSTANCE oldboy MASTER 150"),
        (check(State::Down), "CHECK web DOWN 0"),
        (check(State::Down), ""),
        (event(Kind::Backend, "w/10.0.0.7:80", State::Down, 0), ""),
        (router(State::Fault, 150), "INSTANCE oldboy FAULT 150"),
        (check(State::Up), "CHECK web UP 0"),
    ] {
        alerts.raise(event);
        if !call.is_empty() {
            expected += &format!("own {call}\n");
        }
        while calls() != expected {
            assert!(expected.starts_with(&calls()), "{}", calls());
            sleep(Duration::from_millis(5)).await;
        }
    }
    alerts.raise(router(State::Stopped, 150));
    alerts.finish(LIMIT).await;
    assert_eq!(calls(), expected + "own INSTANCE oldboy STOP 150\n");
}

/// Takes one post, and answers it.
async fn post(listener: &TcpListener, status: &str) -> serde_json::Value {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = Vec::new();
    loop {
        stream.read_buf(&mut text).await.unwrap();
        let request = String::from_utf8(text.clone()).unwrap();
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(
            head.starts_with("POST /hook?token=1 HTTP/1.1\r\n"),
            "{head}"
        );
        let head = head.to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return serde_json::from_str(body).unwrap();
        }
    }
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_everything_once_it_works() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=1", listener.local_addr().unwrap());
    let config = Alerting {
        webhook: Some(Webhook::new(&url).unwrap()),
        ..alerting()
    };
    let alerts = Alerts::start(Some(&config), "lb01").unwrap();
    alerts.raise(event(Kind::Router, "oldboy", State::Backup, 100));
    alerts.raise(event(Kind::Check, "web", State::Down, 0));
    let refused = post(&listener, "503 No").await;
    assert_eq!(refused["changes"].as_array().unwrap().len(), 2);

    alerts.raise(event(Kind::Router, "oldboy", State::Active, 100));
    let told = post(&listener, "204 Fine").await;
    let change = |kind, name, state, priority, changes| {
        serde_json::json!({
            "kind": kind, "name": name, "state": state, "priority": priority,
            "reason": "why", "at_ms": 0, "changes": changes,
        })
    };
    assert_eq!(
        told,
        serde_json::json!({ "node": "lb01", "lost": 0, "changes": [
            change("check", "web", "down", 0, 1),
            change("router", "oldboy", "active", 100, 2),
        ]})
    );
    alerts.finish(LIMIT).await;
    let status = &alerts.status()[0];
    assert_eq!((status.delivered, status.failed, status.waiting), (1, 1, 0));
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let folder = TempDir::new().unwrap();
    let config = Alerting {
        webhook: Some(Webhook::new(&url).unwrap()),
        ..hook(folder.path())
    };
    let alerts = Alerts::start(Some(&config), "lb01").unwrap();
    alerts.raise(event(Kind::Router, "oldboy", State::Active, 100));
    let _held = silent.accept().await.unwrap();

    let calls = folder.path().join("calls");
    while !calls.exists() {
        sleep(Duration::from_millis(5)).await;
    }
    alerts.finish(Duration::from_millis(50)).await;
}

#[test]
fn a_webhook_is_a_url_that_can_be_posted_to() {
    for wrong in [
        "127.0.0.1:9095",
        "ftp://127.0.0.1/",
        "http:///alerts",
        "http://host:0/",
        "http://host:99999/",
        "http://user:word@host/",
        "/alerts",
    ] {
        assert_eq!(Webhook::new(wrong), Err(InvalidUrl), "{wrong}");
    }
    for right in [
        "http://127.0.0.1:9095/alerts",
        "https://hooks.example/T/x?y",
        "http://[::1]/",
    ] {
        let webhook = Webhook::new(right).unwrap();
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("/T/"), "a token is not shown: {shown}");
    }
}
