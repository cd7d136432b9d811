//! Sections: what each getter takes, and the exact words for what it refuses.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::time::Duration;

use hafw_config::{Document, Section};

/// The messages after `read` had the top level and it was finished.
fn messages(text: &str, read: impl Fn(&Section)) -> String {
    let document = Document::parse("f", text).unwrap();
    let root = document.root();
    read(&root);
    root.finish();
    document.into_problems().to_string()
}

#[track_caller]
fn refused(text: &str, read: impl Fn(&Section), expected: &str) {
    assert_eq!(messages(text, read), expected);
}

#[test]
fn a_wrong_value_is_repeated_with_what_was_expected() {
    let number = |root: &Section| drop(root.integer("k", 0..=255));
    refused(
        "k = 300",
        number,
        "f:1:5: k = 300: expected a number from 0 to 255",
    );
    refused(
        "k = \"1\"",
        number,
        "f:1:5: k = \"1\": expected a number from 0 to 255",
    );
    refused(
        "k = 1.0",
        number,
        "f:1:5: k = 1.0: expected a number from 0 to 255",
    );
    refused(
        "k = 99999999999999999999",
        number,
        "f:1:5: k = 99999999999999999999: expected a number from 0 to 255",
    );
    refused(
        "k = 1",
        |root| drop(root.string("k")),
        "f:1:5: k = 1: expected a string",
    );
    refused(
        "k = \"yes\"",
        |root| drop(root.boolean("k")),
        "f:1:5: k = \"yes\": expected true or false",
    );
    refused(
        "k = \"10.0.0.300\"",
        |root| drop(root.address("k")),
        "f:1:5: k = \"10.0.0.300\": expected an IP address",
    );
    refused(
        "k = \"10.0.0.3\"",
        |root| drop(root.socket("k")),
        "f:1:5: k = \"10.0.0.3\": expected an IP address and a port such as \"10.0.0.7:80\"",
    );
    refused(
        "k = \"1KB\"",
        |root| drop(root.size("k")),
        "f:1:5: k = \"1KB\": expected a size such as \"1MiB\", or a number of bytes",
    );
    refused(
        "k = \"sctp\"",
        |root| drop(root.choice("k", &[("tcp", 6), ("udp", 17)])),
        "f:1:5: k = \"sctp\": expected \"tcp\" or \"udp\"",
    );
}

#[test]
fn a_duration_has_a_unit_and_an_end() {
    let duration = |root: &Section| drop(root.duration("k"));
    let expected = "expected a duration such as \"1s\" or \"250ms\"";
    for text in [
        "2",
        "\"2\"",
        "\"0.5s\"",
        "\"1m30s\"",
        "\"-1s\"",
        "\"s\"",
        "\"\"",
    ] {
        refused(
            &format!("k = {text}"),
            duration,
            &format!("f:1:5: k = {text}: {expected}"),
        );
    }
    refused(
        "k = \"367d\"",
        duration,
        "f:1:5: k = \"367d\": expected at most a year, \"366d\"",
    );
    let document = Document::parse("f", "a = \"2h\"\nb = '250ms'\nc = \"1m\"").unwrap();
    let read = |key| document.root().duration(key).unwrap().value;
    assert_eq!(read("a"), Duration::from_secs(7200));
    assert_eq!(read("b"), Duration::from_millis(250));
    assert_eq!(read("c"), Duration::from_secs(60));
}

#[test]
fn a_number_that_its_type_cannot_hold_is_refused_and_not_dropped() {
    let messages = messages("k = 300", |root| {
        assert_eq!(root.number::<u8>("k", 0..=1000), None);
    });
    assert_eq!(messages, "f:1:5: k = 300: expected a smaller number");
}

#[test]
fn every_wrong_item_of_a_list_has_its_own_place() {
    refused(
        "k = [\n  \"a\",\n  1,\n  true,\n]",
        |root| drop(root.strings("k")),
        "f:3:3: k: 1: expected a string\nf:4:3: k: true: expected a string",
    );
    refused(
        "k = \"a\"",
        |root| drop(root.strings("k")),
        "f:1:5: k = \"a\": expected a list, each a string",
    );
    refused(
        "k = [200, 1000]",
        |root| drop(root.integers("k", 100..=599)),
        "f:1:11: k: 1000: expected a number from 100 to 599",
    );
}

#[test]
fn sections_name_themselves_and_what_they_stand_in() {
    let text = "[[service]]\nname = \"web\"\n[[service.backend]]\nweight = -1\n";
    refused(
        text,
        |root| {
            for service in root.tables("service", "service") {
                let _ = service.name("name");
                for backend in service.tables("backend", "backend") {
                    let _ = backend.need("address", backend.socket("address"));
                    let _ = backend.integer("weight", 0..=10);
                    backend.finish();
                }
                service.finish();
            }
        },
        "f:3:1: service \"web\": backend: address is missing\n\
         f:4:10: service \"web\": backend: weight = -1: expected a number from 0 to 10",
    );
}

#[test]
fn a_table_where_a_list_of_tables_belongs_says_how_to_write_it() {
    refused(
        "[service]\nname = \"web\"",
        |root| drop(root.tables("service", "service")),
        "f:1:1: service: expected a list of tables: [[service]], or service = [{ … }]",
    );
    refused(
        "service = [1]",
        |root| drop(root.tables("service", "service")),
        "f:1:12: service: 1: expected a table",
    );
    refused(
        "node = 1",
        |root| drop(root.table("node")),
        "f:1:8: node = 1: expected a table",
    );
}

#[test]
fn an_empty_list_is_told_from_one_whose_items_are_all_wrong() {
    let read = |root: &Section| {
        let _ = root.strings("k");
        root.need_items("k", "address");
    };
    refused("k = []", read, "f:1:5: k: expected at least one address");
    refused("k = [1]", read, "f:1:6: k: 1: expected a string");
    refused("", read, "");
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one_if_one_is_near() {
    let read = |root: &Section| {
        let _ = (
            root.string("priority"),
            root.string("preempt"),
            root.string("id"),
        );
    };
    refused(
        "priorty = 1",
        read,
        "f:1:1: priorty: unknown key, did you mean `priority`?",
    );
    refused(
        "prio = 1",
        read,
        "f:1:1: prio: unknown key, did you mean `priority`?",
    );
    refused("grid = 1", read, "f:1:1: grid: unknown key");
    refused("x = 1", read, "f:1:1: x: unknown key");
    refused("colour = 1", read, "f:1:1: colour: unknown key");
    refused("\"a\\nb\" = 1", read, "f:1:1: \"a\\nb\": unknown key");
}

#[test]
fn a_name_with_quotes_is_escaped_and_one_with_line_ends_is_none() {
    let read = |root: &Section| {
        for check in root.tables("check", "check") {
            let _ = check.name("name");
            check.finish();
        }
    };
    refused(
        "[[check]]\nname = 'a\"b'\nx = 1",
        read,
        "f:3:1: check \"a\\\"b\": x: unknown key",
    );
    for name in ["a\\nb", "", " "] {
        refused(
            &format!("[[check]]\nname = \"{name}\"\n"),
            read,
            &format!("f:2:8: check: name = \"{name}\": expected a name"),
        );
    }
}

#[test]
fn what_is_not_carried_out_is_refused_unless_it_asks_for_nothing() {
    let read = |root: &Section| root.not_yet("k", &["\"0s\"", "false", "[]"]);
    for harmless in ["\"0s\"", "'0ms'", "false", "[ ]"] {
        refused(&format!("k = {harmless}"), read, "");
    }
    refused("k = \"1s\"", read, "f:1:5: k = \"1s\": not in this version");
    refused("k = true", read, "f:1:5: k = true: not in this version");
    refused("k = [1]", read, "f:1:5: k: not in this version");
    refused("", read, "");
}

#[test]
fn words_that_are_not_carried_out_are_told_from_unknown_ones() {
    let read = |root: &Section| {
        if !root.not_yet_words("k", &["nat", "gue"]) {
            let _ = root.choice("k", &[("dsr", 1)]);
        }
    };
    refused(
        "k = \"nat\"",
        read,
        "f:1:5: k = \"nat\": not in this version",
    );
    refused("k = \"rr\"", read, "f:1:5: k = \"rr\": expected \"dsr\"");
    refused("k = 1", read, "f:1:5: k = 1: expected \"dsr\"");
    refused("k = \"dsr\"", read, "");
    refused("", read, "");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_places() {
    refused(
        "b = 2\na = 1\nc = 3",
        |root| {
            let _ = (root.string("c"), root.string("a"), root.string("b"));
            let _ = root.string("a");
        },
        "f:1:5: b = 2: expected a string\n\
         f:2:5: a = 1: expected a string\n\
         f:3:5: c = 3: expected a string",
    );
}

#[test]
fn entries_come_in_the_order_of_the_file() {
    let document = Document::parse("f", "z = \"1\"\na = \"2\"\nm = 3").unwrap();
    let entries = document.root().string_entries();
    let pairs: Vec<_> = entries
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(pairs, [("z", "1"), ("a", "2")]);
    assert_eq!(
        document.into_problems().to_string(),
        "f:3:5: m = 3: expected a string"
    );
}

#[test]
fn a_secret_is_in_no_message() {
    for value in ["12345678", "[1234567]", "true", "{ fil = \"x\" }"] {
        let messages = messages(&format!("k = {value}"), |root| {
            assert_eq!(root.secret("k"), None);
        });
        assert!(
            !messages.is_empty() && !messages.contains("1234567"),
            "{messages}"
        );
    }
    let document = Document::parse("f", "k = \"hush\"").unwrap();
    let secret = document.root().secret("k").unwrap();
    assert_eq!(secret.reveal(), "hush");
    assert!(!format!("{secret:?}").contains("hush"));
    document.root().wrong("k", "expected another");
    assert_eq!(
        document.into_problems().to_string(),
        "f:1:5: k: expected another"
    );
}

#[test]
fn mistakes_of_form_have_places_and_all_are_reported() {
    let problems = |text| Document::parse("f", text).unwrap_err().to_string();
    assert_eq!(
        problems("a = 1\nb =\n[x\n"),
        "f:2:4: not TOML: string values must be quoted, expected literal string\n\
         f:3:3: not TOML: unclosed table, expected `]`"
    );
    assert_eq!(
        problems("[node]\nid = 1\n[node]\n"),
        "f:3:2: node: defined twice, first at f:1:2"
    );
    assert_eq!(
        problems("[[a]]\nid = 1\n[[a]]\nid = 2\nid = 3\n"),
        "f:5:1: id: defined twice, first at f:4:1"
    );
    // Which `x` was repeated cannot be told without parsing the line: no place is better than a wrong one.
    assert_eq!(
        problems("a.x = 1\nb.x = 2\na.x = 3\n"),
        "f:3:3: x: defined twice"
    );
}
