//! What must hold of a request besides its path.

use std::net::IpAddr;

use regex::bytes::Regex;

use super::{Fields, compile};
use crate::model::{self, Field, Network, Test};

/// A compiled condition.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Field {
        field: Field,
        test: FieldTest,
        negated: bool,
    },
    Method(Vec<String>),
    Source(Vec<Network>),
}

#[derive(Clone, Debug)]
pub(super) enum FieldTest {
    Present,
    Value(String),
    Regex(Regex),
}

impl Condition {
    /// Compiles a condition, or says what is wrong with it.
    pub(super) fn new(condition: &model::Condition) -> Result<Self, String> {
        Ok(match condition {
            model::Condition::Field {
                field,
                test,
                negated,
            } => {
                let (kind, name) = match field {
                    Field::Header(name) => ("header", name),
                    Field::Query(name) => ("query parameter", name),
                    Field::Cookie(name) => ("cookie", name),
                };
                if name.is_empty() {
                    return Err(format!("a {kind} without a name"));
                }
                let test = match test {
                    Test::Present => FieldTest::Present,
                    Test::Value(value) => FieldTest::Value(value.clone()),
                    Test::Regex(regex) => {
                        let regex = compile(regex);
                        FieldTest::Regex(
                            regex.map_err(|why| format!("bad regex for {kind} {name}: {why}"))?,
                        )
                    }
                };
                Self::Field {
                    field: field.clone(),
                    test,
                    negated: *negated,
                }
            }
            model::Condition::Method(methods) => {
                if methods.is_empty() || methods.iter().any(String::is_empty) {
                    return Err("expected at least one method".to_owned());
                }
                Self::Method(methods.clone())
            }
            model::Condition::Source(networks) => {
                if networks.is_empty() {
                    return Err("expected at least one source network".to_owned());
                }
                Self::Source(networks.clone())
            }
        })
    }

    pub(super) fn holds(&self, client: IpAddr, request: &impl Fields) -> bool {
        match self {
            Self::Field {
                field,
                test,
                negated,
            } => *negated != test.accepts_any(field, request),
            Self::Method(methods) => methods
                .iter()
                .any(|method| method.as_bytes() == request.method()),
            Self::Source(networks) => networks.iter().any(|network| network.contains(client)),
        }
    }
}

impl FieldTest {
    fn accepts_any(&self, field: &Field, request: &impl Fields) -> bool {
        match field {
            Field::Header(name) => request.any(name.as_bytes(), |value| self.accepts(value)),
            Field::Query(name) => parameters(request.query())
                .any(|(known, value)| known == name.as_bytes() && self.accepts(value)),
            Field::Cookie(name) => request.any(b"cookie", |line| {
                cookies(line).any(|(known, value)| known == name.as_bytes() && self.accepts(value))
            }),
        }
    }

    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Value(expected) => expected.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// The first value of a query's parameter, as the client wrote it.
#[must_use]
pub fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    parameters(query)
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// The value of a cookie in the value of a Cookie field.
#[must_use]
pub fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    cookies(line)
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').map(split_pair)
}

fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';')
        .map(|pair| split_pair(pair.trim_ascii()))
}

/// `name=value`; without `=` the value is empty.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (
            pair.get(..at).unwrap_or_default(),
            pair.get(at + 1..).unwrap_or_default(),
        ),
        None => (pair, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_parameters_are_found_by_their_whole_name() {
        assert_eq!(
            cookie(b"a=1; session=x=y;b=2", b"session"),
            Some(&b"x=y"[..])
        );
        assert_eq!(cookie(b"xsession=1", b"session"), None);
        assert_eq!(parameter(b"ab=1&b=2&b=3", b"b"), Some(&b"2"[..]));
        assert_eq!(parameter(b"debug", b"debug"), Some(&b""[..]));
        assert_eq!(parameter(b"", b"b"), None);
    }
}
