//! The path that routes are matched against: decoded and simplified as nginx does, so that
//! `/static/../upload`, `//upload` and `/%75pload` meet the same route as `/upload`. The path that
//! is sent on stays as the client wrote it.

/// A path that has no meaning: a bad percent escape, a NUL, or `..` above the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is malformed or leads above the root")]
pub struct BadPath;

/// Decodes percent escapes, merges slashes and resolves `.` and `..` in the path of a target, the
/// part before `?`. Decoded slashes and dots count as such. A path that needs no change is returned
/// as it is; otherwise the result is in `scratch`.
///
/// The asterisk of `OPTIONS *` is returned as it is.
///
/// # Errors
///
/// [`BadPath`] if the path does not start with a slash or has no meaning.
pub fn normalize<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], BadPath> {
    if path == b"*" {
        return Ok(path);
    }
    if path.first() != Some(&b'/') {
        return Err(BadPath);
    }
    if is_plain(path) {
        return Ok(path);
    }
    scratch.clear();
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => decode(bytes.next(), bytes.next())?,
            other => other,
        };
        match byte {
            0 => return Err(BadPath),
            b'/' => end_segment(scratch)?,
            other => scratch.push(other),
        }
    }
    let ends_in_dots = scratch.ends_with(b"/.") || scratch.ends_with(b"/..");
    if ends_in_dots {
        end_segment(scratch)?;
    }
    Ok(scratch)
}

/// Whether nothing in the path needs decoding, merging or resolving.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.iter().all(|byte| {
        let plain = match byte {
            0 | b'%' => false,
            b'/' | b'.' => !after_slash,
            _ => true,
        };
        after_slash = *byte == b'/';
        plain
    })
}

fn decode(high: Option<u8>, low: Option<u8>) -> Result<u8, BadPath> {
    let digit = |byte: Option<u8>| {
        let digit = char::from(byte?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(BadPath),
    }
}

/// Closes the segment at the end of `path` with a slash, or drops it if it is empty or made of
/// dots. `path` is empty or starts with a slash.
fn end_segment(path: &mut Vec<u8>) -> Result<(), BadPath> {
    if path.ends_with(b"/..") {
        path.truncate(path.len() - 3);
        let parent = path.iter().rposition(|byte| *byte == b'/');
        path.truncate(parent.ok_or(BadPath)? + 1);
    } else if path.ends_with(b"/.") {
        path.pop();
    } else if !path.ends_with(b"/") {
        path.push(b'/');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> Result<String, BadPath> {
        let mut scratch = Vec::new();
        normalize(path.as_bytes(), &mut scratch)
            .map(|path| String::from_utf8_lossy(path).into_owned())
    }

    #[test]
    fn equal_places_have_one_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/upload", "/upload"),
            ("/upload/", "/upload/"),
            ("//upload", "/upload"),
            ("///", "/"),
            ("/a//b///c", "/a/b/c"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../..", "/"),
            ("/a/b/../c", "/a/c"),
            ("/static/../upload", "/upload"),
            ("/%75pload", "/upload"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f..%2fb", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%20b", "/a b"),
            ("/a%3Fb", "/a?b"),
            ("/a%25b", "/a%b"),
            ("/...", "/..."),
            ("/..a", "/..a"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a.b", "/a.b"),
            ("/%E4%B8%AD", "/中"),
            ("*", "*"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn paths_without_meaning_are_refused() {
        for path in [
            "",
            "a",
            "/..",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%00",
            "/a%00b",
            "/%2e%2e",
            "**",
        ] {
            assert_eq!(normal(path), Err(BadPath), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_result_is_rooted_and_free_of_dots_and_double_slashes(
            path in "/([a./%25eE]|%2[eEfF]|%41){0,24}"
        ) {
            let mut scratch = Vec::new();
            if let Ok(path) = normalize(path.as_bytes(), &mut scratch) {
                prop_assert_eq!(path.first(), Some(&b'/'));
                for segment in path.split(|b| *b == b'/') {
                    prop_assert!(segment != b"." && segment != b"..");
                }
                prop_assert!(!path.windows(2).any(|pair| pair == b"//"));
            }
        }

        #[test]
        fn no_bytes_panic(path: Vec<u8>) {
            let _ = normalize(&path, &mut Vec::new());
        }
    }
}
