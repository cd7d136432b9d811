//! How much each interface has received, as the kernel counts it.

use std::{collections::BTreeMap, fs};

/// Frames that each interface of this network namespace has received, those that XDP took included.
/// Empty if the kernel does not say.
#[must_use]
pub fn received() -> BTreeMap<String, u64> {
    fs::read_to_string("/proc/thread-self/net/dev").map_or_else(|_| BTreeMap::new(), |t| parse(&t))
}

/// `name: bytes frames …`, behind two lines of headings.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let frames = counts.split_whitespace().nth(1)?;
        Some((name.trim().to_owned(), frames.parse().ok()?))
    };
    text.lines().skip(2).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Inter-|   Receive                 |  Transmit\n \
                    face |bytes    packets errs drop |bytes\n    \
                    lo:     120       2    0    0        120\n  \
                    eth0:99 7 0 0 1\n";
        let expected = [("eth0".to_owned(), 7), ("lo".to_owned(), 2)];
        assert_eq!(parse(text), BTreeMap::from(expected));
        assert_eq!(parse("odd\nlines\nx: y z\n: 1"), BTreeMap::new());
        assert!(received().contains_key("lo"));
    }
}
