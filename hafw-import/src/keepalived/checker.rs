//! Checkers of real servers: `health` of a service. A service has one way to look at its backends,
//! keepalived one for each of them: the first that is found counts, and others are listed.

use super::{Notes, keywords, lvs::Timing, seconds};
use crate::{
    draft::{Section, quoted},
    place::Place,
    statement::{Statement, Word},
};

/// Blocks of a real server that look at it.
pub(super) const KINDS: [&str; 10] = [
    "HTTP_GET",
    "SSL_GET",
    "TCP_CHECK",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "BFD_CHECK",
    "UDP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
];

/// How a service's backends are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// The keys that say what is looked at, without the port, best first; with what is lost.
    looks: Vec<(String, String)>,
    /// Where to look, if not at the backend's port.
    port: Option<i64>,
    /// The real server's port.
    backend_port: Option<i64>,
    timing: String,
    place: Place,
}

/// The health of a service with these real servers.
pub(super) fn health(
    backends: &[(&Statement, Timing)],
    virtual_host: Option<&Word>,
    notes: &mut Notes,
) -> Option<Health> {
    let mut found: Option<Health> = None;
    for (backend, timing) in backends {
        let host = super::blocks(backend.inner(), "virtualhost").next();
        let host = host.and_then(|host| host.args().first()).or(virtual_host);
        let checkers = backend.inner().iter();
        let mut checkers = checkers.filter(|inner| KINDS.contains(&inner.keyword()));
        let Some(first) = checkers.next() else {
            if found.is_some() {
                notes.remark(
                    backend,
                    "it is looked at as the service's other backends are",
                );
            }
            continue;
        };
        for more in checkers {
            notes.unmatched(more, "a backend is looked at in one way: the first");
        }
        // Only the first one's details are worth their remarks.
        let mut scratch = Notes::default();
        let read = checker(first, timing.clone(), host, backend, &mut scratch);
        notes.mistakes.append(&mut scratch.mistakes);
        match &found {
            None => {
                notes.remarks.append(&mut scratch.remarks);
                found = read;
            }
            Some(found) if read.as_ref().is_some_and(|read| !found.same(read)) => {
                let why = format!("the service's backends are looked at as at {}", found.place);
                notes.unmatched(first, &why);
            }
            Some(_) => {}
        }
    }
    found
}

impl Health {
    fn same(&self, other: &Self) -> bool {
        let port = |health: &Self| health.port.or(health.backend_port);
        self.looks == other.looks && self.timing == other.timing && port(self) == port(other)
    }

    /// Writes the key. `rewrites`: the backends' ports are their own.
    pub(super) fn write(&self, section: &mut Section, service_port: Option<u16>, rewrites: bool) {
        // Without NAT the backend has the service's port, wherever keepalived looks.
        let port = self.port.or_else(|| {
            let own = self.backend_port.filter(|_| !rewrites);
            own.filter(|port| service_port.map(i64::from) != Some(*port))
        });
        let port = port
            .map(|port| format!(", port = {port}"))
            .unwrap_or_default();
        let mut values = self.looks.iter().map(|(look, what)| {
            let value = format!("{{ {look}{port}{} }}", self.timing);
            (value, what)
        });
        let Some((first, _)) = values.next() else {
            return;
        };
        let key = section.key("health", first, Some(&self.place));
        for (value, what) in values {
            key.or(&value, what);
        }
    }
}

fn checker(
    block: &Statement,
    mut timing: Timing,
    host: Option<&Word>,
    backend: &Statement,
    notes: &mut Notes,
) -> Option<Health> {
    let backend_port = backend
        .args()
        .get(1)
        .and_then(|port| port.text.parse().ok());
    let mut port = None;
    let mut own = Vec::new();
    for statement in block.inner() {
        match statement.keyword() {
            "connect_port" => port = notes.take(statement.number(1..=65_535)),
            "connect_ip" | "bindto" | "bind_if" | "bind_port" | "fwmark" => {
                let why = "no equivalent: the backend itself is looked at, from the node's address";
                notes.unmatched(statement, why);
            }
            _ if timing.take(statement, notes) => {}
            _ => own.push(statement),
        }
    }
    let mut look = Look {
        own,
        retry: 1,
        notes,
    };
    let looks = look.at(block, host)?;
    // Looks in a row that fail: the first, and the repeated ones.
    let fall = timing.retry.unwrap_or(look.retry) + 1;
    let timeout = misc_timeout(block).unwrap_or(timing.connect_timeout);
    let timing = format!(
        ", interval = {}, timeout = {}, fall = {fall}",
        seconds(timing.delay_loop),
        seconds(timeout)
    );
    Some(Health {
        looks,
        port,
        backend_port,
        timing,
        place: block.place().clone(),
    })
}

fn misc_timeout(block: &Statement) -> Option<f64> {
    let statement = super::blocks(block.inner(), "misc_timeout").next()?;
    statement
        .arg()?
        .parse()
        .ok()
        .filter(|t| *t > 0.0 && *t <= 86_400.0)
}

struct Look<'a> {
    /// The statements that are the kind's own.
    own: Vec<&'a Statement>,
    /// keepalived's default for the kind.
    retry: i64,
    notes: &'a mut Notes,
}

impl Look<'_> {
    fn at(&mut self, block: &Statement, host: Option<&Word>) -> Option<Vec<(String, String)>> {
        let tcp = |what: &str| ("tcp = true".to_owned(), what.to_owned());
        let connects = "a backend counts as up if it takes a connection";
        let looks = match block.keyword() {
            "TCP_CHECK" => vec![tcp("")],
            "HTTP_GET" => vec![self.http("http", host)?, tcp(connects)],
            "SSL_GET" => vec![self.http("https", host)?, tcp(connects)],
            "SMTP_CHECK" => {
                self.notes
                    .unmatched(block, &format!("no equivalent: {connects}"));
                self.own.clear();
                vec![tcp("")]
            }
            "MISC_CHECK" => {
                self.retry = 0;
                vec![self.command(block)?]
            }
            "DNS_CHECK" => {
                self.retry = 3;
                vec![self.dns()]
            }
            "UDP_CHECK" => vec![self.udp(block)],
            "PING_CHECK" => vec![("icmp = true".to_owned(), String::new())],
            _ => {
                self.notes
                    .unmatched(block, "no equivalent: it is not looked at");
                return None;
            }
        };
        for statement in self.own.drain(..) {
            self.notes
                .unmatched(statement, keywords::why_not(statement.keyword()));
        }
        Some(looks)
    }

    fn http(&mut self, key: &str, host: Option<&Word>) -> Option<(String, String)> {
        let own = std::mem::take(&mut self.own);
        let (urls, others): (Vec<_>, Vec<_>) = own
            .into_iter()
            .partition(|statement| statement.keyword() == "url");
        for statement in others {
            match statement.keyword() {
                "http_protocol" | "fast_recovery" | "enable_sni" | "tls_compliant" => {}
                "virtualhost" => self.no_host(statement),
                _ => self.own.push(statement),
            }
        }
        let mut path = "/".to_owned();
        let mut status = Vec::new();
        let mut urls = urls.into_iter();
        for statement in urls.next().map(Statement::inner).unwrap_or_default() {
            match statement.keyword() {
                "path" => path = self.notes.take(statement.need("a path"))?.text.clone(),
                "status_code" => status = self.status(statement)?,
                "virtualhost" => self.no_host(statement),
                _ => {
                    let why = "no equivalent: the status alone counts";
                    self.notes.unmatched(statement, why);
                }
            }
        }
        for more in urls {
            self.notes
                .unmatched(more, "one path is asked for: the first");
        }
        if let Some(host) = host {
            self.notes.remarks.push(crate::place::Remark {
                place: host.place.clone(),
                message: format!("virtualhost {}: {NO_HOST}", host.text),
            });
        }
        let status = if status.is_empty() {
            String::new()
        } else {
            let list: Vec<_> = status.iter().map(u16::to_string).collect();
            format!(", expect_status = [{}]", list.join(", "))
        };
        Some((format!("{key} = {}{status}", quoted(&path)), String::new()))
    }

    fn no_host(&mut self, statement: &Statement) {
        self.notes.unmatched(statement, NO_HOST);
    }

    /// Single codes and ranges.
    fn status(&mut self, statement: &Statement) -> Option<Vec<u16>> {
        let mut codes = Vec::new();
        for word in statement.args() {
            let (first, last) = word
                .text
                .split_once('-')
                .unwrap_or((&word.text, &word.text));
            let bounds = first.parse::<u16>().ok().zip(last.parse().ok());
            let bounds =
                bounds.filter(|(first, last)| 100 <= *first && first <= last && *last <= 599);
            let Some((first, last)) = bounds else {
                let expected = "status codes from 100 to 599, or ranges of them";
                self.notes.mistakes.push(statement.wrong(word, expected));
                return None;
            };
            codes.extend(first..=last);
        }
        // What hafw takes by itself.
        let default: Vec<u16> = (200..=299).collect();
        Some(if codes == default { Vec::new() } else { codes })
    }

    fn command(&mut self, block: &Statement) -> Option<(String, String)> {
        let mut words = Vec::new();
        for statement in std::mem::take(&mut self.own) {
            match statement.keyword() {
                "misc_path" => {
                    let word = self.notes.take(statement.need("a program"))?;
                    words = word.text.split_whitespace().map(quoted).collect();
                }
                "misc_timeout" => {
                    let _ = self.notes.take(super::timer(statement, 0.0, 86_400.0));
                }
                "user" | "misc_dynamic" => {
                    let why = "no equivalent: exit 0 is up, anything else down";
                    self.notes.unmatched(statement, why);
                }
                _ => self.own.push(statement),
            }
        }
        if words.is_empty() {
            let message = "MISC_CHECK: expected misc_path in it";
            let mistake = crate::place::Mistake::at(block.place(), message);
            self.notes.mistakes.push(mistake);
            return None;
        }
        Some((format!("command = [{}]", words.join(", ")), String::new()))
    }

    fn dns(&mut self) -> (String, String) {
        let (mut kind, mut name) = ("SOA".to_owned(), ".".to_owned());
        for statement in std::mem::take(&mut self.own) {
            match (statement.keyword(), statement.arg()) {
                ("type", Some(given)) => kind = given.to_owned(),
                ("name", Some(given)) => name = given.to_owned(),
                _ => self.own.push(statement),
            }
        }
        let look = format!(
            "dns = {{ name = {}, type = {} }}",
            quoted(&name),
            quoted(&kind)
        );
        (look, String::new())
    }

    fn udp(&mut self, block: &Statement) -> (String, String) {
        if !self.own.is_empty() {
            let why = "payload and reply have no equivalent";
            self.notes.unmatched(block, why);
            self.own.clear();
        }
        ("udp = true".to_owned(), String::new())
    }
}

const NO_HOST: &str = "no equivalent: the Host header is the backend's address";
