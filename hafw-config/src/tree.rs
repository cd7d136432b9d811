//! The file as a tree in which everything knows its place.

use std::{collections::BTreeMap, ops::Range, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::Place;

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    /// As it stands in the file, cut after a line or 60 characters.
    pub(crate) text: String,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A float, a date or an integer beyond 64 bits: no key takes one.
    Other,
}

impl Value {
    pub(crate) fn string(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(crate) const fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    pub(crate) const fn boolean(&self) -> Option<bool> {
        if let Self::Boolean(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    pub(crate) fn array(&self) -> Option<&[Node]> {
        if let Self::Array(items) = self {
            Some(items)
        } else {
            None
        }
    }

    pub(crate) const fn table(&self) -> Option<&Table> {
        if let Self::Table(table) = self {
            Some(table)
        } else {
            None
        }
    }
}

pub(crate) type Table = BTreeMap<String, Entry>;

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

/// Turns byte offsets of one file into places.
pub(crate) struct Source<'a> {
    order: usize,
    file: Arc<Path>,
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    /// `order` is the file's position among those that are read.
    pub(crate) fn new(order: usize, file: &Path, text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            order,
            file: file.into(),
            text,
            lines: std::iter::once(0).chain(starts).collect(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        self.text
    }

    /// Of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .map_or(0, |before| before.chars().count())
            + 1;
        Place {
            order: self.order,
            file: Arc::clone(&self.file),
            line,
            column,
        }
    }

    pub(crate) fn table(&self, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let entry = Entry {
                key: self.place(key.span().start),
                node: self.node(value),
            };
            (key.get_ref().to_string(), entry)
        });
        entries.collect()
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        Node {
            place: self.place(span.start),
            text: self.excerpt(span),
            value: match value.get_ref() {
                DeValue::String(s) => Value::String(s.to_string()),
                DeValue::Integer(n) => {
                    i64::from_str_radix(n.as_str(), n.radix()).map_or(Value::Other, Value::Integer)
                }
                DeValue::Boolean(b) => Value::Boolean(*b),
                DeValue::Array(items) => {
                    Value::Array(items.iter().map(|item| self.node(item)).collect())
                }
                DeValue::Table(table) => Value::Table(self.table(table)),
                DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
            },
        }
    }

    fn excerpt(&self, span: Range<usize>) -> String {
        const LONGEST: usize = 60;
        let whole = self.text.get(span).unwrap_or_default();
        let line = whole.lines().next().unwrap_or_default();
        let cut: String = line.chars().take(LONGEST).collect();
        if cut.len() < whole.len() {
            cut + "…"
        } else {
            cut
        }
    }
}
