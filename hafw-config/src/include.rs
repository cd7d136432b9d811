//! Which files `include` names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use glob::Pattern;

use crate::{
    Place, Problem,
    document::{beside, describe},
    tree::{Entry, Node, Value},
};

/// The key, at the top of the main file.
pub(crate) const INCLUDE: &str = "include";

/// The files that the patterns match: patterns in their order, files of one pattern by name. Each
/// file once, with its pattern's place, and never the main file: `["10-first.toml", "*.toml"]`
/// means what it says.
pub(crate) fn files(
    include: &Entry,
    main: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<(PathBuf, Place)> {
    let Value::Array(patterns) = &include.node.value else {
        problems.push(wrong(&include.node, "expected a list of file patterns"));
        return Vec::new();
    };
    let mut taken: BTreeSet<PathBuf> = fs::canonicalize(main).into_iter().collect();
    let mut files = Vec::new();
    for pattern in patterns {
        let matches = match matches(pattern, main) {
            Ok(matches) => matches,
            Err(what) => {
                problems.push(wrong(pattern, &what));
                continue;
            }
        };
        // One that cannot be resolved cannot be read either; that is said when it is.
        let new = matches
            .into_iter()
            .filter(|file| fs::canonicalize(file).map_or(true, |real| taken.insert(real)));
        files.extend(new.map(|file| (file, pattern.place.clone())));
    }
    files
}

fn matches(pattern: &Node, main: &Path) -> Result<Vec<PathBuf>, String> {
    let Value::String(text) = &pattern.value else {
        return Err("expected a file pattern, a string".to_owned());
    };
    if !text.contains(['*', '?', '[']) {
        return Ok(vec![beside(main, Path::new(text))]);
    }
    let Some(folder) = main.parent().unwrap_or(Path::new("")).to_str() else {
        return Err("the folder's name is not UTF-8: name the files one by one".to_owned());
    };
    // The folder is no pattern, whatever its name holds.
    let full = Path::new(&Pattern::escape(folder)).join(text);
    let found = glob::glob(&full.to_string_lossy())
        .map_err(|error| format!("not a file pattern: {}", error.msg))?;
    found.collect::<Result<_, _>>().map_err(|error| {
        let path = error.path().display().to_string();
        format!("cannot look into {path}: {}", describe(error.error()))
    })
}

fn wrong(node: &Node, what: &str) -> Problem {
    Problem::at(&node.place, format!("{INCLUDE} = {}: {what}", node.text))
}
