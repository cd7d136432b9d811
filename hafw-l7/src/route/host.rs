//! Which virtual server of a listening address a host name belongs to.

/// The names served on one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Lower-case names with their server's index, sorted by name.
    names: Vec<(Box<[u8]>, usize)>,
    default: Option<usize>,
}

/// Two servers claim the same name (or to be the default) on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The server that had it first.
    pub first: usize,
}

impl Hosts {
    /// Adds a name without port.
    ///
    /// # Errors
    ///
    /// [`Conflict`] if another server has the name already.
    pub fn add(&mut self, name: &str, server: usize) -> Result<(), Conflict> {
        let name = plain(name.as_bytes()).to_ascii_lowercase();
        match self.position(&name) {
            Ok(at) => match self.names.get(at) {
                Some((_, first)) if *first != server => Err(Conflict { first: *first }),
                _ => Ok(()),
            },
            Err(at) => {
                self.names.insert(at, (name.into_boxed_slice(), server));
                Ok(())
            }
        }
    }

    /// Makes a server the one for names that no server has.
    ///
    /// # Errors
    ///
    /// [`Conflict`] if another server is it already.
    pub fn set_default(&mut self, server: usize) -> Result<(), Conflict> {
        match self.default {
            Some(first) if first != server => Err(Conflict { first }),
            _ => {
                self.default = Some(server);
                Ok(())
            }
        }
    }

    /// The server for a host name without port, or for a request that names no host.
    #[must_use]
    pub fn find(&self, host: Option<&[u8]>) -> Option<usize> {
        host.and_then(|host| {
            let at = self.position(plain(host)).ok()?;
            self.names.get(at).map(|(_, server)| *server)
        })
        .or(self.default)
    }

    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.names.binary_search_by(|(known, _)| {
            known
                .iter()
                .copied()
                .cmp(name.iter().map(u8::to_ascii_lowercase))
        })
    }
}

/// A name without the dot that ends a fully qualified one.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

/// Splits an authority into host and port text: `www.oldboy.com:80`, `[::1]:80`, `10.0.0.3`.
/// Without brackets, host and port are parted at the colon.
#[must_use]
pub fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let bracket = authority.iter().rposition(|byte| *byte == b']');
    let from = bracket.map_or(0, |at| at + 1);
    let colon = authority
        .iter()
        .skip(from)
        .position(|byte| *byte == b':')
        .map(|at| at + from);
    match colon {
        Some(at) => {
            let (host, port) = authority.split_at(at);
            (host, port.get(1..))
        }
        None => (authority, None),
    }
}

/// Whether an authority is `host` or `host:port` in the characters that RFC 3986 §3.2.2 allows;
/// the empty one is, but not a port alone. User information is not part of an HTTP authority (RFC 9110 §4.2.4).
#[must_use]
pub fn is_valid_authority(authority: &[u8]) -> bool {
    let (host, port) = split_port(authority);
    let good_host = match host.strip_prefix(b"[").map(|rest| rest.strip_suffix(b"]")) {
        Some(Some(inner)) => {
            !inner.is_empty()
                && inner
                    .iter()
                    .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        Some(None) => false,
        None => host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte)),
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    good_host && port.is_none_or(|port| !host.is_empty() && is_port(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_regard_to_case_and_final_dot() {
        let mut hosts = Hosts::default();
        hosts.add("www.oldboy.com", 0).unwrap();
        hosts.add("BBS.oldboy.com", 1).unwrap();

        assert_eq!(hosts.find(Some(b"www.oldboy.com")), Some(0));
        assert_eq!(hosts.find(Some(b"WWW.OldBoy.COM.")), Some(0));
        assert_eq!(hosts.find(Some(b"bbs.oldboy.com")), Some(1));
        assert_eq!(hosts.find(Some(b"oldboy.com")), None);
        assert_eq!(hosts.find(None), None);
    }

    #[test]
    fn the_default_takes_what_nobody_has() {
        let mut hosts = Hosts::default();
        hosts.add("www.oldboy.com", 0).unwrap();
        hosts.set_default(2).unwrap();

        assert_eq!(hosts.find(Some(b"www.oldboy.com")), Some(0));
        assert_eq!(hosts.find(Some(b"other")), Some(2));
        assert_eq!(hosts.find(None), Some(2));
    }

    #[test]
    fn a_name_has_one_server() {
        let mut hosts = Hosts::default();
        hosts.add("www.oldboy.com", 0).unwrap();

        assert_eq!(hosts.add("www.oldboy.com", 0), Ok(()));
        assert_eq!(hosts.add("WWW.oldboy.com", 1), Err(Conflict { first: 0 }));
        hosts.set_default(0).unwrap();
        assert_eq!(hosts.set_default(1), Err(Conflict { first: 0 }));
    }

    #[test]
    fn ports_are_split_off() {
        for (authority, host, port) in [
            ("www.oldboy.com", "www.oldboy.com", None),
            ("www.oldboy.com:80", "www.oldboy.com", Some("80")),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some("8080")),
            ("host:", "host", Some("")),
        ] {
            assert_eq!(
                split_port(authority.as_bytes()),
                (host.as_bytes(), port.map(str::as_bytes)),
                "{authority}"
            );
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in [
            "",
            "a",
            "www.oldboy.com:80",
            "[2001:db8::1]:80",
            "10.0.0.3",
            "a_b",
            "a%20",
        ] {
            assert!(is_valid_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:80:80",
            "[::1",
            "::1",
            "[]",
            "[g]",
            "a\\b",
            "a\"",
            "a:123456",
            "a#b",
            "a?b",
            "]:80",
            "h\u{e4}",
            ":81",
            ":",
        ] {
            assert!(!is_valid_authority(bad.as_bytes()), "{bad}");
        }
    }
}
