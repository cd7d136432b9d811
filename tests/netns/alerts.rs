//! Alerts with real receivers: a mail server, a webhook and a hook command; and with dead ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hafw_lab::{
    Daemon, Host, Lab, Scope, Signal, Station, VIP_WWW,
    peers::{Hafw, Router, Timing, WebServer, hafw_config},
    wait_until,
};

use crate::pair::PATIENCE;

/// Debian's interpreter; aiosmtpd is a package of its.
const PYTHON: &str = "/usr/bin/python3";

/// Appends every body that is posted, a line each.
const WEBHOOK: &str = r#"
import http.server, sys
class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[2], "ab") as file:
            file.write(body + b"\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer((sys.argv[1], 9095), Take).serve_forever()
"#;

struct Site {
    lab: Lab,
    nodes: [Hafw; 2],
    web: WebServer,
    mail: Daemon,
    webhook: Daemon,
}

impl Site {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let web = WebServer::start(&lab[Station::Lb01]).unwrap();
        let observer = &lab[Station::Observer];
        let folder = observer.state().join("mail").display().to_string();
        let address = Station::Observer.address().to_string();
        let mail = [
            "-m",
            "aiosmtpd",
            "-n",
            "-l",
            &format!("{address}:25"),
            "-c",
            "aiosmtpd.handlers.Mailbox",
            &folder,
        ];
        let mail = start(observer, "mail", &mail);
        let posts = observer.state().join("posts").display().to_string();
        let webhook = start(observer, "webhook", &["-c", WEBHOOK, &address, &posts]);
        for port in ["25", "9095"] {
            let connect = format!("exec 3<>/dev/tcp/{address}/{port}");
            wait_until(PATIENCE, format!("port {port}"), || {
                let tried = observer.output("/bin/bash", &["-c", &connect]);
                tried.map_err(|error| error.to_string())
            })
            .unwrap();
        }
        let nodes = Station::NODES.map(|station| {
            let host = &lab[station];
            let routers = [Router::oldboy(station, Timing::V3Tenth)];
            let rest = if station == Station::Lb01 {
                told(host, &address)
            } else {
                String::new()
            };
            let text = hafw_config(host, &routers, &rest);
            let text = if station == Station::Lb01 {
                text.replace("\nvips = ", "\ntrack = [{ check = \"web\" }]\nvips = ")
            } else {
                text
            };
            Hafw::start(host, &text).unwrap()
        });
        let mut site = Self {
            lab,
            nodes,
            web,
            mail,
            webhook,
        };
        site.wait(0, "active");
        site.wait(1, "backup");
        site
    }

    fn wait(&mut self, node: usize, state: &str) {
        self.nodes[node]
            .wait_for_router("oldboy", state, PATIENCE)
            .unwrap();
    }

    fn hooks(&self) -> String {
        fs::read_to_string(hooks(&self.lab[Station::Lb01])).unwrap_or_default()
    }

    fn wait_for_hook(&self, line: &str) {
        wait_until(PATIENCE, format!("the hook {line:?}"), || {
            let hooks = self.hooks();
            if hooks.lines().any(|hook| hook == line) {
                Ok(())
            } else {
                Err(hooks)
            }
        })
        .unwrap();
    }

    fn posts(&self) -> String {
        let file = self.lab[Station::Observer].state().join("posts");
        fs::read_to_string(file).unwrap_or_default()
    }

    fn mails(&self) -> Vec<String> {
        let folder = self.lab[Station::Observer].state().join("mail/new");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        entries.map(|entry| text(entry.path())).collect()
    }

    /// Waits until a mail and a post say all of this, each by itself.
    fn wait_for_news(&self, said: &[&str], posted: &[&str]) {
        let all = |text: &str, parts: &[&str]| parts.iter().all(|part| text.contains(part));
        wait_until(PATIENCE, format!("a mail with {said:?}"), || {
            let mails = self.mails();
            // Long lines come in pieces (RFC 2045 §6.7).
            let whole = |mail: &String| mail.replace("=\r\n", "").replace("=\n", "");
            if mails.iter().any(|mail| all(&whole(mail), said)) {
                Ok(())
            } else {
                Err(mails.join("\n---\n"))
            }
        })
        .unwrap();
        wait_until(PATIENCE, format!("a post with {posted:?}"), || {
            let posts = self.posts();
            if posts.lines().any(|post| all(post, posted)) {
                Ok(())
            } else {
                Err(posts)
            }
        })
        .unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.nodes[0].daemon.log()).unwrap()
    }
}

fn start(host: &Host, name: &str, args: &[&str]) -> Daemon {
    let args = args.iter().map(ToString::to_string);
    let log = host.files().join(format!("{name}.log"));
    let mut daemon = Daemon::new(name, host.namespace(), PYTHON, args, log);
    daemon.start().unwrap();
    daemon
}

fn hooks(host: &Host) -> PathBuf {
    host.state().join("hooks")
}

fn told(host: &Host, receivers: &str) -> String {
    let web01 = Station::Web01.address();
    let script = script(host, &hooks(host));
    format!(
        r#"
[[check]]
name = "web"
tcp = "127.0.0.1:80"
interval = "200ms"

[[service]]
name = "echo"
vip = "{VIP_WWW}"
port = 9000
protocol = "tcp"
mode = "dsr"
health = {{ tcp = true, interval = "200ms" }}
[[service.backend]]
address = "{web01}:9000"

[alerts]
email = {{ smtp = "smtp://{receivers}:25", from = "oldboy@163.com", to = ["acassen@firewall.loc", "b@firewall.loc"], connect_timeout = "2s" }}
webhook = "http://{receivers}:9095/alerts"
exec = ["{script}"]
exec_user = "root"
interval = "1s"
"#,
        script = script.display()
    )
}

fn script(host: &Host, calls: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let text = format!("#!/bin/sh\necho \"$@\" >>{}\n", calls.display());
    let path = host.write("notify.sh", &text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
#[ignore = "requires root"]
fn changes_reach_mail_webhook_and_hook() {
    let mut site = Site::start("alerts");
    for line in [
        "INSTANCE oldboy MASTER 150",
        "BACKEND echo/10.0.0.7:9000 DOWN 0",
    ] {
        site.wait_for_hook(line);
    }

    site.web.kill().unwrap();
    site.wait(1, "active");
    site.wait_for_hook("CHECK web DOWN 0");
    site.wait_for_hook("INSTANCE oldboy FAULT 150");
    site.wait_for_news(
        &[
            "From: oldboy@163.com",
            "To: acassen@firewall.loc, b@firewall.loc",
            "Subject: [lb01] ",
            "check web is down",
            "router oldboy is fault, priority 150",
        ],
        &[
            r#""kind":"router","name":"oldboy""#,
            r#""state":"fault""#,
            r#""node":"lb01""#,
        ],
    );

    site.web.restart().unwrap();
    site.wait(0, "active");
    site.wait_for_hook("CHECK web UP 0");
    site.nodes[0].daemon.stop(PATIENCE).unwrap();
    let hooks = site.hooks();
    // After the handover: with the lowest priority.
    assert_eq!(
        hooks.lines().last(),
        Some("INSTANCE oldboy STOP 1"),
        "{hooks}"
    );
    site.wait_for_news(&["router oldboy is stopped"], &[r#""state":"stopped""#]);
    assert_eq!(hooks.matches("CHECK").count(), 2, "{hooks}");
}

#[test]
#[ignore = "requires root"]
fn dead_receivers_cost_two_log_lines_and_are_told_later() {
    let mut site = Site::start("dead");
    site.wait_for_news(&["router oldboy is active"], &[r#""state":"active""#]);
    // One hangs, one refuses.
    site.mail.signal(Scope::Process, Signal::SIGSTOP).unwrap();
    site.webhook
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();

    for _ in 0..2 {
        site.web.kill().unwrap();
        site.wait(1, "active");
        site.wait(0, "fault");
        site.web.restart().unwrap();
        site.wait(0, "active");
    }
    site.web.kill().unwrap();
    site.wait_for_hook("INSTANCE oldboy FAULT 150");
    wait_until(PATIENCE, "both receivers to fail", || {
        let log = site.log();
        let failed = |receiver: &str| {
            let lines = log
                .lines()
                .filter(|line| line.contains("cannot be delivered"));
            lines.filter(|line| line.contains(receiver)).count()
        };
        match (failed("email"), failed("webhook")) {
            (1, 1) => Ok(()),
            _ => Err(log),
        }
    })
    .unwrap();

    site.mail.signal(Scope::Process, Signal::SIGCONT).unwrap();
    site.webhook.start().unwrap();
    site.wait_for_news(
        &["check web is down", "router oldboy is fault"],
        &[r#""name":"web""#, r#""state":"fault""#],
    );
    let log = site.log();
    assert_eq!(log.matches("cannot be delivered").count(), 2, "{log}");
}
