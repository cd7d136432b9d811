//! `[alerts]` and `[metrics]`.

use std::time::Duration;

use super::{super::parse, LEAST};
use crate::alert::Kind;

const ALERTS: &str = r#"[alerts]
webhook = "http://127.0.0.1:9095/alerts"
email = { smtp = "smtp://127.0.0.1:25", from = "oldboy@163.com", to = ["acassen@firewall.loc"] }
exec = ["/etc/hafw/notify.sh", "x"]
exec_user = "root"
events = ["router"]
interval = "1m"
[metrics]
listen = "127.0.0.1:9107"
"#;

#[track_caller]
fn said(from: &str, to: &str) -> String {
    assert_eq!(ALERTS.matches(from).count(), 1, "{from:?}");
    match parse("f", &(LEAST.to_owned() + &ALERTS.replacen(from, to, 1))) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn alerts_and_metrics_are_read() {
    let config = parse("f", &(LEAST.to_owned() + ALERTS)).unwrap();
    assert_eq!(config.metrics, Some("127.0.0.1:9107".parse().unwrap()));
    let alerts = config.alerts.unwrap();
    assert_eq!(alerts.events, [Kind::Router]);
    assert_eq!(alerts.interval, Duration::from_secs(60));
    let (command, user) = alerts.exec.unwrap().value;
    assert_eq!((command.len(), user.as_str()), (2, "root"));
    assert_eq!(
        alerts.email.unwrap().connect_timeout,
        Duration::from_secs(30)
    );

    let text = LEAST.to_owned() + "[alerts]\nexec = [\"/bin/true\"]\n";
    let alerts = parse("f", &text).unwrap().alerts.unwrap();
    assert_eq!(
        alerts.events,
        [Kind::Router, Kind::Check, Kind::Backend, Kind::SplitBrain]
    );
    assert_eq!(alerts.exec.unwrap().value.1, "nobody");
}

#[test]
fn what_cannot_be_told_or_served_is_refused() {
    for (from, to, expected) in [
        (
            "smtp://127.0.0.1:25",
            "127.0.0.1",
            "f:10:18: alerts: email: smtp: \"127.0.0.1\" is no mail server: expected \
             \"smtp://HOST[:PORT]\", \"smtp://HOST[:PORT]?tls=required\" or \"smtps://HOST[:PORT]\"",
        ),
        (
            "to = [\"acassen@firewall.loc\"]",
            "to = [\"acassen\"]",
            "f:10:72: alerts: email: to: \"acassen\": expected a mail address such as \
             \"oldboy@163.com\"",
        ),
        (
            "from = ",
            "user = \"u\", password = \"hush\", from = ",
            "f:10:18: alerts: email: smtp: a password needs smtps:// or ?tls=required",
        ),
        (
            "from = ",
            "user = \"u\", from = ",
            "f:10:48: alerts: email: user = \"u\": it needs `password`",
        ),
        (
            "http://127.0.0.1:9095/alerts",
            "hooks.example/secret",
            "f:9:11: alerts: webhook: expected a URL such as \"http://127.0.0.1:9095/alerts\"",
        ),
        (
            "\"/etc/hafw/notify.sh\"",
            "\"notify.sh\"",
            "f:11:9: alerts: exec: \"notify.sh\": expected the program's absolute path",
        ),
        (
            "[\"router\"]",
            "[\"routers\"]",
            "f:13:11: alerts: events: \"routers\": expected router or check or backend or split_brain",
        ),
        (
            ":9107",
            ":0",
            "f:16:10: metrics: listen = \"127.0.0.1:0\": expected a port",
        ),
    ] {
        assert_eq!(said(from, to), expected);
    }
    let nobody = parse("f", &(LEAST.to_owned() + "[alerts]\ninterval = \"1s\"\n"));
    assert_eq!(
        nobody.unwrap_err().to_string(),
        "f:8:1: alerts: it tells nobody: expected at least one of email, webhook, exec"
    );
}
