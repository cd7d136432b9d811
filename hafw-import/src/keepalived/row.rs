//! A line of a file whose characters know their columns, through substitutions too.

use std::{path::Path, sync::Arc};

use crate::place::Place;

/// One line, as much of it as counts.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
    /// Characters with their columns, from 1.
    pub(super) chars: Vec<(char, usize)>,
}

impl Row {
    pub(super) fn new(file: &Arc<Path>, line: usize, text: &str) -> Self {
        let chars = text.chars().zip(1..).collect();
        Self {
            file: Arc::clone(file),
            line,
            chars,
        }
    }

    /// Where a character is, or the last one before it.
    pub(super) fn place(&self, index: usize) -> Place {
        let at = self.chars.get(index).or(self.chars.last());
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
            column: at.map_or(1, |(_, column)| *column),
        }
    }

    pub(super) fn text(&self) -> String {
        self.chars.iter().map(|(c, _)| c).collect()
    }

    pub(super) fn char(&self, index: usize) -> Option<char> {
        self.chars.get(index).map(|(c, _)| *c)
    }

    /// From a character to the end.
    pub(super) fn rest(&self, from: usize) -> Self {
        self.with(self.chars.get(from..).unwrap_or_default().to_vec())
    }

    /// Up to a character.
    pub(super) fn start(&self, to: usize) -> Self {
        self.with(self.chars.get(..to).unwrap_or(&self.chars).to_vec())
    }

    /// The same line with other characters.
    pub(super) fn with(&self, chars: Vec<(char, usize)>) -> Self {
        Self {
            file: Arc::clone(&self.file),
            line: self.line,
            chars,
        }
    }

    /// Appends characters of another line: they count as where this one ends.
    pub(super) fn append(&mut self, more: impl Iterator<Item = char>) {
        let column = self.chars.last().map_or(1, |(_, column)| *column);
        self.chars.extend(more.map(|c| (c, column)));
    }

    /// Without white space at its ends.
    pub(super) fn trimmed(mut self) -> Self {
        while self.chars.last().is_some_and(|(c, _)| c.is_whitespace()) {
            self.chars.pop();
        }
        let blank = self.chars.iter().take_while(|(c, _)| c.is_whitespace());
        let blank = blank.count();
        self.chars.drain(..blank);
        self
    }

    /// Without a comment: `#` or `!` outside quotes, to the end of the line.
    pub(super) fn without_comment(mut self) -> Self {
        let mut quote = None;
        let mut escaped = false;
        for (index, (c, _)) in self.chars.iter().enumerate() {
            match (*c, quote) {
                _ if escaped => escaped = false,
                ('\\', _) => escaped = true,
                ('"' | '\'', None) => quote = Some(*c),
                (c, Some(open)) if c == open => quote = None,
                ('#' | '!', None) => {
                    self.chars.truncate(index);
                    break;
                }
                _ => {}
            }
        }
        self
    }
}
