//! How inputs reach this crate, which does no IO itself.

use std::path::{Path, PathBuf};

/// The file system, as far as an import looks at it.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, for a person.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The files that a pattern of the shell matches, by name; a path without wildcards is itself,
    /// if it exists.
    ///
    /// # Errors
    /// Why the pattern is none, or cannot be looked for.
    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String>;

    /// One name for a file, however a path leads to it: what tells that a file includes itself.
    fn canonical(&self, path: &Path) -> PathBuf;

    /// Where a program is that a command names without a path.
    fn program(&self, name: &str) -> Option<PathBuf>;
}

/// `a{b,c}d` as the shell expands it: `abd`, `acd`. What would come to more than the limit, or is
/// unbalanced, stays as it is.
pub(crate) fn braces(pattern: &str) -> Vec<String> {
    const MOST: usize = 256;
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(text) = open.pop() {
        let Some((start, end, commas)) = first_braces(&text) else {
            done.push(text);
            continue;
        };
        if done.len() + open.len() + commas.len() >= MOST {
            return vec![pattern.to_owned()];
        }
        let mut from = start + 1;
        let mut alternatives = Vec::new();
        for comma in commas.into_iter().chain([end]) {
            let (before, inside, after) = (&text[..start], &text[from..comma], &text[end + 1..]);
            alternatives.push(format!("{before}{inside}{after}"));
            from = comma + 1;
        }
        open.extend(alternatives.into_iter().rev());
    }
    done
}

/// Where the first braces begin and end, and the commas between them. All are single bytes.
fn first_braces(text: &str) -> Option<(usize, usize, Vec<usize>)> {
    let start = text.find('{')?;
    let (mut depth, mut commas) = (0, Vec::new());
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < start) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some((start, at, commas)),
            '}' => depth -= 1,
            ',' if depth == 1 => commas.push(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_as_in_the_shell() {
        assert_eq!(braces("a{b,c}d"), ["abd", "acd"]);
        assert_eq!(
            braces("{foo/{,cat,dog},bar}"),
            ["foo/", "foo/cat", "foo/dog", "bar"]
        );
        assert_eq!(braces("a{b"), ["a{b"]);
        let much = "{1,2}".repeat(20);
        assert_eq!(braces(&much), [much]);
    }
}
