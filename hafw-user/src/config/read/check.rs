//! `[[check]]`, and the timing that it shares with a service's `health`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hafw_config::Section;

use super::{interface_name, or, socket};
use crate::config::model::{Check, CheckKind};

/// What a check may look at.
const KINDS: [&str; 7] = [
    "command",
    "http",
    "tcp",
    "process",
    "file",
    "interface",
    "l7",
];

pub(super) fn check(section: &Section) -> Option<Check> {
    let name = section.name("name");
    let kind = kind(section);
    let Timing {
        interval,
        timeout,
        rise,
        fall,
    } = Timing::read(section);
    section.finish();
    Some(Check {
        name: name?,
        kind: kind?,
        interval,
        timeout,
        rise,
        fall,
    })
}

/// When a probe runs and how many results count.
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) rise: u32,
    pub(super) fall: u32,
}

impl Timing {
    pub(super) fn read(section: &Section) -> Self {
        let shortest = Duration::from_millis(10);
        let time = |key| {
            let time = or(section.duration(key), Duration::from_secs(1));
            if time < shortest {
                section.wrong(key, "expected at least \"10ms\"");
            }
            time
        };
        Self {
            interval: time("interval"),
            timeout: time("timeout"),
            rise: or(section.number("rise", 1..=1000), 1),
            fall: or(section.number("fall", 1..=1000), 1),
        }
    }
}

/// Exactly one of the kinds.
fn kind(section: &Section) -> Option<CheckKind> {
    let user = section.string("user");
    let command = command(section, "command");
    let http = http(section);
    let tcp = socket(section, "tcp");
    let process = process(section);
    let file = file(section);
    let interface = interface_name(section, "interface");
    let l7 = l7(section);

    let given: Vec<_> = KINDS.into_iter().filter(|key| section.has(key)).collect();
    match given.as_slice() {
        [] => {
            let kinds = KINDS.join(", ");
            section.note(
                section.place(),
                format!("it looks at nothing: expected one of {kinds}"),
            );
            return None;
        }
        [_] => {}
        several => {
            let keys = several.join(" and ");
            section.note(section.place(), format!("{keys}: expected one of them"));
            return None;
        }
    }
    if section.has("user") && !section.has("command") {
        section.wrong("user", "only a command runs as a user");
    }
    let command = command.map(|command| CheckKind::Command {
        command,
        user: user.map_or_else(|| "nobody".to_owned(), |user| user.value),
    });
    let tcp = tcp.map(|address| CheckKind::Tcp(address.value));
    let interface = interface.map(|name| CheckKind::Interface(name.value));
    let kinds = [command, http, tcp, process, file, interface, l7];
    kinds.into_iter().flatten().next()
}

fn process(section: &Section) -> Option<CheckKind> {
    let expected = "a process's name such as \"nginx\", or its program's absolute path";
    let process = section.parsed("process", expected, |text| {
        let fits = text.starts_with('/') || !text.contains('/');
        let odd = |c: char| c.is_control();
        (fits && !text.trim().is_empty() && !text.contains(odd)).then(|| text.to_owned())
    })?;
    Some(CheckKind::Process(process.value))
}

fn file(section: &Section) -> Option<CheckKind> {
    let file = section.parsed("file", "an absolute path", |path| {
        (path.starts_with('/') && !path.contains('\0')).then(|| PathBuf::from(path))
    })?;
    for key in ["rise", "fall"] {
        if section.has(key) {
            section.wrong(key, "the number in a file counts at once");
        }
    }
    Some(CheckKind::File(file.value))
}

/// A program with its arguments.
pub(super) fn command(section: &Section, key: &str) -> Option<Vec<String>> {
    let words = section.list(key, "a word without a zero byte", |word| {
        (!word.contains('\0')).then(|| word.to_owned())
    })?;
    section.need_items(key, "word, the program");
    let program = words.first()?;
    if !program.starts_with('/') {
        let message = format!(
            "{key}: {:?}: expected the program's absolute path",
            program.value
        );
        section.note(&program.place, message);
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

fn http(section: &Section) -> Option<CheckKind> {
    let text = section.string("http")?;
    let kind = url(&text.value);
    if text.value.starts_with("https://") {
        section.wrong("http", "https is not in this version");
    } else if kind.is_none() {
        let expected = "expected a URL with a numeric address such as \"http://127.0.0.1:80/\"";
        section.wrong("http", expected);
    }
    kind
}

fn url(url: &str) -> Option<CheckKind> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let address = match host.parse() {
        Ok(address) => address,
        Err(_) => SocketAddr::new(bare(host)?, 80),
    };
    (address.port() != 0 && is_path(path)).then(|| CheckKind::Http {
        address,
        host: host.to_owned(),
        path: path.to_owned(),
    })
}

/// The host of a URL without a port: IPv6 in brackets (RFC 3986 §3.2.2).
fn bare(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether a text can stand in a request line: anything else could end the line.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn l7(section: &Section) -> Option<CheckKind> {
    let on = section.boolean("l7")?.value;
    if !on {
        section.wrong(
            "l7",
            "expected true: leave the check out if it looks at nothing",
        );
    }
    on.then_some(CheckKind::L7)
}
