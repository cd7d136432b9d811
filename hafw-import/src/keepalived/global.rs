//! `global_defs`: the node's name, and the defaults of routers.

use super::{Notes, blocks, keywords, on, timer};
use crate::{
    Surroundings,
    draft::Section,
    statement::{Statement, Word},
};

/// What `global_defs` sets for the rest.
#[derive(Default)]
pub(super) struct Globals {
    router_id: Option<Word>,
    /// VRRP version of instances that name none.
    pub(super) version: Option<u8>,
    pub(super) down_timer_adverts: Option<Statement>,
    /// Seconds.
    pub(super) startup_delay: Option<(f64, Statement)>,
    pub(super) strict: bool,
    realtime_priority: Option<(i64, Statement)>,
    pub(super) script_user: Option<Word>,
    pub(super) recipients: Vec<Word>,
    pub(super) from: Option<Word>,
    /// Host, and port if there is one.
    pub(super) smtp: Option<(Word, Option<Word>)>,
    pub(super) smtp_timeout: Option<(f64, Statement)>,
    /// Statements without an equivalent: noted in the node's section.
    unmatched: Vec<(Statement, &'static str)>,
}

impl Globals {
    pub(super) fn read(statements: &[Statement], notes: &mut Notes) -> Self {
        let mut globals = Self::default();
        for statement in blocks(statements, "global_defs").flat_map(Statement::inner) {
            globals.statement(statement, notes);
        }
        for (statement, why) in &globals.unmatched {
            notes.unmatched(statement, why);
        }
        globals
    }

    fn statement(&mut self, statement: &Statement, notes: &mut Notes) {
        let word = |expected, notes: &mut Notes| notes.take(statement.need(expected)).cloned();
        match statement.keyword() {
            "router_id" | "lvs_id" => self.router_id = word("a name", notes),
            "vrrp_version" => {
                self.version = notes.take(statement.parsed("2 or 3", version));
            }
            "vrrp_down_timer_adverts" => self.down_timer_adverts = Some(statement.clone()),
            "vrrp_startup_delay" => {
                let delay = notes.take(timer(statement, 0.0, 1000.0));
                self.startup_delay = delay.map(|delay| (delay, statement.clone()));
            }
            "vrrp_rt_priority" => {
                let priority = notes.take(statement.number(1..=99));
                self.realtime_priority = priority.map(|priority| (priority, statement.clone()));
            }
            // hafw locks its memory unless told otherwise.
            "vrrp_no_swap" => {}
            "vrrp_strict" => self.strict = notes.take(on(statement)).unwrap_or_default(),
            "vrrp_mcast_group4" if statement.arg() == Some("224.0.0.18") => {}
            "vrrp_mcast_group4" => {
                let why = "hafw speaks on 224.0.0.18 only: set the peers' group to it";
                self.unmatched.push((statement.clone(), why));
            }
            "script_user" => self.script_user = word("a user", notes),
            "notification_email" => {
                let inner = statement.inner().iter();
                let words = inner.flat_map(|statement| statement.words.iter().cloned());
                self.recipients.extend(words);
            }
            "notification_email_from" => self.from = word("an address", notes),
            "smtp_server" => {
                let host = word("a host", notes);
                let port = statement.args().get(1).cloned();
                self.smtp = host.map(|host| (host, port));
            }
            "smtp_connect_timeout" => {
                let timeout = notes.take(timer(statement, 0.001, 86_400.0));
                self.smtp_timeout = timeout.map(|timeout| (timeout, statement.clone()));
            }
            // Alerts say everything that they can.
            "smtp_alert" | "smtp_alert_vrrp" | "smtp_alert_checker" => {}
            keyword => self
                .unmatched
                .push((statement.clone(), keywords::why_not(keyword))),
        }
    }

    /// `[node]`.
    pub(super) fn node(&self, surroundings: &Surroundings) -> Section {
        let place = self.router_id.as_ref().map(|word| &word.place);
        let mut node = Section::new("[node]", None, "");
        match &self.router_id {
            Some(id) => node.text("id", &id.text, place),
            // keepalived's default.
            None => node.text("id", &surroundings.host_name, None),
        };
        if let Some((priority, statement)) = &self.realtime_priority {
            node.key("realtime_priority", priority, Some(statement.place()));
        }
        for (statement, why) in &self.unmatched {
            let note = format!(
                "{}: {}: {why}",
                statement.place().short(),
                statement.shown()
            );
            node.note(&note);
        }
        node
    }
}

pub(super) fn version(text: &str) -> Option<u8> {
    text.parse()
        .ok()
        .filter(|version| (2..=3).contains(version))
}
