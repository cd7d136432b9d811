//! The routes of one virtual server, in the order in which they are asked.
//!
//! Exact paths come first; then the longest prefix if it is final; then regexes in the order of
//! the file; then the longest prefix. A route without a path condition is a prefix of length 0, and
//! so is the prefix `/`, which every path has. Routes that are equal in this are asked in the order
//! of the number of their other conditions, most first, then of the file. A route counts only if
//! all of its conditions hold: a longer prefix whose other conditions fail does not shadow a
//! shorter one.

use std::{cmp::Reverse, net::IpAddr};

use regex::bytes::Regex;

use super::{Fields, compile, condition::Condition};
use crate::model::{PathCondition, Route};

/// The routes of one server, compiled.
#[derive(Clone, Debug)]
pub struct Router {
    /// By path, then by number of conditions.
    exact: Vec<(Box<[u8]>, Rule)>,
    /// In the order of the file.
    regexes: Vec<(Regex, Rule)>,
    /// Longest first.
    prefixes: Vec<(Prefix, Rule)>,
}

/// A route that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {what}")]
pub struct RouteError {
    pub route: usize,
    pub what: String,
}

#[derive(Clone, Debug)]
struct Prefix {
    /// Empty where every path has it.
    path: Box<[u8]>,
    r#final: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    conditions: Vec<Condition>,
    /// Its index among the server's routes.
    route: usize,
}

impl Router {
    /// Compiles routes.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the first route that is wrong.
    pub fn new(routes: &[Route]) -> Result<Self, RouteError> {
        let mut router = Self {
            exact: Vec::new(),
            regexes: Vec::new(),
            prefixes: Vec::new(),
        };
        for (index, route) in routes.iter().enumerate() {
            router
                .add(index, route)
                .map_err(|what| RouteError { route: index, what })?;
        }
        // Both sorts are stable: what is equal stays in the order of the file.
        router
            .exact
            .sort_by(|(a, rule_a), (b, rule_b)| a.cmp(b).then(rule_a.rank().cmp(&rule_b.rank())));
        router
            .prefixes
            .sort_by_key(|(prefix, rule)| (Reverse(prefix.path.len()), rule.rank()));
        Ok(router)
    }

    fn add(&mut self, index: usize, route: &Route) -> Result<(), String> {
        let conditions = route.conditions.iter().map(Condition::new);
        let rule = Rule {
            conditions: conditions.collect::<Result<_, _>>()?,
            route: index,
        };
        match &route.path {
            PathCondition::Exact(path) => self.exact.push((a_path(path)?, rule)),
            PathCondition::Regex(regex) => {
                let compiled = compile(regex).map_err(|why| format!("bad path regex: {why}"))?;
                self.regexes.push((compiled, rule));
            }
            PathCondition::Prefix { prefix, r#final } => {
                let path = match prefix.as_str() {
                    "/" => Box::default(),
                    other => a_path(other)?,
                };
                let r#final = *r#final;
                self.prefixes.push((Prefix { path, r#final }, rule));
            }
            PathCondition::Any => {
                let prefix = Prefix {
                    path: Box::default(),
                    r#final: false,
                };
                self.prefixes.push((prefix, rule));
            }
        }
        Ok(())
    }

    /// The index of the route for a [normalised](super::path::normalize) path, a client's address
    /// and its request.
    #[must_use]
    pub fn find(&self, path: &[u8], client: IpAddr, request: &impl Fields) -> Option<usize> {
        if let Some(found) = self.find_exact(path, client, request) {
            return Some(found);
        }
        let longest = self
            .prefixes
            .iter()
            .find(|(prefix, rule)| path.starts_with(&prefix.path) && rule.holds(client, request));
        if let Some((Prefix { r#final: true, .. }, rule)) = longest {
            return Some(rule.route);
        }
        self.regexes
            .iter()
            .find(|(regex, rule)| regex.is_match(path) && rule.holds(client, request))
            .map(|(_, rule)| rule)
            .or(longest.map(|(_, rule)| rule))
            .map(|rule| rule.route)
    }

    fn find_exact(&self, path: &[u8], client: IpAddr, request: &impl Fields) -> Option<usize> {
        if self.exact.is_empty() {
            return None;
        }
        let from = self.exact.partition_point(|(known, _)| **known < *path);
        self.exact
            .iter()
            .skip(from)
            .take_while(|(known, _)| **known == *path)
            .find(|(_, rule)| rule.holds(client, request))
            .map(|(_, rule)| rule.route)
    }
}

impl Rule {
    /// Smaller ranks are asked first.
    fn rank(&self) -> Reverse<usize> {
        Reverse(self.conditions.len())
    }

    fn holds(&self, client: IpAddr, request: &impl Fields) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(client, request))
    }
}

fn a_path(path: &str) -> Result<Box<[u8]>, String> {
    if path.starts_with('/') {
        Ok(path.as_bytes().into())
    } else {
        Err("a path begins with \"/\"".to_owned())
    }
}

#[cfg(test)]
mod tests;
