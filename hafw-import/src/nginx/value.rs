//! nginx's values: times, sizes, addresses.

use std::net::{IpAddr, SocketAddr};

/// A time of nginx (`60`, `60s`, `1m30s`, `500ms`, `1h 30m`) in milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "M" => 2_592_000_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = after.trim_start();
    }
    // A year at most: what hafw takes.
    (total <= 31_536_000_000).then_some(total)
}

/// A duration as TOML.
pub(super) fn duration(ms: u64) -> String {
    if ms.is_multiple_of(1000) {
        format!("\"{}s\"", ms / 1000)
    } else {
        format!("\"{ms}ms\"")
    }
}

/// A size of nginx (`10m`, `8k`, `1g`, bytes) as TOML.
pub(super) fn size(text: &str) -> Option<String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => return Some(number.to_string()),
        "k" => "KiB",
        "m" => "MiB",
        "g" => "GiB",
        _ => return None,
    };
    Some(format!("\"{number}{unit}\""))
}

/// An address with a port, or the default one.
pub(super) fn socket(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(socket) = text.parse() {
        return Some(socket);
    }
    let address: IpAddr = text.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sums_of_parts_and_seconds_without_a_unit() {
        assert_eq!(milliseconds("60"), Some(60_000));
        assert_eq!(milliseconds("1m30s"), Some(90_000));
        assert_eq!(milliseconds("1h 30m"), Some(5_400_000));
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("1x"), None);
        assert_eq!(milliseconds("99999999999999999999d"), None);
        assert_eq!(milliseconds(""), None);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("10m").unwrap(), "\"10MiB\"");
        assert_eq!(size("0").unwrap(), "0");
        assert_eq!(size("1q"), None);
    }
}
