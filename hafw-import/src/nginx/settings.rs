//! Directives that are inherited: what holds in a block unless an inner one says otherwise.

use std::collections::BTreeMap;

use super::{
    condition::Condition,
    value::{duration, milliseconds, size},
};
use crate::{
    draft::quoted,
    notes::Notes,
    place::{Place, one_line},
    statement::Statement,
};

/// Keys of hafw with their values as TOML.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) keys: BTreeMap<&'static str, Setting>,
    /// `proxy_set_header`, `add_header` and `proxy_hide_header`: inherited if a block has none.
    pub(super) request: Headers,
    pub(super) response: Headers,
    pub(super) hidden: Headers,
    pub(super) content_type: Option<String>,
    /// `allow` and `deny`, in order.
    pub(super) access: Vec<(bool, String, Place)>,
    /// A directive that keeps clients out, and has no equivalent.
    pub(super) closed: Option<Place>,
    /// Of `limit_except`.
    pub(super) methods: Option<Condition>,
}

/// A value as TOML, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) place: Place,
}

/// Names with values.
pub(super) type Headers = Vec<(String, String, Place)>;

/// What a request to a server needs, and answers do not.
pub(super) const UPSTREAM_KEYS: [&str; 6] = [
    "next_upstream",
    "next_upstream_tries",
    "next_upstream_timeout",
    "connect_timeout",
    "read_timeout",
    "send_timeout",
];

const TIMES: [(&str, &str); 6] = [
    ("proxy_connect_timeout", "connect_timeout"),
    ("proxy_read_timeout", "read_timeout"),
    ("proxy_send_timeout", "send_timeout"),
    ("client_header_timeout", "client_header_timeout"),
    ("client_body_timeout", "client_body_timeout"),
    ("keepalive_timeout", "keepalive_timeout"),
];

const RETRIES: [&str; 11] = [
    "error",
    "timeout",
    "invalid_header",
    "http_403",
    "http_404",
    "http_429",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "non_idempotent",
];

impl Settings {
    /// What holds in a block of these statements within one where `self` holds. Directives that
    /// are no settings are given back.
    pub(super) fn within<'a>(
        &self,
        statements: &'a [Statement],
        notes: &mut Notes,
    ) -> (Self, Vec<&'a Statement>) {
        let mut own = Self::default();
        let others: Vec<_> = statements
            .iter()
            .filter(|statement| !own.take(statement, notes))
            .collect();
        let mut settings = self.clone();
        settings.keys.extend(own.keys);
        for (list, own) in [
            (&mut settings.request, own.request),
            (&mut settings.response, own.response),
            (&mut settings.hidden, own.hidden),
        ] {
            if !own.is_empty() {
                *list = own;
            }
        }
        if !own.access.is_empty() {
            settings.access = own.access;
        }
        settings.content_type = own.content_type.or(settings.content_type);
        settings.closed = own.closed.or(settings.closed);
        (settings, others)
    }

    /// Whether the directive is a setting.
    fn take(&mut self, statement: &Statement, notes: &mut Notes) -> bool {
        let keyword = statement.keyword();
        if let Some((_, key)) = TIMES.iter().find(|(name, _)| *name == keyword) {
            self.time(key, statement, notes);
            return true;
        }
        match keyword {
            "client_max_body_size" => {
                let read = statement.parsed("a size such as 10m", size);
                if let Some(value) = notes.take(read) {
                    self.set("client_max_body_size", value, statement);
                }
            }
            "proxy_next_upstream" => self.next_upstream(statement, notes),
            "proxy_next_upstream_tries" => {
                if let Some(tries) = notes.take(statement.number(0..=1000)) {
                    self.set("next_upstream_tries", tries.to_string(), statement);
                }
            }
            "proxy_next_upstream_timeout" => {
                if let Some(ms) = notes.take(time(statement)) {
                    self.set("next_upstream_timeout", duration(ms), statement);
                }
            }
            "proxy_set_header" | "add_header" => {
                let [name, value, rest @ ..] = statement.args() else {
                    let message = format!("{keyword}: expected a name and a value");
                    notes.mistake(statement, message);
                    return true;
                };
                let entry = (name.text.clone(), value.text.clone(), name.place.clone());
                if keyword == "add_header" {
                    if rest.iter().all(|word| word.text != "always") {
                        notes.remark(statement, "counts for all answers, as with always");
                    }
                    self.response.push(entry);
                } else {
                    self.request.push(entry);
                }
            }
            "proxy_hide_header" => {
                if let Some(name) = notes.take(statement.need("a name")) {
                    let entry = (name.text.clone(), String::new(), name.place.clone());
                    self.hidden.push(entry);
                }
            }
            "default_type" => self.content_type = statement.arg().map(str::to_owned),
            "allow" | "deny" => {
                if let Some(word) = notes.take(statement.need("an address, a network or all")) {
                    let entry = (keyword == "allow", word.text.clone(), word.place.clone());
                    self.access.push(entry);
                }
            }
            "auth_basic" | "auth_request" | "auth_jwt" if statement.arg() != Some("off") => {
                let why =
                    "no equivalent: the proxy answers 403, so that nothing is open that was not";
                notes.unmatched(statement, why);
                self.closed = Some(statement.place().clone());
            }
            _ => return false,
        }
        true
    }

    /// Conditions that a request must meet to get in, and those that keep it out.
    pub(super) fn guards(&self) -> (Vec<Condition>, Vec<Condition>) {
        let source = |networks: Vec<String>| Condition {
            key: "source",
            value: format!("[{}]", networks.join(", ")),
        };
        let mut guards: Vec<_> = self.methods.clone().into_iter().collect();
        let mut refused = Vec::new();
        let (mut allowed, mut denied) = (Vec::new(), Vec::new());
        for (allow, who, _) in &self.access {
            match (allow, who.as_str()) {
                // The end of the list: what was allowed before gets in, or what was denied does not.
                (false, "all") => {
                    // Nobody is in this network: nobody gets in.
                    if allowed.is_empty() {
                        allowed.push(quoted("255.255.255.255"));
                    }
                    guards.push(source(allowed));
                    break;
                }
                (true, "all") => break,
                (true, who) => allowed.push(quoted(who)),
                (false, who) => denied.push(quoted(who)),
            }
        }
        if !denied.is_empty() {
            refused.push(source(denied));
        }
        (guards, refused)
    }

    fn set(&mut self, key: &'static str, value: String, statement: &Statement) {
        let place = statement.place().clone();
        self.keys.insert(key, Setting { value, place });
    }

    fn time(&mut self, key: &'static str, statement: &Statement, notes: &mut Notes) {
        match notes.take(time(statement)) {
            Some(0) => {
                let why = "no equivalent of 0: the default holds";
                notes.unmatched(statement, why);
            }
            Some(ms) => self.set(key, duration(ms), statement),
            None => {}
        }
    }

    fn next_upstream(&mut self, statement: &Statement, notes: &mut Notes) {
        let mut on = Vec::new();
        for word in statement.args() {
            match word.text.as_str() {
                "off" => {}
                text if RETRIES.contains(&text) => on.push(quoted(text)),
                text => {
                    let list = RETRIES.join(", ");
                    let message = format!(
                        "proxy_next_upstream {}: expected off, or some of {list}",
                        one_line(text)
                    );
                    notes
                        .mistakes
                        .push(crate::place::Mistake::at(&word.place, message));
                }
            }
        }
        self.set("next_upstream", format!("[{}]", on.join(", ")), statement);
    }
}

fn time(statement: &Statement) -> Result<u64, crate::place::Mistake> {
    statement.parsed("a time such as 60s, at most a year", milliseconds)
}

/// A table of headers as TOML; None if there are none. Later ones of a name count, as a table has
/// each name once.
pub(super) fn table(headers: &Headers) -> Option<Setting> {
    let (_, _, place) = headers.first()?;
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for (name, value, _) in headers {
        entries.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        entries.push((name, value));
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, value)| {
            let name = if !name.is_empty() && name.chars().all(bare) {
                (*name).to_owned()
            } else {
                quoted(name)
            };
            format!("{name} = {}", quoted(value))
        })
        .collect();
    Some(Setting {
        value: format!("{{ {} }}", entries.join(", ")),
        place: place.clone(),
    })
}
