//! Percent escapes for a path that was decoded and is sent on changed.

use std::fmt::Write as _;

/// Appends a decoded path so that it reads as the same path. What is escaped is what nginx escapes:
/// controls, spaces, all that is not ASCII, and `"#%<>?\^`{|}`.
pub fn escape_path(path: &[u8], out: &mut Vec<u8>) {
    escape(path, out, |byte| {
        !byte.is_ascii_graphic() || b"\"#%<>?\\^`{|}".contains(&byte)
    });
}

/// Appends a decoded text as a part of a query.
pub fn escape_argument(text: &[u8], out: &mut Vec<u8>) {
    escape(text, out, |byte| {
        !byte.is_ascii_graphic() || b"\"#%&+;<>?\\^`{|}".contains(&byte)
    });
}

/// Escapes the control characters at the end of `out`, from `start` on, which no header may hold.
pub fn escape_controls(start: usize, out: &mut Vec<u8>) {
    let added = out.get(start..).unwrap_or_default();
    if added.iter().any(u8::is_ascii_control) {
        let added = added.to_vec();
        out.truncate(start);
        escape(&added, out, |byte| byte.is_ascii_control());
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>, is_special: impl Fn(u8) -> bool) {
    for byte in text {
        if is_special(*byte) {
            let mut digits = String::with_capacity(3);
            write!(digits, "%{byte:02X}").expect("writing to a string cannot fail");
            out.extend_from_slice(digits.as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::path::normalize;

    proptest! {
        #[test]
        fn an_escaped_path_reads_as_the_same_path(path in "/[ -~\u{e4}\n\"]{0,24}") {
            let mut scratch = Vec::new();
            if let Ok(decoded) = normalize(path.as_bytes(), &mut scratch) {
                let decoded = decoded.to_vec();
                let mut escaped = Vec::new();
                escape_path(&decoded, &mut escaped);
                let mut again = Vec::new();
                prop_assert_eq!(normalize(&escaped, &mut again), Ok(&decoded[..]));
                prop_assert!(escaped.iter().all(u8::is_ascii_graphic));
            }
        }
    }

    #[test]
    fn controls_at_the_end_are_escaped() {
        let mut out = b"a\n".to_vec();
        out.extend_from_slice(b"b\r\nc");

        escape_controls(2, &mut out);

        assert_eq!(out, b"a\nb%0D%0Ac");
    }
}
