//! What both languages come to: statements of words, some with a block of statements.

use crate::place::{Mistake, Place, one_line};

/// A word, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// What it says.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

/// A keyword with its arguments, and its block if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// At least one: the keyword.
    pub words: Vec<Word>,
    /// The statements between its braces.
    pub block: Option<Vec<Self>>,
}

impl Statement {
    /// The keyword; empty in a block that has none.
    pub(crate) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// Where the statement begins.
    pub(crate) fn place(&self) -> &Place {
        &self.head().place
    }

    /// The arguments.
    pub(crate) fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first argument as a text.
    pub(crate) fn arg(&self) -> Option<&str> {
        self.args().first().map(|word| word.text.as_str())
    }

    /// The statements of its block.
    pub(crate) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The words as a line.
    pub(crate) fn shown(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.text.as_str()).collect();
        one_line(&words.join(" "))
    }

    /// The first argument.
    ///
    /// # Errors
    /// There is none; `expected` is what it should be.
    pub(crate) fn need(&self, expected: &str) -> Result<&Word, Mistake> {
        self.args().first().ok_or_else(|| {
            let message = format!("{}: expected {expected}", one_line(self.keyword()));
            Mistake::at(self.place(), message)
        })
    }

    /// The first argument as something that `parse` understands.
    ///
    /// # Errors
    /// It is missing or something else.
    pub(crate) fn parsed<T>(
        &self,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Mistake> {
        let word = self.need(expected)?;
        parse(&word.text).ok_or_else(|| self.wrong(word, expected))
    }

    /// The first argument as a whole number within a range.
    ///
    /// # Errors
    /// It is missing or something else.
    pub(crate) fn number(&self, range: std::ops::RangeInclusive<i64>) -> Result<i64, Mistake> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(&expected, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// That one of the arguments is not what was expected.
    pub(crate) fn wrong(&self, word: &Word, expected: &str) -> Mistake {
        let (keyword, text) = (one_line(self.keyword()), one_line(&word.text));
        Mistake::at(
            &word.place,
            format!("{keyword} {text}: expected {expected}"),
        )
    }

    fn head(&self) -> &Word {
        self.words
            .first()
            .expect("the parsers make no statement without words")
    }
}
