//! A file and the files that it includes.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use toml::de::DeTable;

use crate::{
    Place, Problem, Problems, Section,
    tree::{Entry, Node, Source, Table, Value},
};

/// Mistakes as they are found: shared by a document and its sections.
pub(crate) type Sink = Rc<RefCell<Vec<Problem>>>;

/// A configuration that was parsed, with its includes.
#[derive(Clone, Debug)]
pub struct Document {
    root: Section,
    problems: Sink,
}

impl Document {
    /// Reads a file, and those that its `include = ["PATTERN", …]` names, in order; relative
    /// patterns start at the including file's folder.
    ///
    /// # Errors
    /// A file cannot be read or is no TOML, or a key stands in two of them that may stand in one.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = fs::read_to_string(path).map_err(|error| {
            Problems::one(
                None,
                format!("{}: cannot read the file: {error}", path.display()),
            )
        })?;
        let mut table = parse(path, &text)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        if let Some(include) = table.remove("include") {
            for file in included(&include, folder)? {
                let more = fs::read_to_string(&file).map_err(|error| {
                    let message = format!("include: cannot read {}: {error}", file.display());
                    Problems::one(Some(include.node.place.clone()), message)
                })?;
                merge(&mut table, parse(&file, &more)?)?;
            }
        }
        Ok(Self::new(path, table))
    }

    /// Parses a text as if it were the contents of a file of this name. There is nothing to
    /// include.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(name: impl AsRef<Path>, text: &str) -> Result<Self, Problems> {
        let name = name.as_ref();
        Ok(Self::new(name, parse(name, text)?))
    }

    fn new(path: &Path, table: Table) -> Self {
        let start = Place {
            file: Arc::from(path),
            line: 1,
            column: 1,
        };
        let problems = Sink::default();
        let root = Section::new(Rc::new(table), String::new(), start, Rc::clone(&problems));
        Self { root, problems }
    }

    /// The top level. All its clones are one section: what one asked for, all know.
    #[must_use]
    pub fn root(&self) -> Section {
        self.root.clone()
    }

    /// Whether a mistake was found so far.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Notes a mistake that a reader found by itself.
    pub fn problem(&self, place: &Place, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            place: Some(place.clone()),
            message: message.into(),
        });
    }

    /// All mistakes, in the order of their places, each once.
    #[must_use]
    pub fn into_problems(self) -> Problems {
        let mut problems = self.problems.take();
        problems.sort();
        problems.dedup();
        Problems(problems)
    }
}

fn parse(path: &Path, text: &str) -> Result<Table, Problems> {
    let source = Source::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(source.table(table.get_ref()));
    }
    let problems = errors.iter().map(|error| Problem {
        place: Some(source.place(error.span().map_or(0, |span| span.start))),
        message: format!("not TOML: {}", error.message().replace('\n', "; ")),
    });
    Err(Problems(problems.collect()))
}

fn included(include: &Entry, folder: &Path) -> Result<Vec<PathBuf>, Problems> {
    let wrong = |node: &Node, expected: &str| {
        let message = format!("include = {}: {expected}", node.text);
        Problems::one(Some(node.place.clone()), message)
    };
    let Value::Array(patterns) = &include.node.value else {
        return Err(wrong(&include.node, "expected a list of file patterns"));
    };
    let mut files = Vec::new();
    for pattern in patterns {
        let Value::String(text) = &pattern.value else {
            return Err(wrong(pattern, "expected a file pattern, a string"));
        };
        let full = folder.join(text);
        let matches = glob::glob(&full.to_string_lossy())
            .map_err(|error| wrong(pattern, &format!("not a file pattern: {error}")))?;
        // glob gives them in alphabetical order.
        let found: Vec<PathBuf> = matches.filter_map(Result::ok).collect();
        let literal = !text.contains(['*', '?', '[']);
        if found.is_empty() && literal {
            return Err(wrong(pattern, "there is no such file"));
        }
        files.extend(found);
    }
    Ok(files)
}

/// Lists of tables of two files are joined; anything else may stand in one.
fn merge(into: &mut Table, from: Table) -> Result<(), Problems> {
    for (key, entry) in from {
        if key == "include" {
            return Err(Problems::one(
                Some(entry.key),
                "include: an included file includes no other",
            ));
        }
        match (into.get_mut(&key), entry.node.value) {
            (
                Some(Entry {
                    node:
                        Node {
                            value: Value::Array(items),
                            ..
                        },
                    ..
                }),
                Value::Array(more),
            ) => {
                items.extend(more);
            }
            (Some(first), _) => {
                let message = format!("{key}: defined twice, first at {}", first.key);
                return Err(Problems::one(Some(entry.key), message));
            }
            (None, value) => {
                let node = Node {
                    value,
                    ..entry.node
                };
                into.insert(
                    key,
                    Entry {
                        key: entry.key,
                        node,
                    },
                );
            }
        }
    }
    Ok(())
}
