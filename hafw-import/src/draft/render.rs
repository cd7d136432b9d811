//! The output as text, and which line came from what.

use std::fmt::Write as _;

use super::{Draft, Entry, Key, Section, Value};
use crate::place::{Place, one_line};

/// A draft as text.
pub(super) struct Rendered {
    pub(super) text: String,
    /// For each line what stands there.
    pub(super) lines: Vec<Option<Target>>,
}

/// A part of the draft: a section by its way down, one of its entries, one of that list's items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) section: Vec<usize>,
    pub(super) entry: Option<usize>,
    pub(super) item: Option<usize>,
}

/// A string as TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn render(draft: &Draft, head: &str) -> Rendered {
    let mut pen = Pen {
        out: Rendered {
            text: String::new(),
            lines: Vec::new(),
        },
        disabled: false,
    };
    for line in head.lines() {
        pen.line(&format!("# {line}"), "", None);
    }
    for (index, section) in draft.sections.iter().enumerate() {
        pen.section(section, vec![index]);
    }
    pen.out
}

struct Pen {
    out: Rendered,
    /// What is written is part of a section that was taken out.
    disabled: bool,
}

impl Pen {
    fn section(&mut self, section: &Section, way: Vec<usize>) {
        let was_disabled = self.disabled;
        let target = |entry, item| Target {
            section: way.clone(),
            entry,
            item,
        };
        self.blank();
        self.comment(&section.about, section.origin.as_ref());
        if let Some(reason) = &section.out {
            self.comment(&format!("Left out: {reason}"), None);
            self.disabled = true;
        }
        self.line(section.header, "", Some(target(None, None)));
        for (index, entry) in section.entries.iter().enumerate() {
            match entry {
                Entry::Note(text) => self.comment(text, None),
                Entry::Key(key) => self.key(key, target(Some(index), None)),
            }
        }
        for (index, part) in section.parts.iter().enumerate() {
            let mut way = way.clone();
            way.push(index);
            self.section(part, way);
        }
        self.disabled = was_disabled;
    }

    fn key(&mut self, key: &Key, target: Target) {
        let was_disabled = self.disabled;
        if let Some(reason) = &key.out {
            self.comment(&format!("Left out: {reason}"), None);
            self.disabled = true;
        }
        match &key.value {
            Value::One(value) => {
                let line = format!("{} = {value}", key.name);
                self.line(&line, &origin(key.origin.as_ref()), Some(target));
            }
            Value::List(items) => match items.as_slice() {
                [item] if item.out.is_none() => {
                    let line = format!("{} = [{}]", key.name, item.text);
                    let target = Target {
                        item: Some(0),
                        ..target
                    };
                    self.line(&line, &origin(Some(&item.origin)), Some(target));
                }
                items => {
                    self.line(&format!("{} = [", key.name), "", Some(target.clone()));
                    for (index, item) in items.iter().enumerate() {
                        let target = Target {
                            item: Some(index),
                            ..target.clone()
                        };
                        let from = origin(Some(&item.origin));
                        match &item.out {
                            None => self.line(&format!("    {},", item.text), &from, Some(target)),
                            Some(reason) => {
                                let text = format!("    # {}: left out: {reason}", item.text);
                                self.line(&one_line(&text), &from, None);
                            }
                        }
                    }
                    self.line("]", "", None);
                }
            },
        }
        self.disabled = was_disabled;
    }

    fn comment(&mut self, text: &str, place: Option<&Place>) {
        if !text.is_empty() {
            let text = match place {
                Some(place) => format!("# {}: {text}", place.short()),
                None => format!("# {text}"),
            };
            self.line(&one_line(&text), "", None);
        }
    }

    /// Between what is there and a section: none at the start.
    fn blank(&mut self) {
        if !self.out.text.is_empty() {
            self.line("", "", None);
        }
    }

    fn line(&mut self, line: &str, comment: &str, target: Option<Target>) {
        let text = &mut self.out.text;
        if self.disabled && !line.is_empty() && !line.starts_with('#') {
            text.push_str("# ");
        }
        text.push_str(line);
        if !comment.is_empty() {
            text.push_str(if self.disabled { "  (" } else { "  # " });
            text.push_str(&one_line(comment));
            if self.disabled {
                text.push(')');
            }
        }
        text.push('\n');
        self.out.lines.push(target);
    }
}

fn origin(place: Option<&Place>) -> String {
    place.map(Place::short).unwrap_or_default()
}
