//! What there is to say of an input, as it is found.

use crate::{
    draft::Section,
    place::{Mistake, Remark},
    statement::Statement,
};

/// Remarks and mistakes.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) remarks: Vec<Remark>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Notes {
    /// Something that is not quite the same.
    pub(crate) fn remark(&mut self, statement: &Statement, message: impl Into<String>) {
        self.remarks.push(Remark {
            place: statement.place().clone(),
            message: message.into(),
        });
    }

    /// A statement without an equivalent.
    pub(crate) fn unmatched(&mut self, statement: &Statement, why: &str) {
        self.remark(statement, format!("{}: {why}", statement.shown()));
    }

    /// The same, noted too where the statement would stand.
    pub(crate) fn unmatched_in(&mut self, section: &mut Section, statement: &Statement, why: &str) {
        let place = statement.place().short();
        section.note(&format!("{place}: {}: {why}", statement.shown()));
        self.unmatched(statement, why);
    }

    /// A statement that is none.
    pub(crate) fn mistake(&mut self, statement: &Statement, message: impl Into<String>) {
        self.mistakes.push(Mistake::at(statement.place(), message));
    }

    /// The value, or none and a mistake.
    pub(crate) fn take<T>(&mut self, value: Result<T, Mistake>) -> Option<T> {
        value.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }
}
