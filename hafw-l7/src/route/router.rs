//! The routes of one virtual server, in the order in which they are asked.
//!
//! Exact paths come first; then the longest prefix if it is final; then regexes in the order of
//! the file; then the longest prefix. A route without a path condition is a prefix of length 0, and
//! so is the prefix `/`, which every path has. Routes that are equal in this are asked in the order
//! of the number of their header conditions, most first, then of the file. A route counts only if
//! all of its conditions hold: a longer prefix whose header condition fails does not shadow a
//! shorter one.

use std::cmp::Reverse;

use regex::bytes::Regex;

use super::Fields;
use crate::model::{HeaderCondition, PathCondition, Route};

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

/// The route that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its index among the server's routes.
    pub route: usize,
    /// The index of its cluster.
    pub upstream: usize,
}

/// A route that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("route {route}: no upstream has the name \"{name}\"")]
    UnknownUpstream { route: usize, name: String },
    #[error("route {route}: bad path regex: {why}")]
    PathRegex { route: usize, why: String },
    #[error("route {route}: bad regex for header {header}: {why}")]
    HeaderRegex {
        route: usize,
        /// Index among the route's header conditions.
        condition: usize,
        header: String,
        why: String,
    },
    #[error("route {route}: a path begins with \"/\"")]
    NotAPath { route: usize },
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
    found: Found,
}

#[derive(Clone, Debug)]
struct Condition {
    name: Box<[u8]>,
    regex: Regex,
}

impl Router {
    /// Compiles routes; `upstream` gives the index of a cluster by its name.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the first route that is wrong.
    pub fn new(
        routes: &[Route],
        upstream: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, RouteError> {
        let mut router = Self {
            exact: Vec::new(),
            regexes: Vec::new(),
            prefixes: Vec::new(),
        };
        for (index, route) in routes.iter().enumerate() {
            let rule = Rule::new(index, route, &upstream)?;
            match &route.path {
                PathCondition::Exact(path) => router.exact.push((a_path(index, path)?, rule)),
                PathCondition::Regex(regex) => {
                    let compiled = compile(regex)
                        .map_err(|why| RouteError::PathRegex { route: index, why })?;
                    router.regexes.push((compiled, rule));
                }
                PathCondition::Prefix { prefix, r#final } => {
                    let path = match prefix.as_str() {
                        "/" => Box::default(),
                        other => a_path(index, other)?,
                    };
                    let r#final = *r#final;
                    router.prefixes.push((Prefix { path, r#final }, rule));
                }
                PathCondition::Any => {
                    let prefix = Prefix {
                        path: Box::default(),
                        r#final: false,
                    };
                    router.prefixes.push((prefix, rule));
                }
            }
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

    /// The route for a [normalised](super::path::normalize) path and its request's fields.
    #[must_use]
    pub fn find(&self, path: &[u8], fields: &impl Fields) -> Option<Found> {
        if let Some(found) = self.find_exact(path, fields) {
            return Some(found);
        }
        let longest = self
            .prefixes
            .iter()
            .find(|(prefix, rule)| path.starts_with(&prefix.path) && rule.holds(fields));
        if let Some((Prefix { r#final: true, .. }, rule)) = longest {
            return Some(rule.found);
        }
        self.regexes
            .iter()
            .find(|(regex, rule)| regex.is_match(path) && rule.holds(fields))
            .map(|(_, rule)| rule)
            .or(longest.map(|(_, rule)| rule))
            .map(|rule| rule.found)
    }

    fn find_exact(&self, path: &[u8], fields: &impl Fields) -> Option<Found> {
        if self.exact.is_empty() {
            return None;
        }
        let from = self.exact.partition_point(|(known, _)| **known < *path);
        self.exact
            .iter()
            .skip(from)
            .take_while(|(known, _)| **known == *path)
            .find(|(_, rule)| rule.holds(fields))
            .map(|(_, rule)| rule.found)
    }
}

impl Rule {
    fn new(
        index: usize,
        route: &Route,
        upstream: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, RouteError> {
        let cluster = upstream(&route.upstream).ok_or_else(|| RouteError::UnknownUpstream {
            route: index,
            name: route.upstream.clone(),
        })?;
        let conditions = route.headers.iter().enumerate();
        Ok(Self {
            conditions: conditions
                .map(|(condition, header)| Condition::new(index, condition, header))
                .collect::<Result<_, _>>()?,
            found: Found {
                route: index,
                upstream: cluster,
            },
        })
    }

    /// Smaller ranks are asked first.
    fn rank(&self) -> Reverse<usize> {
        Reverse(self.conditions.len())
    }

    fn holds(&self, fields: &impl Fields) -> bool {
        self.conditions
            .iter()
            .all(|Condition { name, regex }| fields.any(name, |value| regex.is_match(value)))
    }
}

impl Condition {
    fn new(route: usize, condition: usize, header: &HeaderCondition) -> Result<Self, RouteError> {
        let regex = compile(&header.regex).map_err(|why| RouteError::HeaderRegex {
            route,
            condition,
            header: header.name.clone(),
            why,
        })?;
        Ok(Self {
            name: header.name.as_bytes().into(),
            regex,
        })
    }
}

fn a_path(route: usize, path: &str) -> Result<Box<[u8]>, RouteError> {
    if path.starts_with('/') {
        Ok(path.as_bytes().into())
    } else {
        Err(RouteError::NotAPath { route })
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        // The last line says what is wrong, those before it draw where.
        let last = text.lines().next_back().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        format!("\"{pattern}\": {why}")
    })
}

#[cfg(test)]
mod tests;
