//! Which virtual server of a listening address a host name belongs to, in nginx's order: the name
//! itself, the longest wildcard at its front, the longest at its end, the first regular expression,
//! the default.

use std::cmp::Reverse;

use regex::bytes::Regex;

use super::compile;

/// The names served on one address.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Lower-case names with their server's index, sorted by name.
    names: Vec<(Box<[u8]>, usize)>,
    /// What follows the `*` of `*.name`, longest first.
    endings: Vec<(Box<[u8]>, usize)>,
    /// What comes before the `*` of `name.*`, longest first.
    beginnings: Vec<(Box<[u8]>, usize)>,
    /// In the order of the file.
    regexes: Vec<(Regex, usize)>,
    default: Option<usize>,
}

/// Two servers claim the same name (or to be the default) on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The server that had it first.
    pub first: usize,
}

/// One name of a server, as the file has it.
#[derive(Clone, Debug)]
pub enum Name {
    /// `www.oldboy.com`
    Exact(Box<[u8]>),
    /// `*.oldboy.com`, without the asterisk.
    Ending(Box<[u8]>),
    /// `.oldboy.com`: the name and all below it.
    Tree(Box<[u8]>),
    /// `www.oldboy.*`, without the asterisk.
    Beginning(Box<[u8]>),
    /// `~^www[0-9]+`, which sees the name in lower case.
    Regex(Regex),
}

impl Name {
    /// Understands a name, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if let Some(regex) = text.strip_prefix('~') {
            // The name that is matched is in lower case.
            return compile(&format!("(?i){regex}")).map(Self::Regex);
        }
        let is_name = |name: &str| {
            let (host, port) = split_port(name.as_bytes());
            !host.is_empty() && port.is_none() && !name.contains('*') && is_valid_authority(host)
        };
        let lower = |name: &str| {
            plain(name.as_bytes())
                .to_ascii_lowercase()
                .into_boxed_slice()
        };
        if let Some(rest) = text.strip_prefix("*.") {
            let ending = [b".", &*lower(rest)].concat();
            is_name(rest).then(|| Self::Ending(ending.into()))
        } else if let Some(rest) = text.strip_prefix('.') {
            is_name(rest).then(|| Self::Tree(lower(rest)))
        } else if let Some(rest) = text.strip_suffix(".*") {
            let beginning = format!("{}.", rest.to_ascii_lowercase());
            is_name(rest).then(|| Self::Beginning(beginning.into_bytes().into()))
        } else {
            is_name(text).then(|| Self::Exact(lower(text)))
        }
        .ok_or_else(|| format!("\"{text}\" is not a host name without port"))
    }
}

impl Hosts {
    /// Adds a name.
    ///
    /// # Errors
    ///
    /// [`Conflict`] if another server has the name already.
    pub fn add(&mut self, name: &Name, server: usize) -> Result<(), Conflict> {
        match name {
            Name::Exact(name) => self.add_exact(name, server),
            Name::Ending(ending) => add_longest(&mut self.endings, ending, server),
            Name::Tree(name) => {
                self.add_exact(name, server)?;
                let ending = [b".", &**name].concat();
                add_longest(&mut self.endings, &ending, server)
            }
            Name::Beginning(beginning) => add_longest(&mut self.beginnings, beginning, server),
            Name::Regex(regex) => {
                self.regexes.push((regex.clone(), server));
                Ok(())
            }
        }
    }

    fn add_exact(&mut self, name: &[u8], server: usize) -> Result<(), Conflict> {
        match self.position(name) {
            Ok(at) => match self.names.get(at) {
                Some((_, first)) if *first != server => Err(Conflict { first: *first }),
                _ => Ok(()),
            },
            Err(at) => {
                self.names.insert(at, (name.into(), server));
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
        host.map(plain)
            .and_then(|host| self.find_exact(host).or_else(|| self.find_pattern(host)))
            .or(self.default)
    }

    fn find_exact(&self, host: &[u8]) -> Option<usize> {
        let at = self.position(host).ok()?;
        self.names.get(at).map(|(_, server)| *server)
    }

    fn find_pattern(&self, host: &[u8]) -> Option<usize> {
        let ends = |ending: &[u8]| {
            let at = host.len().checked_sub(ending.len()).filter(|at| *at > 0);
            at.and_then(|at| host.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(ending))
        };
        let begins = |beginning: &[u8]| {
            host.len() > beginning.len()
                && host
                    .get(..beginning.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(beginning))
        };
        let found = self.endings.iter().find(|(ending, _)| ends(ending));
        let found = found.or_else(|| self.beginnings.iter().find(|(start, _)| begins(start)));
        found.map(|(_, server)| *server).or_else(|| {
            let mut regexes = self.regexes.iter();
            regexes
                .find(|(regex, _)| regex.is_match(host))
                .map(|(_, server)| *server)
        })
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

fn add_longest(
    known: &mut Vec<(Box<[u8]>, usize)>,
    pattern: &[u8],
    server: usize,
) -> Result<(), Conflict> {
    match known.iter().find(|(other, _)| **other == *pattern) {
        Some((_, first)) if *first != server => Err(Conflict { first: *first }),
        Some(_) => Ok(()),
        None => {
            known.push((pattern.into(), server));
            known.sort_by_key(|(pattern, _)| Reverse(pattern.len()));
            Ok(())
        }
    }
}

/// A name without the dot that ends a fully qualified one.
#[must_use]
pub fn plain(name: &[u8]) -> &[u8] {
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
        hosts.add(&Name::new("www.oldboy.com").unwrap(), 0).unwrap();
        hosts.add(&Name::new("BBS.oldboy.com").unwrap(), 1).unwrap();

        assert_eq!(hosts.find(Some(b"www.oldboy.com")), Some(0));
        assert_eq!(hosts.find(Some(b"WWW.OldBoy.COM.")), Some(0));
        assert_eq!(hosts.find(Some(b"bbs.oldboy.com")), Some(1));
        assert_eq!(hosts.find(Some(b"oldboy.com")), None);
        assert_eq!(hosts.find(None), None);
    }

    #[test]
    fn the_default_takes_what_nobody_has() {
        let mut hosts = Hosts::default();
        hosts.add(&Name::new("www.oldboy.com").unwrap(), 0).unwrap();
        hosts.set_default(2).unwrap();

        assert_eq!(hosts.find(Some(b"www.oldboy.com")), Some(0));
        assert_eq!(hosts.find(Some(b"other")), Some(2));
        assert_eq!(hosts.find(None), Some(2));
    }

    #[test]
    fn a_name_has_one_server() {
        let mut hosts = Hosts::default();
        hosts.add(&Name::new("www.oldboy.com").unwrap(), 0).unwrap();

        assert_eq!(hosts.add(&Name::new("www.oldboy.com").unwrap(), 0), Ok(()));
        assert_eq!(
            hosts.add(&Name::new("WWW.oldboy.com").unwrap(), 1),
            Err(Conflict { first: 0 })
        );
        hosts.set_default(0).unwrap();
        assert_eq!(hosts.set_default(1), Err(Conflict { first: 0 }));
    }

    #[test]
    fn patterns_are_asked_in_nginxs_order() {
        let mut hosts = Hosts::default();
        for (server, name) in [
            "~^shop[0-9]+[.]",
            "*.oldboy.com",
            "*.www.oldboy.com",
            "shop1.oldboy.*",
            ".example.org",
            "~.*",
            "shop.*",
        ]
        .iter()
        .enumerate()
        {
            hosts.add(&Name::new(name).unwrap(), server).unwrap();
        }

        for (host, server) in [
            ("a.oldboy.com", 1),
            ("a.b.OLDBOY.com", 1),
            ("a.www.oldboy.com", 2),
            ("www.oldboy.com", 1),
            ("shop1.oldboy.com", 1),
            ("shop1.oldboy.net", 3),
            ("shop2.oldboy.net", 0),
            ("SHOP3.net", 0),
            ("shop.net", 6),
            ("example.org", 4),
            ("a.example.org", 4),
            ("notexample.org", 5),
            ("oldboy.com", 5),
        ] {
            assert_eq!(hosts.find(Some(host.as_bytes())), Some(server), "{host}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "", "a:80", "a b", "a/b", "*", "*.", ".", ".*", "a.*.b", "*a.b", "~(",
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
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
