//! Configuration files: the reader that all sections share, and the proxy's sections.
//!
//! Whatever the text, reading it ends, and every mistake has a place that lies in the text and a
//! message of one line.
#![no_main]

use hafw_config::{Document, Problems, Section};
use hafw_l7::model::ProxyConfig;
use libfuzzer_sys::fuzz_target;

/// Keys of the sections that the proxy does not read, and how deep they are looked into.
const KEYS: [&str; 12] = [
    "node",
    "id",
    "virtual_router",
    "name",
    "vrid",
    "vips",
    "track",
    "authentication",
    "interval",
    "weight",
    "service",
    "backend",
];
const DEPTH: usize = 3;

fn ask(section: &Section, depth: usize) {
    for key in KEYS {
        let _ = section.need(key, section.string(key));
        let _ = section.number::<u8>(key, 0..=300);
        let _ = section.boolean(key);
        let _ = section.duration(key);
        let _ = section.size(key);
        let _ = section.socket(key);
        let _ = section.strings(key);
        let _ = section.integers(key, -1..=1);
        section.need_items(key, "item");
        section.not_yet(key, &["\"0s\"", "[]"]);
        if depth < DEPTH {
            section
                .table(key)
                .iter()
                .for_each(|table| ask(table, depth + 1));
            section
                .tables(key, key)
                .iter()
                .for_each(|table| ask(table, depth + 1));
        }
    }
    let _ = section.name("name");
    section.finish();
}

fn judge(text: &str, problems: &Problems) {
    let lines: Vec<_> = text.split('\n').collect();
    for problem in &problems.0 {
        let place = problem.place.as_ref().expect("a text has places");
        let line = lines[place.line - 1];
        assert!(place.column <= line.chars().count() + 1, "{problem}");
        assert!(!problem.message.contains('\n'), "{problem}");
    }
}

fuzz_target!(|text: &str| {
    match Document::parse("f", text) {
        Ok(document) => {
            let _ = ProxyConfig::read(&document);
            ask(&document.root(), 0);
            judge(text, &document.into_problems());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            judge(text, &problems);
        }
    }
});
