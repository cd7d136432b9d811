//! A file and the files that it includes, as one tree.

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use toml::de::DeTable;

use crate::{
    Place, Problem, Problems, Section, Warning,
    include::{self, INCLUDE},
    syntax,
    tree::{Entry, Node, Source, Table, Value},
};

/// The longest file that is read: a path that leads to a device by mistake fills no memory.
const MAX_BYTES: u64 = 16 << 20;

/// Mistakes as they are found: shared by a document and its sections.
pub(crate) type Sink = Rc<RefCell<Vec<Problem>>>;

/// A configuration that was parsed, with its includes.
#[derive(Clone, Debug)]
pub struct Document {
    root: Section,
    problems: Sink,
    warnings: Rc<RefCell<Vec<Warning>>>,
}

impl Document {
    /// Reads a file, and those that its `include = ["PATTERN", …]` names, in order; relative
    /// patterns start at the including file's folder. A file that several patterns match counts
    /// once, where it was first matched.
    ///
    /// # Errors
    /// Everything that keeps the files from being one tree: one cannot be read or is no TOML, or a
    /// key stands in two of them that may stand in one only.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut table = read(0, path, None, &mut problems).unwrap_or_default();
        if let Some(entry) = table.remove(INCLUDE) {
            let files = include::files(&entry, path, &mut problems);
            for (index, (file, named_at)) in files.iter().enumerate() {
                if let Some(more) = read(index + 1, file, Some(named_at), &mut problems) {
                    merge(&mut table, more, &mut problems);
                }
            }
        }
        Self::new(path, table, problems)
    }

    /// Parses a text as if it were the contents of a file of this name. It can include nothing.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(name: impl AsRef<Path>, text: &str) -> Result<Self, Problems> {
        let (name, mut problems) = (name.as_ref(), Vec::new());
        let table = parse(0, name, text, &mut problems).unwrap_or_default();
        if let Some(entry) = table.get(INCLUDE) {
            let message = "include: a text that was not read from a file includes none";
            problems.push(Problem::at(&entry.key, message));
        }
        Self::new(name, table, problems)
    }

    fn new(path: &Path, table: Table, problems: Vec<Problem>) -> Result<Self, Problems> {
        if !problems.is_empty() {
            return Err(Problems::sorted(problems));
        }
        let start = Place {
            order: 0,
            file: Arc::from(path),
            line: 1,
            column: 1,
        };
        let problems = Sink::default();
        let root = Section::new(Rc::new(table), String::new(), start, Rc::clone(&problems));
        Ok(Self {
            root,
            problems,
            warnings: Rc::default(),
        })
    }

    /// The top level. All its clones are one section: what one asked for, all know.
    #[must_use]
    pub fn root(&self) -> Section {
        self.root.clone()
    }

    /// Whether a mistake was found so far.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.problem_count() > 0
    }

    /// How many mistakes were noted so far: whether reading something added any tells whether all
    /// of it could be read.
    #[must_use]
    pub fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Notes a mistake that a reader found by itself.
    pub fn problem(&self, place: &Place, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::at(place, message));
    }

    /// Notes something that is allowed, and hardly what was meant.
    pub fn warning(&self, place: &Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning {
            place: place.clone(),
            message: message.into(),
        });
    }

    /// All mistakes, in the order of their places, each once.
    #[must_use]
    pub fn into_problems(self) -> Problems {
        Problems::sorted(self.problems.take())
    }

    /// All warnings so far, in the order of their places, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.borrow().clone();
        warnings.sort();
        warnings.dedup();
        warnings
    }
}

/// None where the file is no table; why stands in `problems`. `included` is where it is named.
fn read(
    order: usize,
    path: &Path,
    included: Option<&Place>,
    problems: &mut Vec<Problem>,
) -> Option<Table> {
    let bytes = match read_bytes(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!("cannot read {}: {}", path.display(), describe(&error));
            problems.push(match included {
                Some(place) => Problem::at(place, format!("{INCLUDE}: {what}")),
                None => Problem::general(what),
            });
            return None;
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(order, path, text, problems),
        Err(error) => {
            // Lossy text has the same lines, and the same columns up to the first bad byte.
            let text = String::from_utf8_lossy(&bytes);
            let place = Source::new(order, path, &text).place(error.valid_up_to());
            problems.push(Problem::at(&place, "not TOML: a byte that is not UTF-8"));
            None
        }
    }
}

fn parse(order: usize, path: &Path, text: &str, problems: &mut Vec<Problem>) -> Option<Table> {
    let source = Source::new(order, path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(source.table(table.get_ref()));
    }
    problems.extend(syntax::problems(&source, table.get_ref(), &errors));
    None
}

/// Lists of tables of two files are joined; anything else may stand in one.
fn merge(into: &mut Table, from: Table, problems: &mut Vec<Problem>) {
    for (key, entry) in from {
        if key == INCLUDE {
            let message = "include: an included file includes no other";
            problems.push(Problem::at(&entry.key, message));
            continue;
        }
        match (into.get_mut(&key), entry) {
            (
                Some(Entry {
                    node:
                        Node {
                            value: Value::Array(items),
                            ..
                        },
                    ..
                }),
                Entry {
                    node:
                        Node {
                            value: Value::Array(more),
                            ..
                        },
                    ..
                },
            ) => items.extend(more),
            (Some(first), second) => {
                let message = format!("{key}: defined twice, first at {}", first.key);
                problems.push(Problem::at(&second.key, message));
            }
            (None, entry) => {
                into.insert(key, entry);
            }
        }
    }
}

/// The bytes of a file that is not longer than `limit`.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;

    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is longer than {} KiB", limit >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// What the system says of a failed call, without the error's number.
pub(crate) fn describe(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.find(" (os error") {
        text.truncate(at);
    }
    text
}

/// Where a path leads that a file of this name gives: relative ones start at the file's folder.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}
