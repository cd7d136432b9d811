//! What `if`, `map` and `limit_except` ask, as conditions of a route.

use crate::{
    draft::quoted,
    statement::{Statement, Word},
};

/// A condition of a route: a key and its value as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) key: &'static str,
    pub(super) value: String,
}

/// How a variable is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test<'a> {
    Present,
    Is(&'a str),
    Matches(&'a str),
    MatchesAnyCase(&'a str),
}

/// The condition of an `if`, or why it has no equivalent.
pub(super) fn of_if(statement: &Statement) -> Result<Condition, &'static str> {
    const WHY: &str = "no equivalent of this condition";
    let words: Vec<&str> = statement
        .args()
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    // The parentheses belong to the first and the last word, or stand alone.
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    match words.first_mut() {
        Some(first) if first.starts_with('(') => {
            first.remove(0);
        }
        _ => return Err("expected a condition in parentheses"),
    }
    match words.last_mut() {
        Some(last) if last.ends_with(')') => {
            last.pop();
        }
        _ => return Err("expected a condition in parentheses"),
    }
    words.retain(|word| !word.is_empty());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (variable, test, negated) = match words.as_slice() {
        [variable] => (variable, Test::Present, false),
        [variable, "=", value] => (variable, Test::Is(value), false),
        [variable, "!=", value] => (variable, Test::Is(value), true),
        [variable, "~", regex] => (variable, Test::Matches(regex), false),
        [variable, "!~", regex] => (variable, Test::Matches(regex), true),
        [variable, "~*", regex] => (variable, Test::MatchesAnyCase(regex), false),
        [variable, "!~*", regex] => (variable, Test::MatchesAnyCase(regex), true),
        _ => return Err(WHY),
    };
    let variable = variable.strip_prefix('$').ok_or(WHY)?;
    of_variable(variable, test, negated).ok_or(WHY)
}

/// The condition that a variable (without `$`) passes a test, or does not.
pub(super) fn of_variable(variable: &str, test: Test<'_>, negated: bool) -> Option<Condition> {
    let table = |key, name: &str| {
        let test = match test {
            Test::Present => String::new(),
            Test::Is("") => return None,
            Test::Is(value) => format!(", value = {}", quoted(value)),
            Test::Matches(regex) => format!(", regex = {}", quoted(regex)),
            Test::MatchesAnyCase(regex) => format!(", regex = {}", quoted(&any_case(regex))),
        };
        let not = if negated { ", not = true" } else { "" };
        Some(Condition {
            key,
            value: format!("{{ name = {}{test}{not} }}", quoted(name)),
        })
    };
    match (variable, test, negated) {
        ("http_user_agent", Test::Matches(regex), false) => Some(Condition {
            key: "user_agent",
            value: quoted(regex),
        }),
        ("http_user_agent", Test::MatchesAnyCase(regex), false) => Some(Condition {
            key: "user_agent",
            value: quoted(&any_case(regex)),
        }),
        ("request_method", Test::Is(method), false) => Some(method_in(&[method])),
        ("request_method", Test::Matches(regex), false) => {
            let methods = regex.strip_prefix('^')?.strip_suffix('$')?;
            let methods = methods.trim_start_matches('(').trim_end_matches(')');
            let methods: Vec<_> = methods.split('|').collect();
            let plain = |method: &&str| method.bytes().all(|b| b.is_ascii_uppercase());
            methods.iter().all(plain).then(|| method_in(&methods))
        }
        ("remote_addr", Test::Is(address), false) => Some(Condition {
            key: "source",
            value: format!("[{}]", quoted(address)),
        }),
        // The header has a port that the variable has not.
        ("host", Test::Is(host), _) => of_variable(
            "http_host",
            Test::MatchesAnyCase(&format!("^{}(:[0-9]+)?$", escaped(host))),
            negated,
        ),
        ("host", Test::Matches(regex), _) => {
            of_variable("http_host", Test::MatchesAnyCase(regex), negated)
        }
        ("host", Test::MatchesAnyCase(_), _) => of_variable("http_host", test, negated),
        _ => {
            if let Some(name) = variable.strip_prefix("http_") {
                return table("header", &name.replace('_', "-"));
            }
            if let Some(name) = variable.strip_prefix("arg_") {
                return table("query", name);
            }
            table("cookie", variable.strip_prefix("cookie_")?)
        }
    }
}

/// `method`, one of these.
pub(super) fn method_in(methods: &[&str]) -> Condition {
    let methods: Vec<_> = methods.iter().map(|method| quoted(method)).collect();
    Condition {
        key: "method",
        value: format!("[{}]", methods.join(", ")),
    }
}

/// The methods of `limit_except`; GET is HEAD too.
pub(super) fn limit_except(words: &[Word]) -> Condition {
    let mut methods: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    method_in(&methods)
}

/// A regular expression without regard to case.
pub(super) fn any_case(regex: &str) -> String {
    format!("(?i){regex}")
}

/// A text as a regular expression.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '/' | '-' | '_' | '<' | '>') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
