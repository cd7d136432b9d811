//! Reading one table, key by key.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::{Deref, RangeInclusive},
    rc::Rc,
    time::Duration,
};

use crate::{
    Place, Problem, Secret,
    document::Sink,
    parse_duration, parse_size, secret,
    tree::{Node, Table, Value},
    values::{LONGEST_DURATION, same_value, shown},
};

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One table. Every getter gives None where the key is missing or wrong, and notes the mistake in
/// the latter case; [`Self::need`] notes a missing one. [`Self::finish`] notes the keys that nobody
/// asked for.
#[derive(Clone, Debug)]
pub struct Section {
    table: Rc<Table>,
    title: Rc<RefCell<String>>,
    place: Place,
    known: Rc<RefCell<BTreeMap<String, Shown>>>,
    problems: Sink,
}

/// An item of a list that takes two kinds.
#[derive(Clone, Debug)]
pub enum Item {
    /// The short form.
    Text(Located<String>),
    /// The long form.
    Table(Section),
}

/// Whether messages may repeat what a key is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Yes,
    Never,
}

impl Section {
    pub(crate) fn new(table: Rc<Table>, title: String, place: Place, problems: Sink) -> Self {
        let title = Rc::new(RefCell::new(title));
        Self {
            table,
            title,
            place,
            known: Rc::default(),
            problems,
        }
    }

    /// Where the section stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where a key's value stands, or the section where the key is missing.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        self.table
            .get(key)
            .map_or(&self.place, |entry| &entry.node.place)
            .clone()
    }

    /// Whether the key is there, right or wrong.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string that names the section: it stands in the messages that follow.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<Located<String>> {
        let name = self.need(key, self.string(key))?;
        if name.trim().is_empty() || name.contains(char::is_control) {
            self.wrong(key, "expected a name");
            return None;
        }
        let title = format!("{} {:?}", self.title.borrow(), name.value);
        *self.title.borrow_mut() = title;
        Some(name)
    }

    /// Notes that the key is missing, if it is.
    pub fn need<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.note(&self.place, format!("{key} is missing"));
        }
        value
    }

    /// Notes that a list is there and has no items, if so; `item` is what it should have.
    pub fn need_items(&self, key: &str, item: &str) {
        let items = self
            .table
            .get(key)
            .and_then(|entry| entry.node.value.array());
        if items.is_some_and(<[Node]>::is_empty) {
            self.wrong(key, &format!("expected at least one {item}"));
        }
    }

    /// A string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<Located<String>> {
        self.parsed(key, "a string", |s| Some(s.to_owned()))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<Located<bool>> {
        self.get(key, "true or false", Value::boolean)
    }

    /// A whole number within a range.
    #[must_use]
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<Located<i64>> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.get(key, &expected, |value| {
            value.integer().filter(|n| range.contains(n))
        })
    }

    /// A whole number within a type's range, and this one.
    #[must_use]
    pub fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<Located<T>> {
        let Located { value, place } = self.integer(key, range)?;
        let Ok(value) = T::try_from(value) else {
            self.wrong(key, "expected a smaller number");
            return None;
        };
        Some(Located { value, place })
    }

    /// A duration, see [`parse_duration`]; of a year at most, so that sums with a clock fit.
    #[must_use]
    pub fn duration(&self, key: &str) -> Option<Located<Duration>> {
        let expected = "a duration such as \"1s\" or \"250ms\"";
        let duration = self.parsed(key, expected, parse_duration)?;
        if duration.value > LONGEST_DURATION {
            self.wrong(key, "expected at most a year, \"366d\"");
            return None;
        }
        Some(duration)
    }

    /// A size in bytes, see [`parse_size`]; a bare number is one of bytes.
    #[must_use]
    pub fn size(&self, key: &str) -> Option<Located<u64>> {
        let expected = "a size such as \"1MiB\", or a number of bytes";
        self.get(key, expected, |value| match value.integer() {
            Some(bytes) => u64::try_from(bytes).ok(),
            None => parse_size(value.string()?),
        })
    }

    /// An IP address.
    #[must_use]
    pub fn address(&self, key: &str) -> Option<Located<IpAddr>> {
        self.parsed(key, "an IP address", |s| s.parse().ok())
    }

    /// An IP address with a port.
    #[must_use]
    pub fn socket(&self, key: &str) -> Option<Located<SocketAddr>> {
        self.parsed(
            key,
            "an IP address and a port such as \"10.0.0.7:80\"",
            |s| s.parse().ok(),
        )
    }

    /// A string that `parse` understands.
    #[must_use]
    pub fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Located<T>> {
        self.get(key, expected, |value| parse(value.string()?))
    }

    /// One of some words.
    #[must_use]
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<Located<T>> {
        let list: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let expected = list.join(" or ");
        self.parsed(key, &expected, |s| {
            words.iter().find(|(w, _)| *w == s).map(|(_, t)| *t)
        })
    }

    /// A list of strings that `parse` understands. Each wrong one is noted by itself.
    #[must_use]
    pub fn list<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<Located<T>>> {
        self.each(key, expected, |value| parse(value.string()?))
    }

    /// A list of strings.
    #[must_use]
    pub fn strings(&self, key: &str) -> Option<Vec<Located<String>>> {
        self.list(key, "a string", |s| Some(s.to_owned()))
    }

    /// A list of whole numbers within a range.
    #[must_use]
    pub fn integers(&self, key: &str, range: RangeInclusive<i64>) -> Option<Vec<Located<i64>>> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.each(key, &expected, |value| {
            value.integer().filter(|n| range.contains(n))
        })
    }

    /// A string, or `{ file = "PATH" }` whose contents are the string, without the line's end. A
    /// relative path starts at the folder of the file that names it. Messages never repeat it.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<Located<Secret>> {
        let node = self.node(key, Shown::Never)?;
        if let Some(text) = node.value.string() {
            return Some(Located {
                value: Secret::new(text.to_owned()),
                place: node.place.clone(),
            });
        }
        if node.value.table().is_none() {
            self.wrong(key, "expected a string, or { file = \"PATH\" }");
            return None;
        }
        let section = self.table(key)?;
        let path = section.need("file", section.string("file"));
        section.finish();
        let Located { value: path, place } = path?;
        match secret::read(&place.file, path.as_ref()) {
            Ok(value) => Some(Located { value, place }),
            Err(why) => {
                section.wrong("file", &format!("cannot read it: {why}"));
                None
            }
        }
    }

    /// A table. Its messages name it by the key.
    #[must_use]
    pub fn table(&self, key: &str) -> Option<Self> {
        let node = self.node(key, Shown::Yes)?;
        let Some(table) = node.value.table() else {
            self.wrong(key, "expected a table");
            return None;
        };
        Some(self.below(key, table, node))
    }

    /// A list of tables; empty where the key is missing. `title` stands in their messages.
    #[must_use]
    pub fn tables(&self, key: &str, title: &str) -> Vec<Self> {
        let expected = format!("a list of tables: [[{key}]], or {key} = [{{ … }}]");
        let Some(items) = self.items(key, &expected) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for node in items {
            match node.value.table() {
                Some(table) => sections.push(self.below(title, table, node)),
                None => self.note(
                    &node.place,
                    format!("{key}: {}: expected a table", node.text),
                ),
            }
        }
        sections
    }

    /// A table, or a list of them; empty where the key is missing.
    #[must_use]
    pub fn table_or_tables(&self, key: &str, title: &str) -> Vec<Self> {
        let is_one = self
            .table
            .get(key)
            .is_some_and(|entry| entry.node.value.table().is_some());
        if is_one {
            self.table(key).into_iter().collect()
        } else {
            self.tables(key, title)
        }
    }

    /// A list of strings and tables in any order. `title` stands in the tables' messages.
    #[must_use]
    pub fn mixed(&self, key: &str, title: &str, expected: &str) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        for node in self.items(key, &format!("a list, each {expected}"))? {
            if let Some(table) = node.value.table() {
                items.push(Item::Table(self.below(title, table, node)));
            } else if let Some(text) = node.value.string() {
                items.push(Item::Text(Located {
                    value: text.to_owned(),
                    place: node.place.clone(),
                }));
            } else {
                let message = format!("{key}: {}: expected {expected}", node.text);
                self.note(&node.place, message);
            }
        }
        Some(items)
    }

    /// The contents of the file that a string names, at most `limit` bytes. A relative path starts
    /// at the folder of the file that names it.
    #[must_use]
    pub fn contents(&self, key: &str, limit: u64) -> Option<Located<Vec<u8>>> {
        let Located { value: path, place } = self.string(key)?;
        match secret::read_beside(&place.file, path.as_ref(), limit) {
            Ok(value) => Some(Located { value, place }),
            Err(why) => {
                self.wrong(key, &format!("cannot read it: {why}"));
                None
            }
        }
    }

    /// All entries of the section as strings, in the order of the file.
    #[must_use]
    pub fn string_entries(&self) -> Vec<(Located<String>, Located<String>)> {
        let mut entries = Vec::new();
        for (key, entry) in self.table.iter() {
            if let Some(value) = self.string(key) {
                let key = Located {
                    value: key.clone(),
                    place: entry.key.clone(),
                };
                entries.push((key, value));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.place.cmp(&b.place));
        entries
    }

    /// A key of the format that this version does not carry out. It is refused, unless its value
    /// is one of those that ask for nothing, given as TOML.
    pub fn not_yet(&self, key: &str, harmless: &[&str]) {
        if let Some(node) = self.node(key, Shown::Yes)
            && !harmless.iter().any(|text| same_value(&node.value, text))
        {
            self.wrong(key, "not in this version");
        }
    }

    /// Words of the format that this version does not carry out: refuses the key's value if it is
    /// one of them, and tells whether it was.
    pub fn not_yet_words(&self, key: &str, words: &[&str]) -> bool {
        let word = self
            .node(key, Shown::Yes)
            .and_then(|node| node.value.string());
        let later = word.is_some_and(|word| words.contains(&word));
        if later {
            self.wrong(key, "not in this version");
        }
        later
    }

    /// Notes that a key's value is wrong.
    pub fn wrong(&self, key: &str, what: &str) {
        let Some(entry) = self.table.get(key) else {
            self.note(&self.place, format!("{key}: {what}"));
            return;
        };
        let secret = self.known.borrow().get(key) == Some(&Shown::Never);
        let long = entry.node.value.table().is_some() || entry.node.value.array().is_some();
        let message = if long || secret {
            format!("{key}: {what}")
        } else {
            format!("{key} = {}: {what}", entry.node.text)
        };
        self.note(&entry.node.place, message);
    }

    /// Notes a mistake of the section, at some place.
    pub fn note(&self, place: &Place, what: impl Display) {
        let title = self.title.borrow();
        let message = if title.is_empty() {
            what.to_string()
        } else {
            format!("{title}: {what}")
        };
        self.problems.borrow_mut().push(Problem::at(place, message));
    }

    /// Notes the keys that nobody asked for, with the nearest that somebody did.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for (key, entry) in self
            .table
            .iter()
            .filter(|(key, _)| !known.contains_key(*key))
        {
            let nearest = nearest(key, known.keys());
            let key = shown(key);
            let message = match nearest {
                Some(nearest) => format!("{key}: unknown key, did you mean `{nearest}`?"),
                None => format!("{key}: unknown key"),
            };
            self.note(&entry.key, message);
        }
    }

    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        take: impl Fn(&Value) -> Option<T>,
    ) -> Option<Located<T>> {
        let node = self.node(key, Shown::Yes)?;
        let value = take(&node.value);
        if value.is_none() {
            self.wrong(key, &format!("expected {expected}"));
        }
        Some(Located {
            value: value?,
            place: node.place.clone(),
        })
    }

    fn each<T>(
        &self,
        key: &str,
        expected: &str,
        take: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<Located<T>>> {
        let mut values = Vec::new();
        for node in self.items(key, &format!("a list, each {expected}"))? {
            match take(&node.value) {
                Some(value) => values.push(Located {
                    value,
                    place: node.place.clone(),
                }),
                None => {
                    let message = format!("{key}: {}: expected {expected}", node.text);
                    self.note(&node.place, message);
                }
            }
        }
        Some(values)
    }

    fn items(&self, key: &str, expected: &str) -> Option<&[Node]> {
        let items = self.node(key, Shown::Yes)?.value.array();
        if items.is_none() {
            self.wrong(key, &format!("expected {expected}"));
        }
        items
    }

    fn node(&self, key: &str, shown: Shown) -> Option<&Node> {
        let mut known = self.known.borrow_mut();
        if shown == Shown::Never || !known.contains_key(key) {
            known.insert(key.to_owned(), shown);
        }
        drop(known);
        self.table.get(key).map(|entry| &entry.node)
    }

    fn below(&self, title: &str, table: &Table, node: &Node) -> Self {
        let outer = self.title.borrow();
        let title = if outer.is_empty() {
            title.to_owned()
        } else {
            format!("{outer}: {title}")
        };
        let problems = Rc::clone(&self.problems);
        Self::new(Rc::new(table.clone()), title, node.place.clone(), problems)
    }
}

/// The known key that was most likely meant: one with a letter or two wrong, or one that was not
/// written to its end.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let distance = |known: &str| {
        if key.len() >= 3 && known.starts_with(key) {
            return 1;
        }
        strsim::osa_distance(known, key)
    };
    let limit = (key.chars().count() / 3).max(1);
    let near = known
        .map(|known| (distance(known), known))
        .filter(|(far, _)| *far <= limit);
    near.min().map(|(_, known)| known)
}
