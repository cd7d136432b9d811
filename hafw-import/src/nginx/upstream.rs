//! `upstream`, and the upstreams that a `proxy_pass` names by address.

use std::collections::BTreeMap;

use super::value::{duration, milliseconds, socket};
use crate::{
    draft::{Section, quoted},
    notes::Notes,
    place::{Place, one_line},
    statement::Statement,
};

/// All upstreams, by name.
#[derive(Default)]
pub(super) struct Upstreams {
    sections: Vec<Section>,
    names: BTreeMap<String, ()>,
}

impl Upstreams {
    pub(super) fn read(statements: &[&Statement], notes: &mut Notes) -> Self {
        let mut upstreams = Self::default();
        for statement in statements {
            let Some(word) = notes.take(statement.need("a name")) else {
                continue;
            };
            let name = one_line(&word.text);
            if upstreams.names.insert(name.clone(), ()).is_some() {
                let message = format!("upstream {name}: expected a name that no other has");
                notes.mistake(statement, message);
                continue;
            }
            let section = upstream(statement, &name, notes);
            upstreams.sections.push(section);
        }
        upstreams
    }

    /// The upstream that `proxy_pass http://NAME` goes to; one of its own if NAME is none.
    pub(super) fn named(&mut self, name: &str, place: &Place) -> String {
        let name = one_line(name);
        if self.names.insert(name.clone(), ()).is_none() {
            let mut section = Section::new("[[upstream]]", Some(place), "proxy_pass");
            section.text("name", &name, Some(place));
            let item = format!("{{ address = {} }}", quoted(&address(&name)));
            section.list("server", vec![(item, place.clone())]);
            self.sections.push(section);
        }
        name
    }

    pub(super) fn into_sections(self) -> Vec<Section> {
        self.sections
    }
}

fn upstream(block: &Statement, name: &str, notes: &mut Notes) -> Section {
    let place = block.place();
    let mut section = Section::new("[[upstream]]", Some(place), &block.shown());
    section.text("name", name, Some(place));
    let mut servers = Vec::new();
    for statement in block.inner() {
        match statement.keyword() {
            "server" => {
                if let Some(item) = server(statement, &mut section, notes) {
                    servers.push((item, statement.place().clone()));
                }
            }
            "least_conn" => {
                let place = Some(statement.place());
                section.text("balance", "least_connections", place);
            }
            "ip_hash" => {
                section.text("balance", "source_hash", Some(statement.place()));
            }
            "hash"
                if matches!(
                    statement.arg(),
                    Some("$remote_addr" | "$binary_remote_addr")
                ) =>
            {
                section.text("balance", "source_hash", Some(statement.place()));
            }
            "hash" => {
                if let Some(key) = notes.take(statement.need("a text with variables")) {
                    let place = Some(&key.place);
                    section.text("balance", "hash", place);
                    section.text("hash", &key.text, place);
                }
            }
            "random" => {
                section.text("balance", "random_two", Some(statement.place()));
            }
            "keepalive" => {
                if let Some(count) = notes.take(statement.number(0..=65_535)) {
                    section.key("keepalive", count, Some(statement.place()));
                }
            }
            // How it is kept in nginx's memory.
            "zone" => {}
            _ => notes.unmatched_in(&mut section, statement, "no equivalent"),
        }
    }
    section.list("server", servers);
    section
}

/// A server as TOML.
fn server(statement: &Statement, section: &mut Section, notes: &mut Notes) -> Option<String> {
    let word = notes.take(statement.need("an address"))?;
    let mut keys = vec![format!("address = {}", quoted(&address(&word.text)))];
    for parameter in statement.args().iter().skip(1) {
        let (name, value) = parameter
            .text
            .split_once('=')
            .unwrap_or((&parameter.text, ""));
        let number = |least: u32, most: u32| {
            let expected = format!("{name}=NUMBER, from {least} to {most}");
            let number = value.parse().ok().filter(|n| (least..=most).contains(n));
            number.ok_or_else(|| statement.wrong(parameter, &expected))
        };
        match name {
            "weight" => keys.push(format!("weight = {}", notes.take(number(1, 65_535))?)),
            "max_fails" => keys.push(format!("max_fails = {}", notes.take(number(0, 1_000_000))?)),
            "fail_timeout" => {
                let read = milliseconds(value)
                    .ok_or_else(|| statement.wrong(parameter, "fail_timeout=TIME"));
                keys.push(format!("fail_timeout = {}", duration(notes.take(read)?)));
            }
            "max_conns" => {
                let most = notes.take(number(0, 1_000_000))?;
                keys.push(format!("max_connections = {most}"));
            }
            "slow_start" => {
                let read = milliseconds(value)
                    .ok_or_else(|| statement.wrong(parameter, "slow_start=TIME"));
                keys.push(format!("slow_start = {}", duration(notes.take(read)?)));
            }
            "backup" => keys.push("backup = true".to_owned()),
            // Names are looked up again anyway.
            "resolve" => {}
            "down" => {
                notes.unmatched_in(section, statement, "it is down: left out");
                return None;
            }
            _ => {
                let why = format!("{name} has no equivalent");
                notes.unmatched_in(section, statement, &why);
            }
        }
    }
    Some(format!("{{ {} }}", keys.join(", ")))
}

/// An address or a name, with its port.
fn address(text: &str) -> String {
    if text.starts_with("unix:") {
        return text.to_owned();
    }
    match socket(text, 80) {
        Some(socket) => socket.to_string(),
        None if text.contains(':') => text.to_owned(),
        None => format!("{text}:80"),
    }
}
