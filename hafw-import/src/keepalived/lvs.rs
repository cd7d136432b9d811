//! `virtual_server` and `virtual_server_group`: `[[service]]`.

mod addresses;

use super::{Notes, blocks, checker, keywords, name, notify, timer};
use crate::{
    draft::Section,
    place::{Mistake, Place, one_line},
    statement::{Statement, Word},
};
use addresses::{Endpoint, endpoints, socket};

/// Statements of a virtual server, a real server or a checker that say when to look.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    /// Seconds.
    pub(super) delay_loop: f64,
    pub(super) connect_timeout: f64,
    pub(super) retry: Option<i64>,
}

impl Timing {
    /// keepalived's defaults.
    const DEFAULT: Self = Self {
        delay_loop: 60.0,
        connect_timeout: 5.0,
        retry: None,
    };

    /// Whether the statement is about timing; then it counts.
    pub(super) fn take(&mut self, statement: &Statement, notes: &mut Notes) -> bool {
        match statement.keyword() {
            "delay_loop" => {
                if let Some(seconds) = notes.take(timer(statement, 0.001, 86_400.0)) {
                    self.delay_loop = seconds;
                }
            }
            "connect_timeout" => {
                if let Some(seconds) = notes.take(timer(statement, 0.001, 86_400.0)) {
                    self.connect_timeout = seconds;
                }
            }
            "retry" | "nb_get_retry" => {
                self.retry = notes.take(statement.number(0..=999)).or(self.retry);
            }
            "delay_before_retry" => {
                notes.take(timer(statement, 0.0, 86_400.0));
                let why = "a look that failed is repeated after the interval, as any";
                notes.unmatched(statement, why);
            }
            _ => return false,
        }
        true
    }
}

/// All virtual servers; one section for each address of a group.
pub(super) fn services(statements: &[Statement], notes: &mut Notes) -> Vec<Section> {
    let mut sections = Vec::new();
    for block in blocks(statements, "virtual_server") {
        sections.extend(virtual_server(block, statements, notes));
    }
    for group in blocks(statements, "virtual_server_group") {
        let name = name(group, notes);
        let uses = |server: &Statement| {
            server.arg() == Some("group")
                && server.args().get(1).map(|word| one_line(&word.text)) == name
        };
        if name.is_some() && !blocks(statements, "virtual_server").any(uses) {
            notes.remark(group, "no virtual_server uses it");
        }
    }
    sections
}

/// A virtual server before its addresses are looked at.
struct Given<'a> {
    mode: (&'static str, Option<Place>),
    protocol: (&'static str, Option<Place>),
    timing: Timing,
    virtual_host: Option<&'a Word>,
    real: Vec<&'a Statement>,
    unmatched: Vec<(&'a Statement, String)>,
}

fn virtual_server(block: &Statement, statements: &[Statement], notes: &mut Notes) -> Vec<Section> {
    let endpoints = endpoints(block, statements, notes);
    let given = given(block, notes);
    for (statement, why) in &given.unmatched {
        notes.unmatched(statement, why);
    }
    let backends: Vec<_> = given
        .real
        .iter()
        .filter_map(|real| backend(real, &given, notes))
        .collect();
    let health = checker::health(
        &backends
            .iter()
            .map(|backend| (backend.statement, backend.timing.clone()))
            .collect::<Vec<_>>(),
        given.virtual_host,
        notes,
    );
    let mut sections = Vec::new();
    for endpoint in endpoints {
        sections.push(section(
            block,
            &endpoint,
            &given,
            &backends,
            health.as_ref(),
            notes,
        ));
    }
    sections
}

fn given<'a>(block: &'a Statement, notes: &mut Notes) -> Given<'a> {
    let mut given = Given {
        // keepalived's defaults.
        mode: ("nat", None),
        protocol: ("tcp", None),
        timing: Timing::DEFAULT,
        virtual_host: None,
        real: Vec::new(),
        unmatched: Vec::new(),
    };
    for statement in block.inner() {
        match statement.keyword() {
            "lvs_method" | "lb_kind" => {
                if let Some(mode) = notes.take(method(statement)) {
                    given.mode = (mode, Some(statement.place().clone()));
                }
            }
            "lvs_sched" | "lb_algo" => {
                let hashed = matches!(statement.arg(), Some("sh" | "mh"));
                if !hashed {
                    let why = "flows are spread over the backends by a hash, by weight";
                    given.unmatched.push((statement, why.to_owned()));
                }
            }
            "protocol" => {
                let read =
                    statement.parsed("TCP or UDP (SCTP has no equivalent)", |text| {
                        match text.to_ascii_uppercase().as_str() {
                            "TCP" => Some("tcp"),
                            "UDP" => Some("udp"),
                            _ => None,
                        }
                    });
                if let Some(protocol) = notes.take(read) {
                    given.protocol = (protocol, Some(statement.place().clone()));
                }
            }
            "virtualhost" => given.virtual_host = statement.args().first(),
            "real_server" => given.real.push(statement),
            "persistence_timeout" => {
                let why = "no equivalent: a flow stays with its backend, a client need not";
                given.unmatched.push((statement, why.to_owned()));
            }
            "sorry_server" => {
                let why = "no equivalent yet: without a backend that is up, flows are dropped";
                given.unmatched.push((statement, why.to_owned()));
            }
            "smtp_alert" => {}
            keyword if notify::PARTIAL.contains(&keyword) || keyword == "quorum_down" => {
                given
                    .unmatched
                    .push((statement, notify::WHY_PARTIAL.to_owned()));
            }
            keyword => {
                if !given.timing.take(statement, notes) {
                    let why = keywords::why_not(keyword).to_owned();
                    given.unmatched.push((statement, why));
                }
            }
        }
    }
    given
}

fn method(statement: &Statement) -> Result<&'static str, Mistake> {
    let word = statement.need("NAT, DR or TUN")?;
    match word.text.as_str() {
        "NAT" => Ok("nat"),
        "DR" => Ok("dsr"),
        "TUN" => {
            let words: Vec<_> = statement
                .args()
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            let kind = words.windows(2).find(|pair| pair.first() == Some(&"type"));
            match kind.and_then(|pair| pair.get(1)) {
                None | Some(&"ipip") => Ok("ipip"),
                Some(&"gue") => Ok("gue"),
                Some(_) => Err(statement.wrong(word, "type ipip or gue (GRE has no equivalent)")),
            }
        }
        _ => Err(statement.wrong(word, "NAT, DR or TUN")),
    }
}

struct Backend<'a> {
    statement: &'a Statement,
    address: Endpoint,
    weight: Option<(i64, Place)>,
    timing: Timing,
    unmatched: Vec<(&'a Statement, &'static str)>,
}

fn backend<'a>(block: &'a Statement, given: &Given<'_>, notes: &mut Notes) -> Option<Backend<'a>> {
    let address = notes.take(socket(block))?;
    let mut backend = Backend {
        statement: block,
        address,
        weight: None,
        timing: given.timing.clone(),
        unmatched: Vec::new(),
    };
    for statement in block.inner() {
        match statement.keyword() {
            "weight" => {
                let weight = notes.take(statement.number(0..=65_535));
                backend.weight = weight.map(|weight| (weight, statement.place().clone()));
            }
            "lvs_method" => {
                if notes.take(method(statement))? != given.mode.0 {
                    let why = "no equivalent: all backends of a service have its mode; left out";
                    notes.unmatched(block, why);
                    return None;
                }
            }
            "virtualhost" | "smtp_alert" => {}
            keyword if notify::PARTIAL.contains(&keyword) => {
                backend.unmatched.push((statement, notify::WHY_PARTIAL));
            }
            keyword if checker::KINDS.contains(&keyword) => {}
            keyword => {
                if !backend.timing.take(statement, notes) {
                    backend
                        .unmatched
                        .push((statement, keywords::why_not(keyword)));
                }
            }
        }
    }
    for (statement, why) in &backend.unmatched {
        notes.unmatched(statement, why);
    }
    Some(backend)
}

fn section(
    block: &Statement,
    endpoint: &Endpoint,
    given: &Given<'_>,
    backends: &[Backend<'_>],
    health: Option<&checker::Health>,
    notes: &mut Notes,
) -> Section {
    let place = Some(&endpoint.place);
    let mut section = Section::new("[[service]]", Some(block.place()), &block.shown());
    let (protocol, protocol_place) = &given.protocol;
    let name = format!("{} {protocol}", endpoint.shown());
    section.text("name", &name, place);
    section
        .text("vip", &endpoint.address.to_string(), place)
        .essential();
    match endpoint.port {
        Some(port) => section.key("port", port, place),
        None => section.text("port", "any", place).essential(),
    };
    section
        .text("protocol", protocol, protocol_place.as_ref())
        .essential();
    let (mode, mode_place) = &given.mode;
    section.text("mode", mode, mode_place.as_ref()).essential();
    if let Some(health) = health {
        health.write(&mut section, endpoint.port, *mode == "nat");
    }
    for (statement, why) in &given.unmatched {
        section.note(&format!(
            "{}: {}: {why}",
            statement.place().short(),
            statement.shown()
        ));
    }
    for backend in backends {
        let from = backend.statement.place();
        let mut part = Section::new(
            "[[service.backend]]",
            Some(from),
            &backend.statement.shown(),
        );
        let port = if *mode == "nat" {
            backend.address.port.or(endpoint.port)
        } else {
            // The packet's port is not changed, whatever keepalived is told.
            if backend
                .address
                .port
                .is_some_and(|port| Some(port) != endpoint.port)
            {
                let why = format!("{mode} keeps the service's port, as in LVS");
                notes.remark(backend.statement, why);
            }
            endpoint.port
        };
        let address = Endpoint {
            port: Some(port.unwrap_or(1)),
            ..backend.address.clone()
        };
        part.text("address", &address.shown(), Some(&backend.address.place))
            .essential();
        if let Some((weight, place)) = &backend.weight {
            part.key("weight", weight, Some(place));
        }
        for (statement, why) in &backend.unmatched {
            part.note(&format!(
                "{}: {}: {why}",
                statement.place().short(),
                statement.shown()
            ));
        }
        section.parts.push(part);
    }
    if backends.is_empty() {
        notes.remark(block, "a service needs a backend");
    }
    section
}
