//! nginx.conf, or a file of its `http` block. [`mod@parse`] makes statements of files; the other modules
//! say what they come to in hafw.toml.

mod condition;
mod ignored;
mod listen;
mod location;
mod map;
mod parse;
mod server;
mod settings;
mod upstream;
mod value;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::{draft::Draft, files::Files, notes::Notes, place::Mistakes, statement::Statement};
use map::Maps;
use settings::Settings;
use upstream::Upstreams;

/// What all servers share.
struct Context<'a> {
    upstreams: Upstreams,
    maps: Maps,
    notes: Notes,
    /// What `listen 80` stands for.
    addresses: &'a [IpAddr],
    /// Where relative paths start.
    folder: PathBuf,
}

impl Context<'_> {
    /// The file that a directive names.
    fn file(&self, statement: &Statement) -> Option<String> {
        let path = self.folder.join(statement.arg()?);
        Some(path.display().to_string())
    }
}

/// Statements, of a file and what it includes.
///
/// # Errors
/// Everything that keeps the files from being read.
pub(crate) fn parse(path: &Path, files: &dyn Files) -> Result<Vec<Statement>, Mistakes> {
    parse::parse(path, files)
}

/// Adds what the statements come to. `addresses` is what `listen 80` stands for, `folder` where
/// relative paths start.
///
/// # Errors
/// Every value that is none.
pub(crate) fn translate(
    statements: &[Statement],
    folder: PathBuf,
    addresses: &[IpAddr],
    draft: &mut Draft,
) -> Result<(), Mistakes> {
    let mut notes = Notes::default();
    // A file of conf.d stands in `http` without saying so.
    let (http, main): (Vec<_>, Vec<_>) = statements
        .iter()
        .partition(|statement| statement.keyword() == "http");
    let blocks: Vec<Statement> = if http.is_empty() {
        main.into_iter().cloned().collect()
    } else {
        for statement in main {
            if let Some(why) = ignored::why(statement.keyword(), statement) {
                notes.unmatched(statement, why);
            }
        }
        http.iter().flat_map(|http| http.inner()).cloned().collect()
    };
    let (settings, directives) = Settings::default().within(&blocks, &mut notes);
    let of = |keyword: &'static str| {
        let all = directives.iter().copied();
        all.filter(move |statement| statement.keyword() == keyword)
            .collect::<Vec<_>>()
    };
    let mut context = Context {
        upstreams: Upstreams::read(&of("upstream"), &mut notes),
        maps: map::read(&of("map"), &mut notes),
        notes,
        addresses,
        folder,
    };
    let servers = server::servers(&of("server"), &settings, &mut context);
    for statement in &directives {
        let known = ["upstream", "map", "server"].contains(&statement.keyword());
        if !known && let Some(why) = ignored::why(statement.keyword(), statement) {
            context.notes.unmatched(statement, why);
        }
    }
    let Context {
        upstreams, notes, ..
    } = context;
    draft.sections.extend(upstreams.into_sections());
    draft.sections.extend(servers);
    let Notes {
        remarks,
        mut mistakes,
    } = notes;
    draft.remarks.extend(remarks);
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    mistakes.dedup();
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(Mistakes(mistakes))
    }
}
