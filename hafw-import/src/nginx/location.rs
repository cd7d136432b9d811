//! `location`: which routes it comes to.
//!
//! A location is one route without further conditions, before it those of its `if`s. nginx runs an
//! `if` with `return` at once, and of those with `proxy_pass` the last that holds counts: so they
//! stand here in the opposite order.

use super::{
    Context,
    condition::{self, Condition, any_case, escaped},
    ignored,
    settings::Settings,
};
use crate::{
    draft::quoted,
    place::{Mistake, Place},
    statement::Statement,
};

/// The path of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Any,
    Exact(String),
    Prefix(String),
    Final(String),
    Regex(String),
}

/// What a route does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Upstream {
        name: String,
        /// What `proxy_pass` names the server, for the Host header.
        host: String,
        replace: Option<String>,
    },
    Respond {
        status: u16,
        body: String,
    },
    Redirect {
        status: u16,
        to: String,
    },
}

/// A route before it is written.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) path: Path,
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
    /// As TOML.
    pub(super) rewrites: Vec<(String, Place)>,
    pub(super) settings: Settings,
    pub(super) about: String,
    pub(super) place: Place,
}

/// A block of directives: what it does, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Conditions and what is then done, in the order in which they are to be asked.
    branches: Vec<(Vec<Condition>, Then)>,
    pub(super) rewrites: Vec<(String, Place)>,
    /// An unconditional `return`.
    returned: Option<Action>,
    passed: Vec<(Vec<Condition>, Action)>,
    /// There are static files, or something else that hafw does not do.
    otherwise: Option<u16>,
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Then {
    action: Action,
    rewrites: Vec<(String, Place)>,
    settings: Settings,
    place: Place,
    about: String,
}

/// The location's path. None for named ones, which only other directives lead to.
///
/// # Errors
/// There is none.
pub(super) fn path(statement: &Statement) -> Result<Option<Path>, Mistake> {
    let words: Vec<_> = statement
        .args()
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    // The modifier may stand against the path.
    let joined = |modifier: &str| {
        let [word] = words.as_slice() else {
            return None;
        };
        word.strip_prefix(modifier).map(str::to_owned)
    };
    match words.as_slice() {
        ["=", path] => Ok(Some(Path::Exact((*path).to_owned()))),
        ["^~", path] => Ok(Some(Path::Final((*path).to_owned()))),
        ["~", regex] => Ok(Some(Path::Regex((*regex).to_owned()))),
        ["~*", regex] => Ok(Some(Path::Regex(any_case(regex)))),
        [name] if name.starts_with('@') => Ok(None),
        [_] => Ok(Some(if let Some(path) = joined("=") {
            Path::Exact(path)
        } else if let Some(path) = joined("^~") {
            Path::Final(path)
        } else if let Some(regex) = joined("~*") {
            Path::Regex(any_case(&regex))
        } else if let Some(regex) = joined("~") {
            Path::Regex(regex)
        } else {
            Path::Prefix(words.concat())
        })),
        _ => {
            let message = "location: expected a path, or one of = ^~ ~ ~* and a path";
            Err(Mistake::at(statement.place(), message))
        }
    }
}

impl Content {
    /// Reads a block in which `outer` holds. Nested locations are given back.
    pub(super) fn read<'a>(
        statements: &'a [Statement],
        path: &Path,
        outer: &Settings,
        context: &mut Context<'_>,
    ) -> (Self, Vec<&'a Statement>) {
        let (settings, directives) = outer.within(statements, &mut context.notes);
        let mut content = Self {
            settings,
            ..Self::default()
        };
        let mut nested = Vec::new();
        let mut last_wins = Vec::new();
        for statement in directives {
            if content.returned.is_some() && statement.keyword() != "location" {
                continue;
            }
            match statement.keyword() {
                "location" => nested.push(statement),
                "if" => content.branch(statement, path, context, &mut last_wins),
                keyword => content.directive(keyword, statement, path, context),
            }
        }
        last_wins.reverse();
        content.branches.extend(last_wins);
        (content, nested)
    }

    /// Settings that hold in the block.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether anything is done without a condition.
    pub(super) fn returns(&self) -> bool {
        self.returned.is_some()
    }

    /// Whether anything is done under a condition.
    pub(super) fn branches(&self) -> bool {
        !self.branches.is_empty()
    }

    fn directive(
        &mut self,
        keyword: &str,
        statement: &Statement,
        path: &Path,
        context: &mut Context<'_>,
    ) {
        match keyword {
            "proxy_pass" => self.passed = proxy_pass(statement, path, context),
            "return" => self.returned = returned(statement, context),
            "rewrite" => {
                if let Some(rule) = rewrite(statement, context) {
                    self.rewrites.push((rule, statement.place().clone()));
                }
            }
            "limit_except" => {
                let closed = statement.inner().iter();
                let closed = closed.clone().any(|inner| inner.keyword() == "deny");
                if closed {
                    self.settings.methods = Some(condition::limit_except(statement.args()));
                } else {
                    context.notes.unmatched(statement, "no equivalent");
                }
            }
            "internal" => self.otherwise = Some(404),
            "root" | "alias" | "try_files" | "index" | "autoindex" | "expires" | "stub_status" => {
                let why = "hafw serves no files: 404, unless there is a proxy_pass";
                context.notes.unmatched(statement, why);
                self.otherwise = self.otherwise.or(Some(404));
            }
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" | "memcached_pass" => {
                let why = "hafw speaks HTTP to servers only: 502";
                context.notes.unmatched(statement, why);
                self.otherwise = Some(502);
            }
            keyword => {
                if let Some(why) = ignored::why(keyword, statement) {
                    context.notes.unmatched(statement, why);
                }
            }
        }
    }

    fn branch(
        &mut self,
        statement: &Statement,
        path: &Path,
        context: &mut Context<'_>,
        last_wins: &mut Vec<(Vec<Condition>, Then)>,
    ) {
        let condition = match condition::of_if(statement) {
            Ok(condition) => condition,
            Err(why) => {
                let why = format!("{why}: what is in it is left out");
                context.notes.unmatched(statement, &why);
                return;
            }
        };
        let outer = self.settings.clone();
        let (inner, _) = Self::read(statement.inner(), path, &outer, context);
        let then = |action, settings| Then {
            action,
            rewrites: inner.rewrites.clone(),
            settings,
            place: statement.place().clone(),
            about: statement.shown(),
        };
        if let Some(action) = inner.returned {
            let conditions = vec![condition];
            self.branches
                .push((conditions, then(action, inner.settings)));
            return;
        }
        // The order is turned round later.
        for (more, action) in inner.passed.into_iter().rev() {
            let conditions = [condition.clone()].into_iter().chain(more).collect();
            last_wins.push((conditions, then(action, inner.settings.clone())));
        }
        if last_wins.is_empty() && !inner.rewrites.is_empty() {
            let why = "no equivalent of a rewrite under a condition: left out";
            context.notes.unmatched(statement, why);
        }
    }

    /// The routes of a location with this content, the server's `outer` conditions first.
    pub(super) fn routes(
        &self,
        outer: Option<&Self>,
        path: &Path,
        about: &str,
        place: &Place,
    ) -> Vec<Route> {
        let route = |conditions: Vec<Condition>, then: &Then| Route {
            path: path.clone(),
            conditions,
            action: then.action.clone(),
            rewrites: then.rewrites.clone(),
            settings: then.settings.clone(),
            about: then.about.clone(),
            place: then.place.clone(),
        };
        let mut routes = Vec::new();
        for (conditions, then) in outer.iter().flat_map(|outer| &outer.branches) {
            routes.push(route(conditions.clone(), then));
        }
        let closed = Action::Respond {
            status: 403,
            body: String::new(),
        };
        let (guards, refused) = self.settings.guards();
        let passes =
            |(_, then): &&(Vec<Condition>, Then)| matches!(then.action, Action::Upstream { .. });
        for (conditions, then) in self.branches.iter().filter(|branch| !passes(branch)) {
            routes.push(route(conditions.clone(), then));
        }
        let then = |action| Then {
            action,
            rewrites: self.rewrites.clone(),
            settings: self.settings.clone(),
            place: place.clone(),
            about: about.to_owned(),
        };
        if let Some(action) = &self.returned {
            routes.push(route(Vec::new(), &then(action.clone())));
            return routes;
        }
        for condition in refused {
            routes.push(route(vec![condition], &then(closed.clone())));
        }
        if self.settings.closed.is_some() {
            routes.push(route(Vec::new(), &then(closed)));
            return routes;
        }
        for (conditions, then) in self.branches.iter().filter(passes) {
            let conditions = conditions.iter().chain(&guards).cloned().collect();
            routes.push(route(conditions, then));
        }
        for (conditions, action) in &self.passed {
            let conditions = conditions.iter().chain(&guards).cloned().collect();
            routes.push(route(conditions, &then(action.clone())));
        }
        if self.passed.is_empty() {
            // nginx would look for a file.
            let status = self.otherwise.unwrap_or(404);
            let body = String::new();
            routes.push(route(Vec::new(), &then(Action::Respond { status, body })));
        } else if !guards.is_empty() {
            routes.push(route(Vec::new(), &then(closed)));
        }
        routes
    }
}

/// Where a request is passed to: one place, or several by a `map`.
fn proxy_pass(
    statement: &Statement,
    path: &Path,
    context: &mut Context<'_>,
) -> Vec<(Vec<Condition>, Action)> {
    let Some(word) = context
        .notes
        .take(statement.need("a URL such as http://NAME"))
    else {
        return Vec::new();
    };
    let word = word.clone();
    let nowhere = |context: &mut Context<'_>, why: &str| {
        context.notes.unmatched(statement, why);
        let action = Action::Respond {
            status: 502,
            body: String::new(),
        };
        vec![(Vec::new(), action)]
    };
    let Some(rest) = word.text.strip_prefix("http://") else {
        return nowhere(context, "hafw speaks HTTP in clear to servers: 502 instead");
    };
    let (host, uri) = match rest.strip_prefix("unix:") {
        // The path of a socket ends at a colon.
        Some(path) => {
            let at = path.find(':').map_or(rest.len(), |at| at + "unix:".len());
            let (host, uri) = rest.split_at(at);
            (host, uri.trim_start_matches(':'))
        }
        None => rest.split_at(rest.find('/').unwrap_or(rest.len())),
    };
    // As the client asked: what is sent on anyway.
    let uri = match uri {
        "" | "$request_uri" | "$uri" | "$uri$is_args$args" => None,
        uri => Some(uri),
    };
    let host = host.strip_suffix("$request_uri").unwrap_or(host);
    if uri.is_some_and(|uri| uri.contains('$')) {
        return nowhere(
            context,
            "no equivalent of variables in the path: 502 instead",
        );
    }
    let replace = match (uri, path) {
        (None, _) => None,
        // The same as what the client wrote.
        (Some(uri), Path::Prefix(prefix) | Path::Final(prefix)) if uri == prefix => None,
        (Some(uri), _) => Some(uri.to_owned()),
    };
    if let Some(variable) = host.strip_prefix('$') {
        let Some(map) = context.maps.get(variable).cloned() else {
            let why = "no equivalent of this variable: 502 instead";
            return nowhere(context, why);
        };
        let mut routes = Vec::new();
        for (condition, name) in map {
            let action = Action::Upstream {
                name: context.upstreams.named(&name, &word.place),
                host: name,
                replace: replace.clone(),
            };
            routes.push((condition.into_iter().collect(), action));
        }
        return routes;
    }
    if host.contains('$') {
        return nowhere(
            context,
            "no equivalent of variables in the name: 502 instead",
        );
    }
    let action = Action::Upstream {
        name: context.upstreams.named(host, &word.place),
        host: match host.starts_with("unix:") {
            // As nginx says of a socket.
            true => "localhost".to_owned(),
            false => host.strip_suffix(":80").unwrap_or(host).to_owned(),
        },
        replace,
    };
    vec![(Vec::new(), action)]
}

fn returned(statement: &Statement, context: &mut Context<'_>) -> Option<Action> {
    let word = context.notes.take(statement.need("a status or a URL"))?;
    let Ok(status) = word.text.parse::<u16>() else {
        return Some(Action::Redirect {
            status: 302,
            to: absolute(&word.text),
        });
    };
    let text = statement.args().get(1).map(|word| word.text.clone());
    if let (301 | 302 | 303 | 307 | 308, Some(to)) = (status, &text) {
        let to = absolute(to);
        return Some(Action::Redirect { status, to });
    }
    if status == 444 {
        let why = "the connection is answered with 444 and not closed without an answer";
        context.notes.unmatched(statement, why);
    }
    if !(200..=599).contains(&status) {
        let wrong = statement.wrong(word, "a status from 200 to 599");
        context.notes.mistakes.push(wrong);
        return None;
    }
    let body = text.unwrap_or_default();
    Some(Action::Respond { status, body })
}

/// Where a client is sent: nginx names the site where the configuration names none.
pub(super) fn absolute(to: &str) -> String {
    if to.starts_with('/') {
        format!("$scheme://$http_host{to}")
    } else {
        to.to_owned()
    }
}

/// A rule as TOML.
fn rewrite(statement: &Statement, context: &mut Context<'_>) -> Option<String> {
    let [regex, to, flags @ ..] = statement.args() else {
        let message = "rewrite: expected a regular expression and a replacement";
        context.notes.mistake(statement, message);
        return None;
    };
    let elsewhere = ["http://", "https://", "$scheme"]
        .iter()
        .any(|start| to.text.starts_with(start));
    let then = match flags.first().map(|word| word.text.as_str()) {
        Some(flag @ ("last" | "break" | "redirect" | "permanent")) => flag,
        None if elsewhere => "redirect",
        None => "next",
        Some(_) => {
            let expected = "last, break, redirect or permanent";
            let wrong = statement.wrong(flags.first()?, expected);
            context.notes.mistakes.push(wrong);
            return None;
        }
    };
    let then = if elsewhere && matches!(then, "last" | "break") {
        "redirect"
    } else {
        then
    };
    let target = if matches!(then, "redirect" | "permanent") {
        absolute(&to.text)
    } else {
        to.text.clone()
    };
    Some(format!(
        "{{ regex = {}, to = {}, then = \"{then}\" }}",
        quoted(&regex.text),
        quoted(&target)
    ))
}

/// A regular expression of a location within a prefix: it is asked for paths below that only.
pub(super) fn below(prefix: &str, regex: &str) -> String {
    let (flags, bare) = match regex.strip_prefix("(?i)") {
        Some(bare) => ("(?i)", bare),
        None => ("", regex),
    };
    let start = format!("^{}", escaped(prefix));
    if prefix == "/" || bare.starts_with(&start) || bare.starts_with(&format!("^{prefix}")) {
        return regex.to_owned();
    }
    match bare.strip_prefix('^') {
        // It says where it begins, and that is elsewhere or above.
        Some(_) => regex.to_owned(),
        None => format!("{flags}{start}.*(?:{bare})"),
    }
}
