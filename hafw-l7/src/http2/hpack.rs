//! Header blocks, checked without being decoded (RFC 7541): the codec ends a connection for any
//! fault of theirs with PROTOCOL_ERROR, and does not look for pseudo-headers among trailers.
//!
//! What is kept of the dynamic table is how long its entries are, which says which indices there
//! are.

use std::collections::VecDeque;

/// The table's size that is in force without SETTINGS_HEADER_TABLE_SIZE, which is not sent.
const TABLE_SIZE: usize = 4096;
/// What an entry counts beside its texts (RFC 7541 §4.1).
const ENTRY: usize = 32;

/// A block that cannot be decoded: COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header block that cannot be decoded")]
pub struct Broken;

/// The dynamic table of a connection's receiving side.
#[derive(Debug)]
pub struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

/// A field of a table, and a name.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    value_len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    len: usize,
    is_pseudo: bool,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit: TABLE_SIZE,
        }
    }

    /// Follows what a whole block does to the table. Returns whether it has pseudo-headers.
    ///
    /// # Errors
    ///
    /// [`Broken`]
    pub fn follow(&mut self, block: &[u8]) -> Result<bool, Broken> {
        let mut rest = block;
        let mut has_pseudo = false;
        let mut has_fields = false;
        while let Some(&first) = rest.first() {
            // §6: the leading bits say what it is.
            let name = match first.leading_zeros() {
                0 => {
                    let index = integer(&mut rest, 7)?;
                    self.entry(index)?.name
                }
                1 => {
                    let entry = self.literal(&mut rest, 6)?;
                    self.insert(entry);
                    entry.name
                }
                2 => {
                    let limit = integer(&mut rest, 5)?;
                    if has_fields || limit > TABLE_SIZE {
                        return Err(Broken);
                    }
                    self.limit = limit;
                    self.evict(limit);
                    continue;
                }
                _ => self.literal(&mut rest, 4)?.name,
            };
            has_fields = true;
            has_pseudo |= name.is_pseudo;
        }
        Ok(has_pseudo)
    }

    /// A literal, whose name is an index of `prefix` bits or a text.
    fn literal(&self, rest: &mut &[u8], prefix: u32) -> Result<Entry, Broken> {
        let name = match integer(rest, prefix)? {
            0 => {
                let (len, is_pseudo) = string(rest)?;
                Name { len, is_pseudo }
            }
            index => self.entry(index)?.name,
        };
        let (value_len, _) = string(rest)?;
        Ok(Entry { name, value_len })
    }

    fn entry(&self, index: usize) -> Result<Entry, Broken> {
        let index = index.checked_sub(1).ok_or(Broken)?;
        if let Some(name) = STATIC_NAMES.get(index) {
            let name = Name {
                len: name.len(),
                is_pseudo: name.starts_with(':'),
            };
            // How long the value is does not matter: such a field is not put into the table again.
            return Ok(Entry { name, value_len: 0 });
        }
        let index = index - STATIC_NAMES.len();
        self.entries.get(index).copied().ok_or(Broken)
    }

    /// §4.4: a field that is larger than the table empties it.
    fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    fn evict(&mut self, limit: usize) {
        while self.size > limit
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    const fn size(self) -> usize {
        self.name.len + self.value_len + ENTRY
    }
}

/// Takes an integer whose first `prefix` bits are in the first byte (§5.1). None that is larger
/// than a block can be is one.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    let full = (1_usize << prefix) - 1;
    let mut value = usize::from(*take(rest, 1)?.first().ok_or(Broken)?) & full;
    if value < full {
        return Ok(value);
    }
    for shift in [0, 7, 14] {
        let byte = *take(rest, 1)?.first().ok_or(Broken)?;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Broken)
}

/// Takes a text. Returns its length once decoded, and whether it starts with a colon (§5.2).
fn string(rest: &mut &[u8]) -> Result<(usize, bool), Broken> {
    let is_coded = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let len = integer(rest, 7)?;
    let text = take(rest, len)?;
    if !is_coded {
        return Ok((len, text.starts_with(b":")));
    }
    let colon = text.first().is_some_and(|byte| byte >> 1 == COLON);
    Ok((coded_len(text)?, colon))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Broken> {
    let (taken, left) = rest.split_at_checked(len).ok_or(Broken)?;
    *rest = left;
    Ok(taken)
}

/// How many bytes Huffman's code stands for (RFC 7541 appendix B).
fn coded_len(text: &[u8]) -> Result<usize, Broken> {
    let mut bytes = text.iter();
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut len = 0;
    loop {
        while have <= 32
            && let Some(byte) = bytes.next()
        {
            bits = bits << 8 | u64::from(*byte);
            have += 8;
        }
        let left = bits & ((1 << have) - 1);
        // §5.2: padding is less than a byte, and the beginning of EOS.
        if have < 8 && left == (1 << have) - 1 {
            return Ok(len);
        }
        let window = if have >= 32 {
            left >> (have - 32)
        } else {
            left << (32 - have)
        };
        let code = CODES.iter().find(|code| window <= code.last);
        let code = code.ok_or(Broken)?;
        if code.len > have || (code.len == 30 && window >> 2 == EOS) {
            return Err(Broken);
        }
        have -= code.len;
        len += 1;
    }
}

const EOS: u64 = 0x3fff_ffff;
/// The code of a colon, seven bits.
const COLON: u8 = 0x5c;

/// The codes of one length. They ascend from length to length, so that their numbers tell them
/// apart.
#[derive(Clone, Copy)]
struct Codes {
    len: u32,
    /// The last of them, and ones behind it, in 32 bits.
    last: u64,
}

/// How many codes of which length there are.
const COUNTS: [(u32, u64); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

const CODES: [Codes; COUNTS.len()] = {
    let mut codes = [Codes { len: 0, last: 0 }; COUNTS.len()];
    let (mut next, mut at, mut before) = (0_u64, 0, 0);
    while at < COUNTS.len() {
        let (len, count) = COUNTS[at];
        next = (next << (len - before)) + count;
        codes[at] = Codes {
            len,
            last: (next << (32 - len)) - 1,
        };
        before = len;
        at += 1;
    }
    codes
};

/// RFC 7541 appendix A.
const STATIC_NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.bytes().filter(|byte| *byte != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_examples_of_the_rfc_fill_the_table_as_it_says() {
        // Appendix C.4, requests with Huffman's code, and C.6, answers that evict.
        let mut table = Table::new();
        for (block, size) in [
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", 57),
            ("8286 84be 5886 a8eb 1064 9cbf", 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                164,
            ),
        ] {
            assert_eq!(table.follow(&bytes(block)), Ok(true));
            assert_eq!(table.size, size);
        }
        let mut table = Table::new();
        assert_eq!(table.follow(&bytes("3fe1 01")), Ok(false), "256 bytes");
        for (block, size) in [
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                222,
            ),
            ("4883 640e ffc1 c0bf", 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                215,
            ),
        ] {
            assert_eq!(table.follow(&bytes(block)), Ok(true));
            assert_eq!(table.size, size);
        }
    }

    #[test]
    fn a_field_larger_than_the_table_empties_it() {
        let mut table = Table::new();
        table.follow(b"\x40\x01x\x01y").unwrap();
        let large = [&b"\x40\x01x\x7f\x81\x1f"[..], &[b'y'; 4096]].concat();

        assert_eq!(table.follow(&large), Ok(false));

        assert_eq!(table.size, 0);
        assert_eq!(table.follow(b"\xbe"), Err(Broken));
    }

    #[test]
    fn pseudo_headers_are_seen_in_every_form() {
        let mut table = Table::new();

        assert_eq!(table.follow(b"\x41\x01a"), Ok(true), "into the table");
        for block in [
            &b"\x82"[..],
            b"\xbe",
            b"\x7e\x01b",
            b"\x00\x05:path\x01/",
            b"\x10\x85\xb9\x49\x53\x39\xe4\x01/",
        ] {
            assert_eq!(table.follow(block), Ok(true), "{block:02x?}");
        }
        assert_eq!(table.follow(b"\x00\x01x\x05:path\x90"), Ok(false));
    }

    #[test]
    fn every_byte_has_a_code() {
        let total: u64 = COUNTS.iter().map(|(_, count)| count).sum();

        assert_eq!(total, 257);
        assert_eq!(CODES.last().unwrap().last, u64::from(u32::MAX));
    }
}
