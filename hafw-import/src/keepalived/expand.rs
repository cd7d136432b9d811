//! From files to the rows that count: comments, includes, conditions, definitions and sequences.
//!
//! A row goes through the same steps whether it stands in a file or in a definition's value: its
//! condition (`@id`, `@^id`), a definition (`$NAME=…`), `$NAME` and `${NAME}` replaced at that
//! moment, `~SEQ` and `~LST` repeated. Places are those of the text itself: what a definition
//! brings in has the place in the definition.

mod sequence;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::row::Row;
use crate::{
    chain::Chain,
    files::{Files, braces},
    place::{Mistake, Place, one_line},
};

/// How deep a row may lead to other rows, by replacement or repetition.
const MAX_DEPTH: usize = 64;
/// How many rows and characters a configuration may come to: definitions can multiply.
const MAX_ROWS: usize = 100_000;
const MAX_CHARS: usize = 4 << 20;
const MAX_ROW: usize = 1 << 16;

/// All rows of a file and what it includes, and what is wrong with it.
pub(super) fn expand(path: &Path, files: &dyn Files, config_id: &str) -> (Vec<Row>, Vec<Mistake>) {
    let mut expander = Expander {
        files,
        chain: Chain::default(),
        config_id,
        definitions: BTreeMap::new(),
        rows: Vec::new(),
        steps: 0,
        chars: 0,
        full: false,
        mistakes: Vec::new(),
    };
    expander.file(path, None);
    (expander.rows, expander.mistakes)
}

struct Expander<'a> {
    files: &'a dyn Files,
    chain: Chain,
    config_id: &'a str,
    /// The rows of each value.
    definitions: BTreeMap<String, Vec<Row>>,
    rows: Vec<Row>,
    steps: usize,
    chars: usize,
    /// A limit was reached: nothing is read any more.
    full: bool,
    mistakes: Vec<Mistake>,
}

impl Expander<'_> {
    fn file(&mut self, path: &Path, named_at: Option<&Place>) {
        let text = match self.chain.open(self.files, path, named_at) {
            Ok(text) => text,
            Err(mistake) => return self.mistakes.push(mistake),
        };
        let file: Arc<Path> = path.into();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if self.full {
                break;
            }
            let mut row = Row::new(&file, number, line).without_comment().trimmed();
            if let Some((name, from)) = definition(&row) {
                let mut value = vec![row.rest(from).trimmed()];
                while continued(&mut value) {
                    let Some((line, number)) = lines.next() else {
                        break;
                    };
                    value.push(Row::new(&file, number, line).without_comment().trimmed());
                }
                self.define(name, value);
                continue;
            }
            // A row goes on on the next line.
            while row.chars.last().is_some_and(|(c, _)| *c == '\\') {
                row.chars.pop();
                let Some((line, number)) = lines.next() else {
                    break;
                };
                let more = Row::new(&file, number, line).without_comment().trimmed();
                row.append([' '].into_iter().chain(more.chars.iter().map(|(c, _)| *c)));
            }
            if !self.include(&row) {
                self.row(row, 0);
            }
        }
        self.chain.close();
    }

    /// Whether the row is an include, which is then read. Neither conditions nor replacements count
    /// in it, as in keepalived.
    fn include(&mut self, row: &Row) -> bool {
        let text = row.text();
        let Some((keyword, rest)) = text.split_once(char::is_whitespace) else {
            return false;
        };
        let must_match = match keyword {
            "include" | "includer" => false,
            "includem" | "includew" | "includeb" | "includea" => true,
            _ => return false,
        };
        let place = row.place(0);
        let pattern = rest.trim().trim_matches(['"', '\'']);
        let folder = row.file.parent().unwrap_or(Path::new(""));
        let mut found = Vec::new();
        for pattern in braces(pattern) {
            match self.files.matching(&folder.join(&pattern)) {
                Ok(more) => found.extend(more),
                Err(why) => {
                    let message = format!("{keyword} {}: {why}", one_line(&pattern));
                    self.mistakes.push(Mistake::at(&place, message));
                    return true;
                }
            }
        }
        let wild = pattern.contains(['*', '?', '[', '{']);
        if found.is_empty() && (must_match || !wild) {
            let message = format!("{keyword} {}: no such file", one_line(pattern));
            self.mistakes.push(Mistake::at(&place, message));
        }
        for file in found {
            self.file(&file, Some(&place));
        }
        true
    }

    fn row(&mut self, row: Row, depth: usize) {
        self.steps += 1;
        self.chars += row.chars.len();
        let long = row.chars.len() > MAX_ROW;
        let much = self.steps > MAX_ROWS || self.chars > MAX_CHARS;
        if depth > MAX_DEPTH || long || much {
            if !self.full {
                let message = "definitions and sequences make too much of it: \
                               expected less than 100000 lines, and no definition within itself";
                self.mistakes.push(Mistake::at(&row.place(0), message));
            }
            self.full = true;
        }
        if self.full || row.chars.is_empty() {
            return;
        }
        if row.char(0) == Some('@') {
            if let Some(row) = self.condition(row) {
                self.row(row, depth + 1);
            }
            return;
        }
        if let Some((name, from)) = definition(&row) {
            self.define(name, vec![row.rest(from).trimmed()]);
            return;
        }
        if let Some(sequence) = sequence::read(&row) {
            self.repeat(&row, sequence, depth);
            return;
        }
        match self.replace(&row) {
            None => self.rows.push(row),
            Some(rows) => {
                for row in rows {
                    self.row(row.trimmed(), depth + 1);
                }
            }
        }
    }

    /// The rest of a row whose condition holds.
    fn condition(&self, row: Row) -> Option<Row> {
        let negative = row.char(1) == Some('^');
        let from = if negative { 2 } else { 1 };
        let word: String = row.rest(from).chars.iter().map(|(c, _)| *c).collect();
        let word = word
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned();
        let holds = (word == self.config_id) != negative;
        holds.then(|| row.rest(from + word.chars().count()).trimmed())
    }

    fn define(&mut self, name: String, value: Vec<Row>) {
        self.definitions.insert(name, value);
    }

    /// The row with its first definition replaced: several rows if the value has several. None
    /// where there is nothing to replace.
    fn replace(&mut self, row: &Row) -> Option<Vec<Row>> {
        for at in 0..row.chars.len() {
            let Some((name, end)) = reference(row, at) else {
                continue;
            };
            let place = row.place(at);
            let value = match self.definitions.get(&name) {
                Some(value) => value.clone(),
                None => match self.predefined(&name, row, &place) {
                    Some(text) => {
                        let chars = text.chars().map(|c| (c, place.column));
                        vec![row.with(chars.collect())]
                    }
                    // As it stands: it may be a shell's.
                    None => continue,
                },
            };
            let (before, after) = (row.start(at).chars, row.rest(end).chars);
            let mut rows = value;
            let here = rows.len() == 1;
            if let Some(first) = rows.first_mut() {
                // On one row its own places would be another line's columns.
                if !before.is_empty() || !after.is_empty() {
                    let here = first.chars.iter().map(|(c, _)| (*c, place.column));
                    *first = row.with(before.into_iter().chain(here).collect());
                }
            }
            if let Some(last) = rows.last_mut() {
                if here {
                    last.chars.extend(after);
                } else {
                    last.append(after.into_iter().map(|(c, _)| c));
                }
            }
            return Some(rows);
        }
        None
    }

    fn predefined(&mut self, name: &str, row: &Row, place: &Place) -> Option<String> {
        match name {
            "_PWD" => {
                let folder = row.file.parent().unwrap_or(Path::new(""));
                Some(self.files.canonical(folder).display().to_string())
            }
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_HASH" => Some("#".to_owned()),
            "_BANG" => Some("!".to_owned()),
            _ if name.starts_with("_RANDOM") || name.starts_with("_ENV") => {
                let message = format!(
                    "${{{}}}: expected a fixed value: this one is another each time",
                    one_line(name)
                );
                self.mistakes.push(Mistake::at(place, message));
                Some(String::new())
            }
            _ => None,
        }
    }

    fn repeat(&mut self, row: &Row, sequence: Result<sequence::Sequence, String>, depth: usize) {
        let sequence = match sequence {
            Ok(sequence) => sequence,
            Err(expected) => {
                let message = format!("{}: expected {expected}", one_line(&row.text()));
                self.mistakes.push(Mistake::at(&row.place(0), message));
                return;
            }
        };
        let rest = row.rest(sequence.end).trimmed();
        for values in sequence.rounds() {
            for (name, value) in sequence.names.iter().zip(values) {
                let chars = value.chars().map(|c| (c, row.place(0).column));
                self.define(name.clone(), vec![row.with(chars.collect())]);
            }
            self.row(rest.clone(), depth + 1);
            if self.full {
                return;
            }
        }
    }
}

/// The name that a row defines, and where its value begins.
fn definition(row: &Row) -> Option<(String, usize)> {
    if row.char(0) != Some('$') {
        return None;
    }
    let name = name(row, 1)?;
    let after = 1 + name.len();
    (row.char(after) == Some('=')).then_some((name, after + 1))
}

/// Whether the value goes on on the next line; the sign of it is taken away.
fn continued(value: &mut Vec<Row>) -> bool {
    let Some(last) = value.last_mut() else {
        return false;
    };
    if last.chars.last().is_none_or(|(c, _)| *c != '\\') {
        return false;
    }
    last.chars.pop();
    let bare = last.clone().trimmed();
    *last = bare;
    // The row of the name has nothing else, and is no row of the value.
    if value.len() == 1 && value.first().is_some_and(|row| row.chars.is_empty()) {
        value.clear();
    }
    true
}

/// The name that is referred to at a character, and where the reference ends: `${NAME}`, or `$NAME`
/// before white space or the end.
fn reference(row: &Row, at: usize) -> Option<(String, usize)> {
    if row.char(at) != Some('$') {
        return None;
    }
    if row.char(at + 1) == Some('{') {
        let length = row.rest(at + 2).chars.iter().position(|(c, _)| *c == '}')?;
        let name: String = row.rest(at + 2).start(length).text();
        return Some((name, at + 3 + length));
    }
    let name = name(row, at + 1)?;
    let end = at + 1 + name.len();
    let ends = row.char(end).is_none_or(char::is_whitespace);
    ends.then_some((name, end))
}

/// A name at a character: letters, digits and `_`, not a digit first. All of them are one byte.
fn name(row: &Row, from: usize) -> Option<String> {
    let rest = row.chars.get(from..)?;
    let name: String = rest
        .iter()
        .map(|(c, _)| *c)
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    let fits = name.starts_with(|c: char| !c.is_ascii_digit());
    fits.then_some(name)
}
