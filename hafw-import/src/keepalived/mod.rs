//! keepalived.conf. [`expand`] makes rows of files, [`tree`] statements of rows; the other modules
//! say what the statements come to in hafw.toml.

mod checker;
mod expand;
mod global;
mod instance;
mod keywords;
mod lvs;
mod notify;
mod row;
mod tracking;
mod tree;

use std::{net::IpAddr, path::Path};

use crate::{
    Surroundings,
    draft::Draft,
    files::Files,
    notes::Notes,
    place::{Mistake, Mistakes, one_line},
    statement::Statement,
};
use global::Globals;
use tracking::Tracking;

/// Statements, of a file and what it includes.
///
/// # Errors
/// Everything that keeps the files from being read.
pub(crate) fn parse(
    path: &Path,
    files: &dyn Files,
    config_id: &str,
) -> Result<Vec<Statement>, Mistakes> {
    let (rows, mut mistakes) = expand::expand(path, files, config_id);
    let (statements, more) = tree::parse(&rows);
    mistakes.extend(more);
    if mistakes.is_empty() {
        Ok(statements)
    } else {
        Err(Mistakes(mistakes))
    }
}

/// Adds what the statements come to, and gives the VIPs.
///
/// # Errors
/// Every value that is none.
pub(crate) fn translate(
    statements: &[Statement],
    files: &dyn Files,
    surroundings: &Surroundings,
    draft: &mut Draft,
) -> Result<Vec<IpAddr>, Mistakes> {
    let mut notes = Notes::default();
    let globals = Globals::read(statements, &mut notes);
    let tracking = Tracking::read(statements, &globals, files, &mut notes);
    let routers = instance::routers(statements, &globals, &tracking, &mut notes);
    let services = lvs::services(statements, &mut notes);

    let vips = routers
        .iter()
        .flat_map(|router| router.vips.clone())
        .collect();
    let node = globals.node(surroundings);
    let checks = tracking.checks(&routers);
    let alerts = notify::alerts(statements, &globals, files, &mut notes);
    draft.sections.push(node);
    draft
        .sections
        .extend(routers.into_iter().map(|router| router.section));
    draft.sections.extend(checks);
    draft.sections.extend(services);
    draft.sections.extend(alerts);
    for statement in statements {
        if !keywords::TRANSLATED.contains(&statement.keyword()) {
            notes.unmatched(statement, keywords::why_not(statement.keyword()));
        }
    }
    let Notes {
        remarks,
        mut mistakes,
    } = notes;
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    draft.remarks.extend(remarks);
    if mistakes.is_empty() {
        Ok(vips)
    } else {
        Err(Mistakes(mistakes))
    }
}

/// A duration of seconds with decimals, as TOML.
fn seconds(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the readers' ranges keep it within a day and above zero"
    )]
    let ms = (seconds * 1000.0).round() as u64;
    if ms.is_multiple_of(1000) {
        format!("\"{}s\"", ms / 1000)
    } else {
        format!("\"{ms}ms\"")
    }
}

/// A keepalived `<TIMER>`: seconds, with decimals.
fn timer(statement: &Statement, least: f64, most: f64) -> Result<f64, Mistake> {
    let expected = format!("seconds from {least} to {most}");
    statement.parsed(&expected, |text| {
        let seconds: f64 = text.parse().ok()?;
        (least..=most).contains(&seconds).then_some(seconds)
    })
}

/// `<BOOL>`; a keyword alone means on.
fn on(statement: &Statement) -> Result<bool, Mistake> {
    let Some(word) = statement.args().first() else {
        return Ok(true);
    };
    match word.text.as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(statement.wrong(word, "on, off, true, false, yes or no")),
    }
}

/// The name of a block, or a mistake.
fn name(statement: &Statement, notes: &mut Notes) -> Option<String> {
    let word = notes.take(statement.need("a name"))?;
    Some(one_line(&word.text))
}

/// The statements of a kind.
fn blocks<'a>(
    statements: &'a [Statement],
    keyword: &'static str,
) -> impl Iterator<Item = &'a Statement> {
    statements
        .iter()
        .filter(move |statement| statement.keyword() == keyword)
}
