//! Files: includes, their order, secrets in files, and files that cannot be read.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use hafw_config::{Document, Problems};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let made = Self(TempDir::new().unwrap());
        for (name, text) in files {
            let path = made.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Document, Problems> {
        Document::load(&self.path("main.toml"))
    }

    /// The problems with the folder's name left out.
    fn short(&self, problems: &Problems) -> String {
        let folder = format!("{}/", self.0.path().display());
        problems.to_string().replace(&folder, "")
    }

    #[track_caller]
    fn refused(&self, expected: &str) {
        assert_eq!(self.short(&self.load().unwrap_err()), expected);
    }
}

fn names(document: &Document) -> Vec<String> {
    let sections = document.root().tables("a", "a");
    sections
        .iter()
        .map(|section| section.string("n").unwrap().value)
        .collect()
}

#[test]
fn includes_are_read_in_order_and_each_file_once() {
    let files = Files::new(&[
        (
            "main.toml",
            "include = [\"d/2.toml\", \"d/*.toml\", \"*.toml\"]\n[[a]]\nn = \"main\"",
        ),
        ("d/3.toml", "[[a]]\nn = \"3\""),
        ("d/1.toml", "[[a]]\nn = \"1\""),
        ("d/2.toml", "[[a]]\nn = \"2\""),
        ("d/not.txt", "no TOML"),
    ]);
    symlink(files.path("d/3.toml"), files.path("d/4.toml")).unwrap();

    let document = files.load().unwrap();

    assert_eq!(names(&document), ["main", "2", "1", "3"]);
}

#[test]
fn a_folder_with_the_characters_of_patterns_is_no_pattern() {
    let files = Files::new(&[
        ("[x]*/main.toml", "include = [\"*.inc\"]\n"),
        ("[x]*/one.inc", "[[a]]\nn = \"one\""),
        ("xy/two.inc", "[[a]]\nn = \"two\""),
    ]);

    let document = Document::load(&files.path("[x]*/main.toml")).unwrap();

    assert_eq!(names(&document), ["one"]);
}

#[test]
fn what_stands_in_two_files_and_may_not_is_named_with_both_places() {
    let files = Files::new(&[
        (
            "main.toml",
            "include = [\"b.toml\", \"c.toml\"]\n[node]\nid = \"x\"\n",
        ),
        ("b.toml", "\n[node]\nid = \"y\"\n"),
        ("c.toml", "include = []\nnode = [1]\n"),
    ]);

    files.refused(
        "b.toml:2:2: node: defined twice, first at main.toml:2:2\n\
         c.toml:1:1: include: an included file includes no other\n\
         c.toml:2:1: node: defined twice, first at main.toml:2:2",
    );
}

#[test]
fn all_files_are_looked_at_before_any_is_refused() {
    let files = Files::new(&[
        (
            "main.toml",
            "include = [\"z.toml\", \"a.toml\", \"none.toml\", 7, \"[\", \"none-*\"]\n",
        ),
        ("z.toml", "x = \n"),
        ("a.toml", "y = \n"),
    ]);

    files.refused(
        "main.toml:1:32: include: cannot read none.toml: No such file or directory\n\
         main.toml:1:45: include = 7: expected a file pattern, a string\n\
         main.toml:1:48: include = \"[\": not a file pattern: invalid range pattern\n\
         z.toml:1:5: not TOML: string values must be quoted, expected literal string\n\
         a.toml:1:5: not TOML: string values must be quoted, expected literal string",
    );
}

#[test]
fn a_file_that_is_not_there_or_is_not_text_is_refused() {
    let files = Files::new(&[]);
    files.refused("cannot read main.toml: No such file or directory");

    fs::write(files.path("main.toml"), b"a = 1\nb = \"\xc3\xa4\xff\"\n").unwrap();
    files.refused("main.toml:2:7: not TOML: a byte that is not UTF-8");

    let problems = Document::load(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "cannot read /dev/zero: it is longer than 16384 KiB"
    );
}

#[test]
fn a_text_of_no_file_includes_nothing() {
    let problems = Document::parse("f", "include = [\"*\"]").unwrap_err();
    assert_eq!(
        problems.to_string(),
        "f:1:1: include: a text that was not read from a file includes none"
    );
}

#[test]
fn a_secret_is_read_from_beside_the_file_that_names_it() {
    let files = Files::new(&[
        ("main.toml", "include = [\"d/*\"]\n"),
        ("d/one.toml", "[s]\nk = { file = \"../keys/k\" }\n"),
        ("keys/k", "1111\r\n"),
    ]);

    let document = files.load().unwrap();
    let secret = document.root().table("s").unwrap().secret("k").unwrap();

    assert_eq!(secret.reveal(), "1111");
    assert!(secret.file().unwrap().ends_with("d/../keys/k"));
}

#[test]
fn only_the_last_line_end_of_a_secret_is_cut() {
    let files = Files::new(&[("main.toml", "k = { file = \"k\" }"), ("k", " a\n\n")]);
    let document = files.load().unwrap();
    assert_eq!(document.root().secret("k").unwrap().reveal(), " a\n");
}

#[test]
fn a_secret_that_cannot_be_read_is_named_with_both_places() {
    let files = Files::new(&[("main.toml", "k = { file = \"none\" }")]);
    for (make, why) in [
        (None, "No such file or directory"),
        (Some(b"\xff".as_slice()), "it is not UTF-8"),
        (Some(&[b'x'; 65_537]), "it is longer than 64 KiB"),
    ] {
        if let Some(bytes) = make {
            fs::write(files.path("none"), bytes).unwrap();
        }
        let document = files.load().unwrap();
        assert_eq!(document.root().secret("k"), None);
        assert_eq!(
            files.short(&document.into_problems()),
            format!("main.toml:1:14: k: file = \"none\": cannot read it: {why}")
        );
    }
}

#[test]
fn a_secret_is_not_read_from_what_may_never_end() {
    let files = Files::new(&[("main.toml", "k = { file = \"/dev/zero\" }")]);
    let document = files.load().unwrap();
    assert_eq!(document.root().secret("k"), None);
    assert_eq!(
        files.short(&document.into_problems()),
        "main.toml:1:14: k: file = \"/dev/zero\": cannot read it: it is not a regular file"
    );
}
