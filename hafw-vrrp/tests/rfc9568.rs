//! `docs/rfc9568.md` names tests that exist.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// What stands in backticks in the last column of the table.
fn named(document: &str) -> Vec<&str> {
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let columns = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    columns
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(root.join("docs/rfc9568.md")).unwrap();
    let mut texts = Vec::new();
    for folder in ["hafw-vrrp", "hafw-ebpf/src", "hafw-user/src", "tests"] {
        sources(&root.join(folder), &mut texts);
    }
    let names = named(&document);
    assert!(names.len() > 40, "only {} names", names.len());
    let missing: Vec<_> = names
        .iter()
        .filter(|name| {
            let (function, case) = (format!("fn {name}("), format!("\"{name}\""));
            !texts
                .iter()
                .any(|text| text.contains(&function) || text.contains(&case))
        })
        .collect();
    assert!(missing.is_empty(), "there is no test {missing:?}");
}
