//! `[alerts]` and `[metrics]`.

use std::{net::SocketAddr, time::Duration};

use hafw_config::{Located, Section};
use lettre::Address;

use super::{check::command, or};
use crate::{
    alert::{Kind, Mail, Mailer, Webhook},
    config::model::Alerting,
};

const RECEIVERS: [&str; 3] = ["email", "webhook", "exec"];

pub(super) fn alerts(section: &Section) -> Option<Alerting> {
    let email = section.table("email").and_then(|table| email(&table));
    let webhook = webhook(section);
    let command = command(section, "exec");
    let user = section.string("exec_user");
    if user.is_some() && !section.has("exec") {
        section.wrong("exec_user", "only exec runs as a user");
    }
    let user = user.map_or_else(|| "nobody".to_owned(), |user| user.value);
    let events = events(section);
    let interval = or(section.duration("interval"), Duration::from_secs(10));
    if !RECEIVERS.iter().any(|key| section.has(key)) {
        let receivers = RECEIVERS.join(", ");
        section.note(
            section.place(),
            format!("it tells nobody: expected at least one of {receivers}"),
        );
    }
    section.finish();
    Some(Alerting {
        email,
        webhook,
        exec: command.map(|command| Located {
            value: (command, user),
            place: section.place_of("exec"),
        }),
        events,
        interval,
    })
}

/// `listen` of `[metrics]`.
pub(super) fn metrics(section: &Section) -> Option<SocketAddr> {
    let listen = section.need("listen", section.socket("listen"));
    if listen.as_ref().is_some_and(|listen| listen.port() == 0) {
        section.wrong("listen", "expected a port");
    }
    section.finish();
    listen.map(|listen| listen.value)
}

fn email(section: &Section) -> Option<Mail> {
    let address = |text: &str| text.parse::<Address>().ok();
    let expected = "a mail address such as \"oldboy@163.com\"";
    let smtp = section.need("smtp", section.string("smtp"));
    let from = section.need("from", section.parsed("from", expected, address));
    let to = section.need("to", section.list("to", expected, address));
    section.need_items("to", "mail address");
    let user = section.string("user");
    let password = section.secret("password");
    for (key, other) in [("user", "password"), ("password", "user")] {
        if section.has(key) && !section.has(other) {
            section.wrong(key, &format!("it needs `{other}`"));
        }
    }
    let connect_timeout = or(section.duration("connect_timeout"), Duration::from_secs(30));
    section.finish();
    let login = user.zip(password);
    let mail = Mail {
        smtp: smtp?.value,
        from: from?.value,
        to: to?.into_iter().map(|to| to.value).collect(),
        login: login.map(|(user, password)| (user.value, password.value)),
        connect_timeout,
    };
    if let Err(error) = Mailer::new(&mail, "") {
        section.note(&section.place_of("smtp"), format!("smtp: {error}"));
    }
    Some(mail)
}

/// The URL may hold a token, so no message repeats it.
fn webhook(section: &Section) -> Option<Webhook> {
    let url = section.secret("webhook")?;
    match Webhook::new(url.value.reveal()) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            section.wrong("webhook", &error.to_string());
            None
        }
    }
}

fn events(section: &Section) -> Vec<Kind> {
    let words: Vec<_> = Kind::WORDS.iter().map(|(word, _)| *word).collect();
    let kind = |text: &str| Kind::WORDS.iter().find(|(word, _)| *word == text);
    let expected = words.join(" or ");
    let events = section.list("events", &expected, kind);
    section.need_items("events", "kind of change");
    match events {
        Some(events) => events.into_iter().map(|kind| kind.value.1).collect(),
        None => Kind::WORDS.iter().map(|(_, kind)| *kind).collect(),
    }
}
