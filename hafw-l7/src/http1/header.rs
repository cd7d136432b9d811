//! The header lines that mean something to the proxy itself: framing, and what belongs to one
//! connection only (RFC 9110 §7.6.1).

use httparse::Header;

use super::MAX_HEADERS;

/// A set of header lines by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineSet(u128);

const _: () = assert!(MAX_HEADERS <= 128);

impl LineSet {
    pub fn insert(&mut self, line: usize) {
        self.0 |= 1 << line;
    }

    #[must_use]
    pub fn contains(self, line: usize) -> bool {
        self.0 & (1 << line) != 0
    }
}

/// A field name that the proxy acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Connection,
    ContentLength,
    Date,
    Expect,
    Host,
    /// Belongs to one connection, and nothing else is done about it: Keep-Alive,
    /// Proxy-Connection, TE.
    HopByHop,
    TransferEncoding,
    /// Belongs to one connection; what it asks for may be passed on.
    Upgrade,
    Other,
}

/// Recognises a field name.
#[must_use]
pub fn classify(name: &str) -> Name {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is("te") => Name::HopByHop,
        4 if is("host") => Name::Host,
        4 if is("date") => Name::Date,
        6 if is("expect") => Name::Expect,
        7 if is("upgrade") => Name::Upgrade,
        10 if is("connection") => Name::Connection,
        10 if is("keep-alive") => Name::HopByHop,
        14 if is("content-length") => Name::ContentLength,
        16 if is("proxy-connection") => Name::HopByHop,
        17 if is("transfer-encoding") => Name::TransferEncoding,
        _ => Name::Other,
    }
}

/// A head that two readers could understand differently, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("a Content-Length that is not one number")]
    BadLength,
    #[error("two Content-Lengths")]
    TwoLengths,
    #[error("a Transfer-Encoding other than chunked, or two")]
    BadEncoding,
    #[error("Content-Length and Transfer-Encoding together")]
    LengthAndEncoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    EncodingInOld,
    #[error("too many connection options")]
    TooManyOptions,
}

/// What the lines of a head say about its message and its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub length: Option<u64>,
    pub chunked: bool,
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
    /// `Connection: upgrade`.
    pub upgrade: bool,
    /// Lines that must not be sent on.
    pub dropped: LineSet,
    /// Whether Connection names fields beyond those that are dropped anyway.
    has_options: bool,
}

/// The most field names that Connection may list.
const MAX_OPTIONS: usize = 16;

impl Facts {
    /// Takes notice of line `index`. `http11`: whether the message is HTTP/1.1.
    pub fn note(
        &mut self,
        index: usize,
        name: Name,
        value: &[u8],
        http11: bool,
    ) -> Result<(), FramingError> {
        match name {
            Name::ContentLength => {
                if self.length.is_some() {
                    return Err(FramingError::TwoLengths);
                }
                self.length = Some(parse_length(value).ok_or(FramingError::BadLength)?);
            }
            Name::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(FramingError::BadEncoding);
                }
                if !http11 {
                    return Err(FramingError::EncodingInOld);
                }
                self.chunked = true;
            }
            Name::Connection => {
                self.dropped.insert(index);
                self.note_options(value);
            }
            Name::HopByHop | Name::Upgrade => self.dropped.insert(index),
            Name::Date | Name::Expect | Name::Host | Name::Other => {}
        }
        Ok(())
    }

    /// All lines have been noted: checks the framing and drops what Connection lists.
    pub fn finish(&mut self, headers: &[Header<'_>]) -> Result<(), FramingError> {
        if self.chunked && self.length.is_some() {
            return Err(FramingError::LengthAndEncoding);
        }
        if self.has_options {
            self.drop_options(headers)?;
        }
        Ok(())
    }

    /// Whether the sender wants the connection to stay (RFC 9112 §9.3).
    #[must_use]
    pub fn persists(&self, http11: bool) -> bool {
        !self.close && (http11 || self.keep_alive)
    }

    fn note_options(&mut self, value: &[u8]) {
        for option in options(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.has_options = true;
            }
        }
    }

    fn drop_options(&mut self, headers: &[Header<'_>]) -> Result<(), FramingError> {
        let listed = || {
            headers
                .iter()
                .filter(|header| classify(header.name) == Name::Connection)
                .flat_map(|header| options(header.value))
        };
        if listed().count() > MAX_OPTIONS {
            return Err(FramingError::TooManyOptions);
        }
        for (index, header) in headers.iter().enumerate() {
            // Nobody may take the fields away that say where a message goes and where it ends.
            let may_go = match classify(header.name) {
                Name::Host | Name::ContentLength | Name::TransferEncoding => false,
                Name::Connection
                | Name::Date
                | Name::Expect
                | Name::HopByHop
                | Name::Upgrade
                | Name::Other => true,
            };
            if may_go && listed().any(|o| o.eq_ignore_ascii_case(header.name.as_bytes())) {
                self.dropped.insert(index);
            }
        }
        Ok(())
    }
}

/// Whether an Upgrade names one protocol that can be passed on. HTTP/2 cannot: whoever is asked for
/// it takes what follows for requests that nobody has looked at.
#[must_use]
pub fn is_passed_on(upgrade: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    let is_http = |name: &str| {
        let start = upgrade.get(..name.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(name.as_bytes())
    };
    !upgrade.is_empty() && upgrade.iter().all(is_name) && !is_http("h2") && !is_http("HTTP/")
}

/// The members of a comma-separated list, without the white space around them.
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

/// A Content-Length: digits and nothing else, at most 19 of them.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_digits_only() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"00042"), Some(42));
        assert_eq!(
            parse_length(b"9999999999999999999"),
            Some(9_999_999_999_999_999_999)
        );
        for bad in [
            "",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1,1",
            "0x1",
            "1.0",
            "99999999999999999999",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_upgrade_is_passed_on_unless_it_leads_to_http() {
        for name in ["websocket", "WebSocket", "IRC/6.9", "tls/1.3"] {
            assert!(is_passed_on(name.as_bytes()), "{name}");
        }
        for name in ["", "h2c", "H2C", "h2", "HTTP/2.0", "websocket, h2c", "a b"] {
            assert!(!is_passed_on(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_are_recognised_in_any_case() {
        assert_eq!(classify("Content-Length"), Name::ContentLength);
        assert_eq!(classify("TRANSFER-ENCODING"), Name::TransferEncoding);
        assert_eq!(classify("te"), Name::HopByHop);
        assert_eq!(classify("Keep-Alive"), Name::HopByHop);
        assert_eq!(classify("connection"), Name::Connection);
        assert_eq!(classify("X-Connection"), Name::Other);
        assert_eq!(classify(""), Name::Other);
    }

    #[test]
    fn what_connection_lists_is_dropped_but_not_framing() {
        let header = |name, value| Header { name, value };
        let headers = [
            header("Connection", b"close, X-A, content-length" as &[u8]),
            header("x-a", b"1"),
            header("Content-Length", b"3"),
            header("X-B", b"1"),
        ];
        let mut facts = Facts::default();
        for (index, line) in headers.iter().enumerate() {
            facts
                .note(index, classify(line.name), line.value, true)
                .unwrap();
        }

        facts.finish(&headers).unwrap();

        let dropped: Vec<_> = (0..4)
            .filter(|line| facts.dropped.contains(*line))
            .collect();
        assert_eq!(dropped, [0, 1]);
        assert!(!facts.persists(true));
    }

    #[test]
    fn persistence_depends_on_version_and_options() {
        let with = |value: &[u8]| {
            let mut facts = Facts::default();
            facts.note(0, Name::Connection, value, true).unwrap();
            (facts.persists(true), facts.persists(false))
        };

        assert_eq!(with(b""), (true, false));
        assert_eq!(with(b"Keep-Alive"), (true, true));
        assert_eq!(with(b"close"), (false, false));
        assert_eq!(with(b"keep-alive, Close"), (false, false));
    }
}
