//! `map`: variables that choose an upstream.

use std::collections::BTreeMap;

use super::condition::{Condition, Test, of_variable};
use crate::{notes::Notes, statement::Statement};

/// By the variable's name without `$`: conditions with values, in the order in which they are
/// asked; the last has none.
pub(super) type Maps = BTreeMap<String, Vec<(Option<Condition>, String)>>;

/// All maps whose source can be a condition of a route.
pub(super) fn read(statements: &[&Statement], notes: &mut Notes) -> Maps {
    let mut maps = Maps::new();
    for statement in statements {
        let (source, target) = match statement.args() {
            [source, target] => (source.text.as_str(), target.text.as_str()),
            _ => {
                let message = "map: expected a source and a $variable";
                notes.mistake(statement, message);
                continue;
            }
        };
        let names = source.strip_prefix('$').zip(target.strip_prefix('$'));
        let Some((source, target)) = names else {
            notes.unmatched(statement, "no equivalent of a map of this source");
            continue;
        };
        maps.insert(target.to_owned(), entries(statement, source, notes));
    }
    maps
}

/// nginx asks for the texts first, then for the regular expressions in their order.
fn entries(map: &Statement, source: &str, notes: &mut Notes) -> Vec<(Option<Condition>, String)> {
    let (mut texts, mut regexes) = (Vec::new(), Vec::new());
    let mut default = None;
    for entry in map.inner() {
        let Some(value) = entry.arg() else {
            notes.unmatched(entry, "no equivalent");
            continue;
        };
        let key = entry.keyword();
        let (test, is_text) = match key.strip_prefix('~') {
            Some(rest) => match rest.strip_prefix('*') {
                Some(rest) => (Test::MatchesAnyCase(rest), false),
                None => (Test::Matches(rest), false),
            },
            None => (Test::Is(key.strip_prefix('\\').unwrap_or(key)), true),
        };
        if key == "default" {
            default = Some((None, value.to_owned()));
            continue;
        }
        match of_variable(source, test, false) {
            Some(condition) if is_text => texts.push((Some(condition), value.to_owned())),
            Some(condition) => regexes.push((Some(condition), value.to_owned())),
            None => notes.unmatched(entry, "no equivalent of this condition: left out"),
        }
    }
    texts.into_iter().chain(regexes).chain(default).collect()
}
