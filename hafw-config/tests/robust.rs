//! No text makes the reader panic, and a place always lies in the text.

use hafw_config::{Document, Section};
use proptest::prelude::*;

const GOOD: &str = r#"
[node]
id = "lb01"
[[router]]
name = "oldboy"
vrid = 51
auth = { type = "pass", password = { file = "/nonexistent/hafw" } }
vips = ["10.0.0.3/24", '10.0.0.4']
[[router.track]]
weight = -60
interval = "1s"
size = "1MiB"
"#;

/// Asks every kind of question of every key.
fn read(section: &Section, depth: usize) {
    for key in [
        "node", "id", "router", "name", "vrid", "auth", "type", "password", "file", "vips",
        "track", "weight", "interval", "size", "include",
    ] {
        let _ = section.need(key, section.string(key));
        let _ = section.boolean(key);
        let _ = section.number::<u8>(key, -5..=300);
        let _ = section.duration(key);
        let _ = section.size(key);
        let _ = section.address(key);
        let _ = section.socket(key);
        let _ = section.strings(key);
        let _ = section.integers(key, 0..=5);
        let _ = section.secret(key);
        section.not_yet(key, &["\"0s\"", "[]"]);
        section.wrong(key, "wrong");
        if depth < 4 {
            section
                .table(key)
                .iter()
                .for_each(|table| read(table, depth + 1));
            section
                .tables(key, key)
                .iter()
                .for_each(|table| read(table, depth + 1));
        }
    }
    let _ = section.name("name");
    let _ = section.string_entries();
    section.finish();
}

fn check(text: &str) {
    let problems = match Document::parse("f", text) {
        Ok(document) => {
            read(&document.root(), 0);
            document.into_problems()
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
        }
    };
    let lines: Vec<_> = text.split('\n').collect();
    for problem in &problems.0 {
        let place = problem.place.as_ref().expect("a text has places");
        let line = lines[place.line - 1];
        assert!(
            place.column <= line.chars().count() + 1,
            "{problem}\n{text:?}"
        );
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
}

proptest! {
    #[test]
    fn any_text(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_of_tomls_own_characters(text in "[\\[\\]{}=.,'\"\\\\#\\n\\r\\t a-c0-2_:+-]{0,120}") {
        check(&text);
    }

    #[test]
    fn a_good_file_with_some_bytes_changed(
        changes in proptest::collection::vec((0..GOOD.len(), any::<u8>()), 1..6),
        cut in 0..GOOD.len(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        check(&text);
        check(text.get(..cut).unwrap_or_default());
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        format!("a = {}", "{ a = ".repeat(100_000)),
    ] {
        assert!(Document::parse("f", &text).is_err());
    }
}

#[test]
fn a_good_file_is_good() {
    assert!(Document::parse("f", GOOD).is_ok());
}
