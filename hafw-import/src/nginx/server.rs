//! `server`: `[[server]]` with its routes.

use std::collections::BTreeMap;

use super::{
    Context,
    listen::{self, Listen, Listener},
    location::{Action, Content, Path, Route, absolute, below, path},
    settings::{Setting, Settings, UPSTREAM_KEYS, table},
};
use crate::{
    draft::{Section, quoted},
    place::{Place, Remark, one_line},
    statement::Statement,
};

/// All servers of an `http` block in which `outer` holds.
pub(super) fn servers(
    statements: &[&Statement],
    outer: &Settings,
    context: &mut Context<'_>,
) -> Vec<Section> {
    let listens: Vec<Vec<Listen>> = statements
        .iter()
        .map(|statement| {
            let all = statement.inner().iter();
            let all: Vec<_> = all.filter(|inner| inner.keyword() == "listen").collect();
            if all.is_empty() {
                return vec![listen::standard(statement)];
            }
            let notes = &mut context.notes;
            all.into_iter()
                .filter_map(|inner| listen::read(inner, notes))
                .collect()
        })
        .collect();
    let listeners = listen::listeners(&listens, context.addresses, &mut context.notes);
    let mut sections = Vec::new();
    for (statement, listeners) in statements.iter().zip(listeners) {
        let before = context.notes.remarks.len();
        let server = server(statement, outer, context);
        let remarks = context
            .notes
            .remarks
            .get(before..)
            .unwrap_or_default()
            .to_vec();
        // hafw's default is one for all addresses of a server, nginx's one for each.
        let (default, other): (Vec<_>, Vec<_>) = listeners
            .into_iter()
            .partition(|listener| listener.is_default);
        for listeners in [default, other] {
            if !listeners.is_empty() {
                sections.push(server.write(&listeners, &remarks));
            }
        }
    }
    sections
}

struct Server {
    place: Place,
    hosts: Vec<(String, Place)>,
    certificate: Option<(String, String)>,
    rewrites: Vec<(String, Place)>,
    routes: Vec<Route>,
    /// Settings that all routes share.
    shared: BTreeMap<&'static str, Setting>,
    /// Those of each route.
    own: Vec<BTreeMap<&'static str, Setting>>,
}

fn server(statement: &Statement, outer: &Settings, context: &mut Context<'_>) -> Server {
    let mut hosts = Vec::new();
    let (mut certificate, mut key) = (None, None);
    let mut rest = Vec::new();
    for inner in statement.inner() {
        match inner.keyword() {
            "listen" => {}
            "server_name" => {
                for word in inner.args() {
                    // Names that no client asks for: nginx's way to have none.
                    if !matches!(word.text.as_str(), "" | "_" | "-" | "--") {
                        hosts.push((one_line(&word.text), word.place.clone()));
                    }
                }
            }
            "ssl_certificate" => certificate = context.file(inner),
            "ssl_certificate_key" => key = context.file(inner),
            _ => rest.push(inner.clone()),
        }
    }
    let (content, locations) = Content::read(&rest, &Path::Any, outer, context);
    let mut routes = Vec::new();
    if content.returns() || locations.is_empty() {
        routes = content.routes(None, &Path::Any, &statement.shown(), statement.place());
        if content.returns() && !locations.is_empty() {
            let why = "the server's return answers everything: its locations are left out";
            context.notes.remark(statement, why);
        }
    } else {
        let mut walk = Walk {
            server: &content,
            context,
            routes: &mut routes,
        };
        walk.level(&locations, None, content.settings());
        // The server's conditions count for paths without a location too.
        if content.branches()
            && !routes
                .iter()
                .any(|route| route.path == Path::Prefix("/".into()))
        {
            let nothing = Content::default();
            let (about, place) = (statement.shown(), statement.place());
            routes.extend(nothing.routes(Some(&content), &Path::Any, &about, place));
        }
    }
    let (shared, own) = share(&routes);
    Server {
        place: statement.place().clone(),
        hosts,
        certificate: certificate.zip(key),
        rewrites: content.rewrites.clone(),
        routes,
        shared,
        own,
    }
}

struct Walk<'a, 'b> {
    server: &'a Content,
    context: &'a mut Context<'b>,
    routes: &'a mut Vec<Route>,
}

impl Walk<'_, '_> {
    /// The routes of locations that stand beside each other, what is nested first.
    fn level(&mut self, locations: &[&Statement], within: Option<&str>, outer: &Settings) {
        let mut paths = Vec::new();
        for location in locations {
            match self.context.notes.take(path(location)) {
                Some(Some(path)) => paths.push((*location, path)),
                Some(None) => {
                    let why = "no equivalent: hafw has no named locations";
                    self.context.notes.unmatched(location, why);
                }
                None => {}
            }
        }
        // Regular expressions within a prefix are asked before those beside it.
        let is_regex = |path: &Path| matches!(path, Path::Regex(_));
        let (regexes, others): (Vec<_>, Vec<_>) =
            paths.iter().cloned().partition(|(_, path)| is_regex(path));
        for (location, own) in others.iter().chain(&regexes) {
            let settings = self.location(location, own, within, outer);
            self.slash(location, own, &paths, settings);
        }
    }

    fn location(
        &mut self,
        location: &Statement,
        own: &Path,
        within: Option<&str>,
        outer: &Settings,
    ) -> Settings {
        let (content, nested) = Content::read(location.inner(), own, outer, self.context);
        match own {
            Path::Prefix(prefix) | Path::Final(prefix) => {
                self.level(&nested, Some(prefix), content.settings());
            }
            Path::Any | Path::Exact(_) | Path::Regex(_) => {
                for location in nested {
                    let why = "no equivalent of a location within this one";
                    self.context.notes.unmatched(location, why);
                }
            }
        }
        let path = match (own, within) {
            (Path::Regex(regex), Some(prefix)) => Path::Regex(below(prefix, regex)),
            (own, _) => own.clone(),
        };
        let (about, place) = (location.shown(), location.place());
        let routes = content.routes(Some(self.server), &path, &about, place);
        self.routes.extend(routes);
        content.settings().clone()
    }

    /// nginx sends who asks for `/dir` on to `/dir/`, if that is passed to a server.
    fn slash(
        &mut self,
        location: &Statement,
        own: &Path,
        beside: &[(&Statement, Path)],
        settings: Settings,
    ) {
        let (Path::Prefix(prefix) | Path::Final(prefix)) = own else {
            return;
        };
        let passes = location
            .inner()
            .iter()
            .any(|inner| inner.keyword() == "proxy_pass");
        let Some(bare) = prefix
            .strip_suffix('/')
            .filter(|bare| !bare.is_empty() && passes)
        else {
            return;
        };
        let taken = beside.iter().any(|(_, path)| match path {
            Path::Exact(path) | Path::Prefix(path) | Path::Final(path) => path == bare,
            Path::Any | Path::Regex(_) => false,
        });
        if !taken {
            self.routes.push(Route {
                path: Path::Exact(bare.to_owned()),
                conditions: Vec::new(),
                action: Action::Redirect {
                    status: 301,
                    to: absolute(&format!("{prefix}$is_args$args")),
                },
                rewrites: Vec::new(),
                settings,
                about: format!("{}, as nginx answers", location.shown()),
                place: location.place().clone(),
            });
        }
    }
}

/// What a route's settings come to as keys.
fn keys(route: &Route) -> BTreeMap<&'static str, Setting> {
    let settings = &route.settings;
    let mut keys = settings.keys.clone();
    let Action::Upstream { host, .. } = &route.action else {
        for key in UPSTREAM_KEYS {
            keys.remove(key);
        }
        keys.extend(table(&settings.response).map(|table| ("add_response_headers", table)));
        return keys;
    };
    let mut request = settings.request.clone();
    // The proxy writes these itself.
    request.retain(|(name, _, _)| {
        ![
            "connection",
            "upgrade",
            "te",
            "transfer-encoding",
            "content-length",
        ]
        .contains(&name.to_ascii_lowercase().as_str())
    });
    for (_, value, _) in &mut request {
        *value = value
            .replace("$proxy_host", host)
            .replace("${proxy_host}", host);
    }
    if !request
        .iter()
        .any(|(name, _, _)| name.eq_ignore_ascii_case("host"))
    {
        // nginx's own: `proxy_set_header Host $proxy_host`.
        request.insert(0, ("Host".to_owned(), host.clone(), route.place.clone()));
    }
    keys.extend(table(&request).map(|table| ("set_headers", table)));
    keys.extend(table(&settings.response).map(|table| ("add_response_headers", table)));
    keys.extend(table(&settings.hidden).map(|table| ("set_response_headers", table)));
    keys
}

/// Settings that all routes have, which the server may have for them; and those of each route.
fn share(
    routes: &[Route],
) -> (
    BTreeMap<&'static str, Setting>,
    Vec<BTreeMap<&'static str, Setting>>,
) {
    let mut own: Vec<_> = routes.iter().map(keys).collect();
    let mut shared: BTreeMap<&'static str, Setting> = BTreeMap::new();
    let names: Vec<&'static str> = own.iter().flat_map(|keys| keys.keys().copied()).collect();
    for name in names {
        let for_upstreams = UPSTREAM_KEYS.contains(&name) || name == "set_headers";
        let concerned = routes
            .iter()
            .zip(&own)
            .filter(|(route, _)| !for_upstreams || matches!(route.action, Action::Upstream { .. }));
        let values: Vec<_> = concerned.map(|(_, keys)| keys.get(name)).collect();
        let Some(Some(first)) = values.first().copied() else {
            continue;
        };
        let same = |value: &Option<&Setting>| value.is_some_and(|value| value.value == first.value);
        // Routes cannot have this one.
        if values.iter().all(same) || name == "client_header_timeout" {
            shared.insert(name, first.clone());
        }
    }
    for keys in &mut own {
        keys.retain(|name, _| !shared.contains_key(name));
    }
    (shared, own)
}

impl Server {
    fn write(&self, listeners: &[Listener], remarks: &[Remark]) -> Section {
        let mut section = Section::new("[[server]]", Some(&self.place), "server");
        let items = listeners
            .iter()
            .map(|listener| (self.listener(listener), listener.from.place.clone()));
        if let Some(key) = section.list("listen", items.collect()) {
            key.essential();
        }
        let hosts = self
            .hosts
            .iter()
            .map(|(host, place)| (quoted(host), place.clone()));
        section.list("hosts", hosts.collect());
        if listeners.iter().any(|listener| listener.is_default) {
            section.key("default", true, None);
        }
        for (name, setting) in &self.shared {
            section.key(name, &setting.value, Some(&setting.place));
        }
        if !self.rewrites.is_empty() {
            section.list("rewrite", self.rewrites.clone());
        }
        for remark in remarks {
            section.note(&format!("{}: {}", remark.place.short(), remark.message));
        }
        for (route, keys) in self.routes.iter().zip(&self.own) {
            section.parts.push(write_route(route, keys));
        }
        section
    }

    fn listener(&self, listener: &Listener) -> String {
        let address = quoted(&listener.socket.to_string());
        let mut keys = vec![format!("address = {address}")];
        if listener.from.tls {
            let (certificate, key) = self.certificate.clone().unwrap_or_default();
            let (certificate, key) = (quoted(&certificate), quoted(&key));
            keys.push(format!(
                "tls = {{ certificate = {certificate}, key = {key} }}"
            ));
        }
        if listener.from.proxy_protocol {
            keys.push("proxy_protocol = true".to_owned());
        }
        if keys.len() == 1 {
            return address;
        }
        format!("{{ {} }}", keys.join(", "))
    }
}

fn write_route(route: &Route, keys: &BTreeMap<&'static str, Setting>) -> Section {
    let place = Some(&route.place);
    let mut section = Section::new("[[server.route]]", place, &route.about);
    match &route.path {
        Path::Any => {}
        Path::Exact(path) => {
            section.text("path_exact", path, place).essential();
        }
        Path::Prefix(path) => {
            section.text("path_prefix", path, place).essential();
        }
        Path::Final(path) => {
            section.text("path_prefix", path, place).essential();
            section.key("final", true, place);
        }
        Path::Regex(regex) => {
            section.text("path_regex", regex, place).essential();
        }
    }
    let mut conditions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for condition in &route.conditions {
        conditions
            .entry(condition.key)
            .or_default()
            .push(&condition.value);
    }
    for (key, values) in conditions {
        let value = match values.as_slice() {
            [one] => (*one).to_owned(),
            several => format!("[{}]", several.join(", ")),
        };
        section.key(key, value, place).essential();
    }
    match &route.action {
        Action::Upstream { name, replace, .. } => {
            section.text("upstream", name, place).essential();
            if let Some(path) = replace {
                section.text("replace_prefix", path, place).essential();
            }
        }
        Action::Respond { status, body } => {
            let mut keys = format!("status = {status}");
            if !body.is_empty() {
                keys.push_str(&format!(", body = {}", quoted(body)));
                if let Some(kind) = &route.settings.content_type {
                    keys.push_str(&format!(", content_type = {}", quoted(kind)));
                }
            }
            section
                .key("respond", format!("{{ {keys} }}"), place)
                .essential();
        }
        Action::Redirect { status, to } => {
            let value = format!("{{ to = {}, status = {status} }}", quoted(to));
            section.key("redirect", value, place).essential();
        }
    }
    if !route.rewrites.is_empty()
        && let Some(key) = section.list("rewrite", route.rewrites.clone())
    {
        key.essential();
    }
    for (name, setting) in keys {
        section.key(name, &setting.value, Some(&setting.place));
    }
    section
}
