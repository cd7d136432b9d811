use std::path::PathBuf;

use super::*;

/// Files by their paths.
struct Memory(BTreeMap<&'static str, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, String> {
        let text = self.0.get(path.to_str().unwrap());
        text.cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let pattern = pattern.to_str().unwrap();
        let found = self.0.keys().filter(|path| match pattern.split_once('*') {
            Some((start, end)) => path.starts_with(start) && path.ends_with(end),
            None => **path == pattern,
        });
        Ok(found.map(PathBuf::from).collect())
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }

    fn program(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

fn expanded_files(files: &[(&'static str, &str)]) -> (Vec<String>, Vec<String>) {
    let memory = Memory(
        files
            .iter()
            .map(|(path, text)| (*path, (*text).to_owned()))
            .collect(),
    );
    let (rows, mistakes) = expand(Path::new(files[0].0), &memory, "lb01");
    let rows = rows
        .iter()
        .map(|row| format!("{}: {}", row.line, row.text()));
    let mistakes = mistakes.iter().map(ToString::to_string);
    (rows.collect(), mistakes.collect())
}

fn expanded(text: &str) -> Vec<String> {
    let (rows, mistakes) = expanded_files(&[("k", text)]);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    rows
}

#[test]
fn definitions_are_replaced_when_they_are_used() {
    let text = "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.1\n$SUB=10\n${BASE}.1 $SUB $SUB.2 $NONE\n";

    assert_eq!(
        expanded(text),
        ["3: 10.2.0.1", "5: 10.2.10.1 10 $SUB.2 $NONE"]
    );
}

#[test]
fn a_value_of_several_lines_is_read_line_by_line() {
    let text = "$I= \\\n a ${N} { \\\n $M=x \\\n @lb01 b $M \\\n @lb02 c \\\n}\n$N=1\n$I\n";
    assert_eq!(expanded(text), ["2: a 1 {", "4: b x", "6: }"]);
}

#[test]
fn conditions_compare_the_identity() {
    let text = "@lb01 a\n@lb02 b\n@^lb01 c\n@^lb02 d\n$IF=@lb01\n$IF e\n@lb01 $P=1\nf $P\n";

    assert_eq!(expanded(text), ["1: a", "4: d", "6: e", "8: f 1"]);
}

#[test]
fn sequences_and_lists_repeat_the_rest_of_their_row() {
    assert_eq!(expanded("~SEQ(N, 0, 2) a${N}"), ["1: a0", "1: a1", "1: a2"]);
    assert_eq!(expanded("~SEQ(N, 3, -2, 1) a$N"), ["1: a3", "1: a1"]);
    assert_eq!(
        expanded("~SEQx(N, 0x90, 0x10, 0xa0) ${N}"),
        ["1: 90", "1: a0"]
    );
    let text = "~LST({A, B}, {1,2}, {3,4}) ~SEQ(C, 2) ${A}.${B}.${C}";
    assert_eq!(
        expanded(text),
        ["1: 1.2.1", "1: 1.2.2", "1: 3.4.1", "1: 3.4.2"]
    );
}

#[test]
fn predefined_names_have_their_values() {
    assert_eq!(
        expanded("a ${_INSTANCE} ${_HASH}${_BANG}"),
        ["1: a lb01 #!"]
    );
}

#[test]
fn includes_are_read_in_place_and_start_at_the_including_file() {
    let (rows, mistakes) = expanded_files(&[
        ("/etc/k", "a\ninclude conf.d/*.conf\nb\n"),
        ("/etc/conf.d/1.conf", "c\ninclude 2.inc\n"),
        ("/etc/conf.d/2.inc", "d\n"),
    ]);

    assert_eq!(rows, ["1: a", "1: c", "1: d", "3: b"]);
    assert!(mistakes.is_empty(), "{mistakes:?}");
}

#[test]
fn an_include_that_leads_back_is_named() {
    let (_, mistakes) = expanded_files(&[("/a", "include b\n"), ("/b", "x\n include a\n")]);

    assert_eq!(mistakes, ["/b:2:2: include: /a includes itself"]);
}

#[test]
fn a_missing_include_is_named_unless_it_is_a_pattern() {
    let (_, mistakes) = expanded_files(&[("/a", "include b\ninclude c*\nincludew d*\n")]);

    assert_eq!(
        mistakes,
        [
            "/a:1:1: include b: no such file",
            "/a:3:1: includew d*: no such file"
        ]
    );
}

#[test]
fn definitions_that_grow_without_end_are_stopped() {
    for text in [
        "$A=${A}${A}\n$A\n",
        "$A= \\\n ${A} \\\n ${A}\n$A\n",
        "~SEQ(A, 90000) ~SEQ(B, 90000) x\n",
    ] {
        let (_, mistakes) = expanded_files(&[("k", text)]);
        let [mistake] = mistakes.as_slice() else {
            panic!("{mistakes:?}");
        };
        assert!(mistake.contains("too much"), "{mistake}");
    }
}
