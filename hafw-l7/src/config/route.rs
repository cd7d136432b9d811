//! Reads a `[[server.route]]`: its conditions, and what becomes of its requests.

use std::{fs, path::Path};

use hafw_config::{Located, Section};

use super::{options, value_or, values};
use crate::model::{
    Action, Condition, Field, Network, Options, PathChange, PathCondition, Respond, Rewrite,
    RewriteEnd, Route, Test,
};

/// The longest page that is read from a file.
const MAX_PAGE: u64 = 1 << 20;

/// Reads a route of a server with these options.
pub(super) fn read(section: &Section, server: &Options) -> Option<Route> {
    let path = read_path(section);
    let conditions = read_conditions(section);
    let rewrites = read_rewrites(section);
    let path_change = read_path_change(section);
    let action = read_action(section);
    let (options, is_own) = options::read(section, server);
    if section.has("client_header_timeout") {
        section.wrong(
            "client_header_timeout",
            "only for a [[server]]: a route is known when the head has come",
        );
    }
    section.finish();
    Some(Route {
        path,
        conditions,
        rewrites,
        path_change,
        action: action?,
        options: is_own.then_some(options),
    })
}

fn read_path(section: &Section) -> PathCondition {
    let exact = section.string("path_exact");
    let regex = section.string("path_regex");
    let prefix = section.string("path_prefix");
    let is_final = section.boolean("final");
    if let Some(is_final) = &is_final
        && prefix.is_none()
    {
        section.note(&is_final.place, "final: only for a path_prefix");
    }
    match (exact, regex, prefix) {
        (None, None, None) => PathCondition::Any,
        (Some(exact), None, None) => PathCondition::Exact(exact.value),
        (None, Some(regex), None) => PathCondition::Regex(regex.value),
        (None, None, Some(prefix)) => PathCondition::Prefix {
            prefix: prefix.value,
            r#final: value_or(is_final, false),
        },
        _ => {
            section.note(
                section.place(),
                "only one of path_exact, path_regex and path_prefix",
            );
            PathCondition::Any
        }
    }
}

fn read_conditions(section: &Section) -> Vec<Condition> {
    let user_agent = section.string("user_agent");
    let mut conditions: Vec<_> = user_agent
        .map(|regex| Condition::user_agent(regex.value))
        .into_iter()
        .collect();
    for (key, field) in [
        ("header", Field::Header as fn(String) -> Field),
        ("query", Field::Query),
        ("cookie", Field::Cookie),
    ] {
        let tables = section.table_or_tables(key, key);
        conditions.extend(tables.iter().filter_map(|table| read_field(table, field)));
    }
    if let Some(methods) = section.strings("method") {
        conditions.push(Condition::Method(values(Some(methods))));
    }
    let expected = "a network such as \"10.0.0.0/8\", or an address";
    if let Some(networks) = section.list("source", expected, |text| text.parse::<Network>().ok()) {
        conditions.push(Condition::Source(values(Some(networks))));
    }
    conditions
}

fn read_field(section: &Section, field: fn(String) -> Field) -> Option<Condition> {
    let name = section.need("name", section.string("name"));
    let value = section.string("value");
    let regex = section.string("regex");
    let negated = section.boolean("not");
    section.finish();
    let test = match (value, regex) {
        (None, None) => Test::Present,
        (Some(value), None) => Test::Value(value.value),
        (None, Some(regex)) => Test::Regex(regex.value),
        (Some(_), Some(_)) => {
            section.note(section.place(), "only one of value and regex");
            return None;
        }
    };
    Some(Condition::Field {
        field: field(name?.value),
        test,
        negated: value_or(negated, false),
    })
}

/// Reads the rules of a server or a route.
pub(super) fn read_rewrites(section: &Section) -> Vec<Rewrite> {
    let tables = section.table_or_tables("rewrite", "rewrite");
    tables.iter().filter_map(read_rewrite).collect()
}

fn read_rewrite(section: &Section) -> Option<Rewrite> {
    let regex = section.need("regex", section.string("regex"));
    let to = section.need("to", section.string("to"));
    let then = section.choice(
        "then",
        &[
            ("next", RewriteEnd::Next),
            ("last", RewriteEnd::Last),
            ("break", RewriteEnd::Break),
            ("redirect", RewriteEnd::Redirect(302)),
            ("permanent", RewriteEnd::Redirect(301)),
        ],
    );
    section.finish();
    Some(Rewrite {
        regex: regex?.value,
        to: to?.value,
        end: value_or(then, RewriteEnd::default()),
    })
}

fn read_path_change(section: &Section) -> PathChange {
    let strip = section.boolean("strip_prefix");
    match (section.string("replace_prefix"), value_or(strip, false)) {
        (None, false) => PathChange::None,
        (None, true) => PathChange::Strip,
        (Some(path), false) => PathChange::Replace(path.value),
        (Some(path), true) => {
            section.note(&path.place, "only one of strip_prefix and replace_prefix");
            PathChange::None
        }
    }
}

fn read_action(section: &Section) -> Option<Action> {
    let upstream = section.string("upstream");
    let respond = section.table("respond");
    let redirect = section.table("redirect");
    let expected = "exactly one of upstream, respond and redirect";
    let named = ["upstream", "respond", "redirect"];
    match named.iter().filter(|key| section.has(key)).count() {
        1 => {}
        0 => {
            section.note(section.place(), format!("expected {expected}"));
            return None;
        }
        _ => {
            section.note(section.place(), format!("only one: expected {expected}"));
            return None;
        }
    }
    if let Some(respond) = respond {
        return read_respond(&respond).map(Action::Respond);
    }
    if let Some(redirect) = redirect {
        let to = redirect.need("to", redirect.string("to"));
        let status = redirect.number("status", 301..=308);
        redirect.finish();
        return Some(Action::Redirect {
            status: value_or(status, 302),
            to: to?.value,
        });
    }
    upstream.map(|upstream| Action::Upstream(upstream.value))
}

fn read_respond(section: &Section) -> Option<Respond> {
    let status = section.need("status", section.number("status", 200..=599));
    let body = if section.has("body") || section.has("file") {
        read_body(section)
    } else {
        Some(String::new())
    };
    let content_type = section.string("content_type");
    section.finish();
    Some(Respond {
        status: status?.value,
        body: body?,
        content_type: value_or(content_type, "text/plain".to_owned()),
    })
}

/// Reads a page: `body`, or the contents of `file`, which is read now: the running proxy opens no
/// files.
pub(super) fn read_body(section: &Section) -> Option<String> {
    let body = section.string("body");
    let file = section.string("file");
    match (body, file) {
        (Some(body), None) => Some(body.value),
        (None, Some(file)) => read_file(section, &file),
        _ => {
            section.note(section.place(), "expected one of body and file");
            None
        }
    }
}

/// A relative path starts at the folder of the file that names it.
fn read_file(section: &Section, file: &Located<String>) -> Option<String> {
    let folder = Path::new(&*file.place.file).parent();
    let path = folder.unwrap_or(Path::new("")).join(&file.value);
    let read = match fs::metadata(&path) {
        Ok(found) if found.len() > MAX_PAGE => Err("it is longer than 1 MiB".to_owned()),
        Ok(_) => fs::read_to_string(&path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    read.map_err(|why| section.wrong("file", &format!("cannot read it: {why}")))
        .ok()
}
