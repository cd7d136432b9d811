//! The output while it is made: sections and keys that know where they came from, so that what the
//! reader of hafw.toml objects to can be taken out at its place, with its reason.

use crate::place::{Place, Remark, one_line};

mod render;
mod settle;

pub(crate) use render::quoted;

/// What the reader of hafw.toml says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Line of the text, from 1; None where it is of no line.
    pub line: Option<usize>,
    /// What.
    pub message: String,
    /// The text is right, but the reader's version does not carry it out.
    pub unsupported: bool,
}

/// The whole output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) sections: Vec<Section>,
    pub(crate) remarks: Vec<Remark>,
}

/// A table of the output, with the tables below it.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// With its brackets: `[[service]]`.
    header: &'static str,
    origin: Option<Place>,
    /// What it comes from: stands above it.
    about: String,
    entries: Vec<Entry>,
    pub(crate) parts: Vec<Self>,
    out: Option<String>,
}

#[derive(Clone, Debug)]
enum Entry {
    Key(Key),
    Note(String),
}

/// A key with its value, as TOML.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    name: String,
    value: Value,
    origin: Option<Place>,
    /// Without it the section would do something else than was asked for.
    essential: bool,
    /// What to write instead if the value is refused, and what that changes. Last one first.
    fallbacks: Vec<(String, String)>,
    out: Option<String>,
}

#[derive(Clone, Debug)]
enum Value {
    One(String),
    List(Vec<Item>),
}

#[derive(Clone, Debug)]
struct Item {
    text: String,
    origin: Place,
    out: Option<String>,
}

impl Section {
    pub(crate) fn new(header: &'static str, origin: Option<&Place>, about: &str) -> Self {
        Self {
            header,
            origin: origin.cloned(),
            about: one_line(about),
            entries: Vec::new(),
            parts: Vec::new(),
            out: None,
        }
    }

    /// A key whose value is a string.
    pub(crate) fn text(&mut self, name: &str, value: &str, origin: Option<&Place>) -> &mut Key {
        self.key(name, quoted(value), origin)
    }

    /// A key whose value is given as TOML.
    pub(crate) fn key(
        &mut self,
        name: &str,
        value: impl ToString,
        origin: Option<&Place>,
    ) -> &mut Key {
        self.push(Key {
            name: name.to_owned(),
            value: Value::One(value.to_string()),
            origin: origin.cloned(),
            essential: false,
            fallbacks: Vec::new(),
            out: None,
        })
    }

    /// A list of values, given as TOML; no key if it is empty.
    pub(crate) fn list(&mut self, name: &str, items: Vec<(String, Place)>) -> Option<&mut Key> {
        let origin = items.first()?.1.clone();
        let items = items.into_iter().map(|(text, origin)| Item {
            text,
            origin,
            out: None,
        });
        Some(self.push(Key {
            name: name.to_owned(),
            value: Value::List(items.collect()),
            origin: Some(origin),
            essential: false,
            fallbacks: Vec::new(),
            out: None,
        }))
    }

    /// A comment at this place.
    pub(crate) fn note(&mut self, text: &str) {
        self.entries.push(Entry::Note(one_line(text)));
    }

    fn push(&mut self, key: Key) -> &mut Key {
        self.entries.push(Entry::Key(key));
        match self.entries.last_mut() {
            Some(Entry::Key(key)) => key,
            Some(Entry::Note(_)) | None => unreachable!("a key was pushed"),
        }
    }
}

impl Key {
    /// Rather no section than one without this key.
    pub(crate) fn essential(&mut self) -> &mut Self {
        self.essential = true;
        self
    }

    /// What to write instead if the value is refused. Earlier ones are tried first.
    pub(crate) fn or(&mut self, value: &str, what: &str) -> &mut Self {
        self.fallbacks
            .insert(0, (value.to_owned(), what.to_owned()));
        self
    }
}
