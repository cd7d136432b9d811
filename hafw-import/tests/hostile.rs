//! Texts that are nearly right: whatever they are, reading them ends, and every mistake and remark
//! is one line with a place that lies in the text.

mod judge;

use std::path::Path;

use hafw_import::Inputs;
use proptest::prelude::*;

use judge::judge;

const KEEPALIVED: [&str; 3] = [
    include_str!("data/keepalived/vrrp.conf"),
    include_str!("data/keepalived/elect.conf"),
    include_str!("data/keepalived/lvs.conf"),
];
const NGINX: [&str; 2] = [
    include_str!("data/nginx/full.conf"),
    include_str!("data/nginx/answers.conf"),
];

/// Pieces of either language, and what neither expects.
const PIECES: [&str; 24] = [
    "{",
    "}",
    ";",
    "\"",
    "'",
    "\\",
    "#",
    "!",
    "$A=${A}${A}",
    "${A}",
    "$A",
    "@lb01",
    "~SEQ(N,0,9) ",
    "~LST({A,B},{1,2}) ",
    "include f",
    "-1",
    "99999999999999999999",
    "é\u{0}",
    "(",
    ")",
    "\r\n",
    "10.0.0.1-10.0.0.9",
    "/",
    "é",
];

/// A text with some lines taken out, moved, or with pieces put in.
fn nearly(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let change = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..4u8,
    );
    (
        prop::sample::select(texts),
        prop::collection::vec(change, 1..12),
    )
        .prop_map(|(text, changes)| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            for (at, what, kind) in changes {
                let line = at.index(lines.len());
                match kind {
                    0 => {
                        lines.remove(line);
                    }
                    1 => {
                        let other = what.index(lines.len());
                        lines.swap(line, other);
                    }
                    2 => lines.insert(line, PIECES[what.index(PIECES.len())].to_owned()),
                    _ => {
                        let starts: Vec<_> = lines[line].char_indices().map(|(at, _)| at).collect();
                        let at = starts.get(what.index(starts.len() + 1)).copied();
                        let at = at.unwrap_or(lines[line].len());
                        lines[line].insert_str(at, PIECES[what.index(PIECES.len())]);
                    }
                }
                if lines.is_empty() {
                    lines.push(String::new());
                }
            }
            lines.join("\n")
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keepalived_files_that_are_nearly_right_are_read_to_their_end(text in nearly(&KEEPALIVED)) {
        let keepalived = Some(Path::new("f"));
        judge(&text, Inputs { keepalived, ..Inputs::default() });
    }

    #[test]
    fn nginx_files_that_are_nearly_right_are_read_to_their_end(text in nearly(&NGINX)) {
        let nginx = Some(Path::new("f"));
        judge(&text, Inputs { nginx, ..Inputs::default() });
    }
}
