//! Mail through servers that want TLS and a login, and what a server that hangs costs: a log line, and
//! no advert.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use hafw_lab::{
    Daemon, Host, Lab, Scope, Signal, Station, VIP_WWW, pause,
    peers::{Hafw, Router, Timing, WebServer, hafw_config},
    probe::{Observer, Seen},
    wait_until,
};
use rcgen::{CertificateParams, KeyPair};

use crate::pair::PATIENCE;

/// Debian's interpreter; aiosmtpd is a package of its.
const PYTHON: &str = "/usr/bin/python3";

/// A server that takes mail from who logs in as oldboy, over TLS: arguments are address, port, how,
/// certificate, key and folder.
const SERVER: &str = r#"
import signal, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult
address, port, how, certificate, key, folder = sys.argv[1:]
def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"oldboy", b"sesame"), handled=False)
common = dict(hostname=address, port=int(port), authenticator=login, auth_required=True)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
if how != "plain":
    context.load_cert_chain(certificate, key)
if how == "starttls":
    common |= dict(tls_context=context, require_starttls=True)
elif how == "implicit":
    common |= dict(ssl_context=context, auth_require_tls=False)
else:
    common |= dict(auth_require_tls=False)
controller = Controller(Mailbox(folder), **common)
controller.start()
print("ready", flush=True)
signal.pause()
"#;

/// A mail server on the observer, and a node that trusts its certificate.
struct Post {
    lab: Lab,
    server: Daemon,
    certificate: PathBuf,
}

impl Post {
    /// `how` is `starttls`, `implicit` or `plain`.
    fn start(purpose: &str, how: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let host = &lab[Station::Observer];
        let address = Station::Observer.address().to_string();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![address.clone()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let certificate = host.write("mail.crt", &certificate.pem()).unwrap();
        let key = host.write("mail.key", &key.serialize_pem()).unwrap();
        let folder = folder(host).display().to_string();
        let args = [
            "-c".to_owned(),
            SERVER.to_owned(),
            address,
            "2525".to_owned(),
            how.to_owned(),
            certificate.display().to_string(),
            key.display().to_string(),
            folder,
        ];
        let log = host.files().join("mail.log");
        let mut server = Daemon::new("mail", host.namespace(), PYTHON, args, log);
        server.start().unwrap();
        wait_until(PATIENCE, "the mail server", || {
            let said = server.log_tail();
            if said.contains("ready") {
                Ok(())
            } else {
                Err(said)
            }
        })
        .unwrap();
        Self {
            lab,
            server,
            certificate,
        }
    }

    /// A node that has something to tell at once.
    fn node(&self, url: &str, password: &str, trusts: bool) -> Hafw {
        let host = &self.lab[Station::Lb01];
        let server = Station::Observer.address();
        let (scheme, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        let alerts = format!(
            "\n[alerts]\nemail = {{ smtp = \"{scheme}://{server}:2525{query}\", from = \"oldboy@163.com\", \
             to = [\"acassen@firewall.loc\"], user = \"oldboy\", password = \"{password}\" }}\n\
             interval = \"1s\"\n"
        );
        let routers = [Router::oldboy(Station::Lb01, Timing::V3Tenth)];
        let mut node = Hafw::new(
            host,
            &self.binary(host, trusts),
            &hafw_config(host, &routers, &alerts),
        )
        .unwrap();
        node.daemon.start().unwrap();
        node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
        node
    }

    /// hafw where the system's certificates are the server's alone, or are not it.
    fn binary(&self, host: &Host, trusts: bool) -> PathBuf {
        let built = Hafw::built().unwrap();
        if !trusts {
            return built;
        }
        let text = format!(
            "#!/bin/sh\nSSL_CERT_FILE={} exec {} \"$@\"\n",
            self.certificate.display(),
            built.display()
        );
        let script = host.write("hafw-trusting", &text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    fn mails(&self) -> Vec<String> {
        let folder = folder(&self.lab[Station::Observer]).join("new");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| fs::read_to_string(entry.path()).unwrap())
            .collect()
    }

    fn wait_for_mail(&self, node: &Hafw) {
        wait_until(PATIENCE, "the mail", || {
            let mails = self.mails();
            if mails
                .iter()
                .any(|mail| mail.contains("router oldboy is active"))
            {
                Ok(())
            } else {
                Err(format!("{mails:?}\n{}", node.daemon.log_tail()))
            }
        })
        .unwrap();
    }
}

fn folder(host: &Host) -> PathBuf {
    host.state().join("mail")
}

/// Waits until the log says why nothing was delivered, and returns that line.
fn refusal(node: &Hafw) -> String {
    wait_until(PATIENCE, "the log to say so", || {
        let log = fs::read_to_string(node.daemon.log()).unwrap();
        let line = log
            .lines()
            .find(|line| line.contains("cannot be delivered"));
        line.map(str::to_owned).ok_or(log.clone())
    })
    .unwrap()
}

#[test]
#[ignore = "requires root"]
fn mail_goes_over_starttls_with_a_login() {
    let post = Post::start("starttls", "starttls");
    let node = post.node("smtp?tls=required", "sesame", true);
    post.wait_for_mail(&node);
}

#[test]
#[ignore = "requires root"]
fn mail_goes_over_implicit_tls_with_a_login() {
    let post = Post::start("smtps", "implicit");
    let node = post.node("smtps", "sesame", true);
    post.wait_for_mail(&node);
}

#[test]
#[ignore = "requires root"]
fn a_server_that_refuses_the_login_costs_a_log_line() {
    let post = Post::start("login", "starttls");
    let node = post.node("smtp?tls=required", "wrong", true);
    let line = refusal(&node);
    assert!(line.contains("535"), "{line}");
    assert!(!line.contains("wrong"), "{line}");
    assert_eq!(post.mails().len(), 0);
}

#[test]
#[ignore = "requires root"]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let post = Post::start("stranger", "implicit");
    let node = post.node("smtps", "sesame", false);
    let line = refusal(&node);
    assert!(line.contains("certificate"), "{line}");
    assert_eq!(post.mails().len(), 0);
}

#[test]
#[ignore = "requires root"]
fn a_server_without_starttls_gets_no_password() {
    let post = Post::start("bare", "plain");
    let node = post.node("smtp?tls=required", "sesame", true);
    refusal(&node);
    assert_eq!(post.mails().len(), 0);
}

#[test]
#[ignore = "requires root"]
fn a_server_that_hangs_costs_no_advert() {
    let mut post = Post::start("hang", "starttls");
    post.server.signal(Scope::Process, Signal::SIGSTOP).unwrap();
    let host = &post.lab[Station::Lb01];
    let mut web = WebServer::start(host).unwrap();
    let server = Station::Observer.address();
    let rest = format!(
        "\n[[check]]\nname = \"web\"\ntcp = \"127.0.0.1:80\"\ninterval = \"100ms\"\n\
         [alerts]\nemail = {{ smtp = \"smtp://{server}:2525\", from = \"oldboy@163.com\", \
         to = [\"acassen@firewall.loc\"], connect_timeout = \"1s\" }}\ninterval = \"1s\"\n"
    );
    let routers = [Router::oldboy(Station::Lb01, Timing::V3Tenth)];
    let text = hafw_config(host, &routers, &rest);
    let track = "\ntrack = [{ check = \"web\", weight = 1 }]\nvips = ";
    let mut node = Hafw::start(host, &text.replace("\nvips = ", track)).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let observer = Observer::start(&post.lab[Station::Observer], &[VIP_WWW]).unwrap();

    // Something to tell all the time, and nobody who takes it.
    for _ in 0..3 {
        web.kill().unwrap();
        pause(Duration::from_millis(700)).unwrap();
        web.restart().unwrap();
        pause(Duration::from_millis(700)).unwrap();
    }
    refusal(&node);

    let seen = observer.stop().unwrap();
    let adverts = seen.events.iter().filter(|event| {
        matches!(event.seen, Seen::Advert { source, .. } if source == Station::Lb01.address())
    });
    let times: Vec<_> = adverts.map(|event| event.at).collect();
    let span = *times.last().unwrap() - times[0];
    // As many as in time without alerts: the interval is 100 ms, and lateness does not add up.
    let wanted = span.as_millis() as usize / 100;
    assert!(wanted >= 30, "{wanted}");
    assert!(times.len() >= wanted, "{} of {wanted}", times.len());
    let log = fs::read_to_string(node.daemon.log()).unwrap();
    assert_eq!(log.matches("cannot be delivered").count(), 1, "{log}");
}
