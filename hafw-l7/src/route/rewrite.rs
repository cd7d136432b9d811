//! Rules that change the path of a request before it is routed, or before it is sent on: nginx's
//! `rewrite`. They see the decoded path; what they make is escaped when it is sent on.

use regex::bytes::Regex;

use super::{compile, escape};
use crate::{
    model::{Rewrite, RewriteEnd},
    template::{Scope, Template, Values},
};

/// A list of rules, compiled.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    regex: Regex,
    path: Template,
    arguments: Option<Template>,
    /// The query that the request has goes after the rule's.
    keeps_query: bool,
    end: RewriteEnd,
}

/// A path that rules have changed, decoded, and the query that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    pub path: Vec<u8>,
    pub query: Vec<u8>,
}

/// What a list of rules came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No rule matched.
    Unchanged,
    /// The path to go on with; `again`: the routes are asked again.
    Changed { uri: Uri, again: bool },
    /// The client is sent to this URL.
    Redirect { status: u16, to: Vec<u8> },
}

impl Rules {
    /// Compiles rules; an error names the first that is wrong by its index.
    pub fn new(rules: &[Rewrite]) -> Result<Self, (usize, String)> {
        let compiled = rules.iter().enumerate();
        compiled
            .map(|(index, rule)| Rule::new(rule).map_err(|why| (index, why)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the rules in order to a decoded path and its query.
    #[must_use]
    pub fn apply(&self, path: &[u8], query: &[u8], values: &impl Values) -> Outcome {
        let mut changed: Option<Uri> = None;
        for rule in &self.0 {
            let (path, query) = changed
                .as_ref()
                .map_or((path, query), |uri| (&uri.path, &uri.query));
            let Some(captures) = rule.regex.captures(path) else {
                continue;
            };
            let scope = Scope {
                captures: Some(&captures),
                path,
                query,
            };
            let uri = rule.change(&scope, values);
            match rule.end {
                RewriteEnd::Next => changed = Some(uri),
                RewriteEnd::Last => return Outcome::Changed { uri, again: true },
                RewriteEnd::Break => return Outcome::Changed { uri, again: false },
                RewriteEnd::Redirect(status) => {
                    let Uri {
                        path: mut to,
                        query,
                    } = uri;
                    append_query(&query, &mut to);
                    return Outcome::Redirect { status, to };
                }
            }
        }
        match changed {
            Some(uri) => Outcome::Changed { uri, again: false },
            None => Outcome::Unchanged,
        }
    }
}

impl Rule {
    fn new(rewrite: &Rewrite) -> Result<Self, String> {
        let regex = compile(&rewrite.regex).map_err(|why| format!("bad rewrite regex: {why}"))?;
        let (path, arguments) = match rewrite.to.split_once('?') {
            Some((path, arguments)) => (path, Some(arguments)),
            None => (rewrite.to.as_str(), None),
        };
        let is_redirect = matches!(rewrite.end, RewriteEnd::Redirect(_));
        if !path.starts_with('/') && !is_redirect {
            return Err(format!("rewrite to \"{path}\": a path begins with \"/\""));
        }
        let template = |text: &str| {
            Template::new(text).map_err(|error| format!("rewrite to \"{}\": {error}", rewrite.to))
        };
        let replaces_query = arguments.is_some_and(|text| text.is_empty() || text.ends_with('?'));
        let arguments = arguments.map(|text| text.strip_suffix('?').unwrap_or(text));
        Ok(Self {
            path: template(path)?,
            arguments: arguments
                .filter(|text| !text.is_empty())
                .map(template)
                .transpose()?,
            keeps_query: !replaces_query,
            end: rewrite.end,
            regex,
        })
    }

    fn change(&self, scope: &Scope<'_>, values: &impl Values) -> Uri {
        let mut uri = Uri::default();
        match self.end {
            // Only what the client wrote is escaped: the rest may be a whole URL.
            RewriteEnd::Redirect(_) => self.path.render_url(scope, values, &mut uri.path),
            RewriteEnd::Next | RewriteEnd::Last | RewriteEnd::Break => {
                self.path.render_path(scope, values, &mut uri.path);
            }
        }
        if let Some(arguments) = &self.arguments {
            arguments.render_query(scope, values, &mut uri.query);
        }
        if self.keeps_query && !scope.query.is_empty() {
            if !uri.query.is_empty() {
                uri.query.push(b'&');
            }
            uri.query.extend_from_slice(scope.query);
        }
        uri
    }
}

impl Uri {
    /// Appends path and query as they are sent on.
    pub fn append(&self, out: &mut Vec<u8>) {
        escape::escape_path(&self.path, out);
        append_query(&self.query, out);
    }
}

fn append_query(query: &[u8], out: &mut Vec<u8>) {
    if !query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Variable;

    struct Host;

    impl Values for Host {
        fn append(&self, _: &Variable, _: &Scope<'_>, out: &mut Vec<u8>) {
            out.extend_from_slice(b"www.oldboy.com");
        }
    }

    fn rule(regex: &str, to: &str, end: RewriteEnd) -> Rewrite {
        Rewrite {
            regex: regex.to_owned(),
            to: to.to_owned(),
            end,
        }
    }

    /// The target that is sent on, or the redirect.
    #[track_caller]
    fn apply(rules: &[Rewrite], path: &str, query: &str) -> String {
        let rules = Rules::new(rules).unwrap();
        match rules.apply(path.as_bytes(), query.as_bytes(), &Host) {
            Outcome::Unchanged => "unchanged".to_owned(),
            Outcome::Changed { uri, again } => {
                let mut target = Vec::new();
                uri.append(&mut target);
                let target = String::from_utf8(target).unwrap();
                if again {
                    format!("again {target}")
                } else {
                    target
                }
            }
            Outcome::Redirect { status, to } => {
                format!("{status} {}", String::from_utf8(to).unwrap())
            }
        }
    }

    #[test]
    fn captures_and_queries_go_where_nginx_puts_them() {
        use RewriteEnd::Break;
        for (to, expected) in [
            ("/new/$1", "/new/a%20b?x=1"),
            ("/new?file=$1", "/new?file=a%20b&x=1"),
            ("/new?file=$1?", "/new?file=a%20b"),
            ("/new?", "/new"),
            ("/$host/$2", "/www.oldboy.com/?x=1"),
        ] {
            let rules = [rule("^/old/(.*)$", to, Break)];
            assert_eq!(apply(&rules, "/old/a b", "x=1"), expected, "{to}");
        }
        assert_eq!(
            apply(&[rule("^/old", "/new", Break)], "/other", ""),
            "unchanged"
        );
    }

    #[test]
    fn rules_follow_each_other_until_one_ends_them() {
        use RewriteEnd::{Break, Last, Next, Redirect};
        let rules = [
            rule("^/a$", "/b", Next),
            rule("^/b$", "/c", Next),
            rule("^/c$", "/d", Last),
            rule("^/d$", "/e", Break),
            rule("^/m/(.*)", "https://$host/$1", Redirect(301)),
            rule(".*", "/never", Next),
        ];

        assert_eq!(apply(&rules, "/a", ""), "again /d");
        assert_eq!(apply(&rules, "/d", ""), "/e");
        assert_eq!(
            apply(&rules, "/m/x y", "q"),
            "301 https://www.oldboy.com/x%20y?q"
        );
    }

    #[test]
    fn wrong_rules_are_named() {
        let wrong = |regex, to| Rules::new(&[rule(regex, to, RewriteEnd::Next)]).unwrap_err();
        assert!(wrong("(", "/x").1.contains("regex"));
        assert!(wrong("x", "x").1.contains("begins with"));
        assert!(wrong("x", "/$nothing").1.contains("$nothing"));
    }
}
