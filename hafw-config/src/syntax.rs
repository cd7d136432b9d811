//! What the TOML parser complains of, with places.

use toml::de::{DeTable, DeValue, Error};

use crate::{Place, Problem, tree::Source};

/// One problem for each error. `table` is what could be made of the text all the same.
pub(crate) fn problems(source: &Source<'_>, table: &DeTable<'_>, errors: &[Error]) -> Vec<Problem> {
    let problem = |error: &Error| {
        let span = error.span().unwrap_or(0..0);
        let what = error.message().replace('\n', "; ");
        let key = source.text().get(span.clone()).unwrap_or_default();
        let message = if what == "duplicate key" {
            match first(source, table, key, span.start) {
                Some(place) => format!("{key}: defined twice, first at {place}"),
                None => format!("{key}: defined twice"),
            }
        } else {
            format!("not TOML: {what}")
        };
        Problem::at(&source.place(span.start), message)
    };
    errors.iter().map(problem).collect()
}

/// Where `key` stands before its repetition at `second`. None where it cannot be told: better no
/// place than a wrong one.
fn first(source: &Source<'_>, table: &DeTable<'_>, key: &str, second: usize) -> Option<Place> {
    let before = source.text().get(..second)?;
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    if before.get(line..)?.trim_start().starts_with('[') {
        // The tree has the second header's place for both.
        let header = source.text().get(line..)?.lines().next()?.trim();
        let at = before
            .get(..line)?
            .lines()
            .position(|line| line.trim() == header)?;
        let start: usize = before.split_inclusive('\n').take(at).map(str::len).sum();
        return Some(source.place(start + (second - line)));
    }
    // A repeated key stands in the same table, below its header.
    let from = before.rfind("\n[").map_or(0, |at| at + 1);
    let mut found = Vec::new();
    collect(table, key, &mut found);
    found.retain(|at| (from..second).contains(at));
    match found.as_slice() {
        [one] => Some(source.place(*one)),
        _ => None,
    }
}

/// Offsets of the keys of this name, wherever they stand.
fn collect(table: &DeTable<'_>, key: &str, found: &mut Vec<usize>) {
    for (name, value) in table.iter() {
        if name.get_ref() == key {
            found.push(name.span().start);
        }
        match value.get_ref() {
            DeValue::Table(table) => collect(table, key, found),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(table) = item.get_ref() {
                        collect(table, key, found);
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}
