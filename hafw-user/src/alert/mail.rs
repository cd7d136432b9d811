//! Mail through an SMTP server.

use std::{fmt::Write as _, time::Duration};

use hafw_config::Secret;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{authentication::Credentials, extension::ClientId},
};
use thiserror::Error;

use super::queue::Entry;

/// Changes that a subject names before it counts them.
const NAMED: usize = 2;

/// `email` of `[alerts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `smtp://HOST[:PORT]`, with `?tls=required` for STARTTLS, or `smtps://HOST[:PORT]`.
    pub smtp: String,
    /// The sender.
    pub from: Address,
    /// The recipients.
    pub to: Vec<Address>,
    /// User and password, for a server that wants them.
    pub login: Option<(String, Secret)>,
    /// Until the server is connected.
    pub connect_timeout: Duration,
}

/// Mail cannot be sent as configured.
#[derive(Debug, Error)]
pub enum MailError {
    /// The URL of the server.
    #[error(
        "{0:?} is no mail server: expected \"smtp://HOST[:PORT]\", \
         \"smtp://HOST[:PORT]?tls=required\" or \"smtps://HOST[:PORT]\""
    )]
    Server(String),
    /// A password would go over the network for everybody to read.
    #[error("a password needs smtps:// or ?tls=required")]
    PlainPassword,
}

/// Sends alerts to the recipients.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    node: String,
    connect_timeout: Duration,
}

impl Mailer {
    /// Nothing is connected yet. `node` stands in every subject.
    ///
    /// # Errors
    /// See [`MailError`].
    pub fn new(mail: &Mail, node: &str) -> Result<Self, MailError> {
        let encrypted = mail.smtp.starts_with("smtps://") || mail.smtp.ends_with("?tls=required");
        if mail.login.is_some() && !encrypted {
            return Err(MailError::PlainPassword);
        }
        let wrong = || MailError::Server(mail.smtp.clone());
        // User and password have keys of their own, so that messages can show the URL.
        if mail.smtp.contains('@') {
            return Err(wrong());
        }
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&mail.smtp)
            .map_err(|_| wrong())?
            .timeout(Some(mail.connect_timeout));
        let host = rustix::system::uname();
        if let Ok(host) = host.nodename().to_str() {
            builder = builder.hello_name(ClientId::Domain(host.to_owned()));
        }
        if let Some((user, password)) = &mail.login {
            let password = password.reveal().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self {
            transport: builder.build(),
            from: mail.from.clone().into(),
            to: mail.to.iter().cloned().map(Mailbox::from).collect(),
            node: node.to_owned(),
            connect_timeout: mail.connect_timeout,
        })
    }

    /// The longest that one mail may take: the library limits the connecting alone.
    pub(super) fn patience(&self) -> Duration {
        self.connect_timeout.saturating_mul(3)
    }

    pub(super) async fn send(&self, entries: &[Entry], lost: u64) -> Result<(), String> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(self.subject(entries))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message
            .body(body(&self.node, entries, lost))
            .map_err(|error| error.to_string())?;
        self.transport
            .send(message)
            .await
            .map(drop)
            .map_err(|error| chain(&error))
    }

    /// The last changes are the ones that count.
    fn subject(&self, entries: &[Entry]) -> String {
        let named: Vec<_> = entries
            .iter()
            .rev()
            .take(NAMED)
            .map(|Entry { event, .. }| {
                format!(
                    "{} {} {}",
                    event.kind.name(),
                    event.name,
                    event.state.name()
                )
            })
            .collect();
        let more = match entries.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        format!("[{}] {}{more}", self.node, named.join(", "))
    }
}

fn body(node: &str, entries: &[Entry], lost: u64) -> String {
    let mut text = format!("Node {node}:\n\n");
    for Entry { event, changes } in entries {
        let at = httpdate::fmt_http_date(event.at);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "{at}  {} {} is {}",
            event.kind.name(),
            event.name,
            event.state.name()
        );
        if event.priority > 0 {
            let _ = write!(text, ", priority {}", event.priority);
        }
        if !event.reason.is_empty() {
            let _ = write!(text, ": {}", event.reason);
        }
        if *changes > 1 {
            let _ = write!(text, " (changed {changes} times)");
        }
        text.push('\n');
    }
    if lost > 0 {
        let _ = write!(text, "\nFor want of room {lost} changes were never told.\n");
    }
    text
}

/// An error with its causes: the library's own say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::alert::{Event, Kind, State};

    fn mail(smtp: &str) -> Mail {
        let address = |text: &str| text.parse().unwrap();
        Mail {
            smtp: smtp.into(),
            from: address("oldboy@163.com"),
            to: vec![address("acassen@firewall.loc")],
            login: None,
            connect_timeout: Duration::from_secs(30),
        }
    }

    fn entry(name: &str, state: State, changes: u32) -> Entry {
        Entry {
            event: Event {
                kind: Kind::Router,
                name: name.into(),
                state,
                priority: 150,
                reason: "check web is down".into(),
                at: SystemTime::UNIX_EPOCH,
            },
            changes,
        }
    }

    #[tokio::test]
    async fn a_message_says_what_changed_when_and_why() {
        let mailer = Mailer::new(&mail("smtp://127.0.0.1:25"), "lb01").unwrap();
        let mut entries = vec![entry("oldboy", State::Fault, 1)];
        assert_eq!(mailer.subject(&entries), "[lb01] router oldboy fault");
        entries.push(entry("oldgirl", State::Active, 3));
        entries.push(entry("third", State::Backup, 1));
        assert_eq!(
            mailer.subject(&entries),
            "[lb01] router third backup, router oldgirl active, and 1 more"
        );
        assert_eq!(
            body("lb01", &entries[..2], 2),
            "Node lb01:\n\n\
             Thu, 01 Jan 1970 00:00:00 GMT  router oldboy is fault, priority 150: check web is down\n\
             Thu, 01 Jan 1970 00:00:00 GMT  router oldgirl is active, priority 150: check web is down \
             (changed 3 times)\n\
             \nFor want of room 2 changes were never told.\n"
        );
    }

    #[tokio::test]
    async fn a_server_is_a_url_without_a_password() {
        for wrong in [
            "127.0.0.1:25",
            "http://127.0.0.1",
            "smtp://",
            "smtp://u:p@host",
        ] {
            let error = Mailer::new(&mail(wrong), "lb01").unwrap_err();
            assert!(matches!(error, MailError::Server(_)), "{wrong}: {error}");
        }
        for right in [
            "smtp://127.0.0.1",
            "smtp://mail.example:587?tls=required",
            "smtps://mail.example",
        ] {
            assert!(Mailer::new(&mail(right), "lb01").is_ok(), "{right}");
        }
    }
}
