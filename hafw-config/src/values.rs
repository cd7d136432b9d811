//! How values are written: durations and sizes as strings, keys in messages.

use std::{borrow::Cow, time::Duration};

use toml::de::DeValue;

use crate::tree::Value;

/// The longest duration that a key takes.
pub(crate) const LONGEST_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// A duration such as `"250ms"` or `"1s"`: a whole number of `ms`, `s`, `m` or `min` (minutes),
/// `h` or `d`. `"0.5s"` and `"1m30s"` are none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// A size such as `"1MiB"`, `"64KiB"`, `"512B"`, `"2GiB"`, in bytes. nginx's `"1m"`, `"64k"` and
/// `"1g"` mean the same powers of 1024.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" | "k" | "K" => 1 << 10,
        "MiB" | "m" | "M" => 1 << 20,
        "GiB" | "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// Whether a value means the same as one that is given as TOML: `"0s"` and `"0ms"` do.
pub(crate) fn same_value(value: &Value, text: &str) -> bool {
    let Ok(other) = DeValue::parse(text) else {
        return false;
    };
    match (value, other.get_ref()) {
        (Value::String(a), DeValue::String(b)) => {
            *a == *b || parse_duration(a).is_some_and(|a| parse_duration(b) == Some(a))
        }
        (Value::Boolean(a), DeValue::Boolean(b)) => a == b,
        (Value::Array(a), DeValue::Array(b)) => a.is_empty() && b.is_empty(),
        _ => false,
    }
}

/// A key as it is written in TOML: one with odd characters in quotes, on one line.
pub(crate) fn shown(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("{key:?}"))
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_sizes_do_not() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1s"), Some(Duration::from_secs(1)));
        assert_eq!(parse_duration("1"), None);
        assert_eq!(parse_duration("0.5s"), None);
        assert_eq!(parse_duration("99999999999999999999s"), None);
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("1KB"), None);
    }

    #[test]
    fn values_are_the_same_however_they_are_written() {
        let zero = Value::String("0ms".to_owned());
        assert!(same_value(&zero, "\"0s\""));
        assert!(!same_value(&zero, "\"1s\""));
        assert!(!same_value(&Value::String("x".to_owned()), "\"y\""));
        assert!(same_value(&Value::Boolean(false), "false"));
        assert!(!same_value(&Value::Boolean(true), "false"));
        assert!(same_value(&Value::Array(Vec::new()), "[]"));
    }

    #[test]
    fn odd_keys_are_quoted() {
        assert_eq!(shown("a-b_1"), "a-b_1");
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown(""), "\"\"");
    }
}
