//! `~SEQ`, `~SEQx` and `~LST`: rows that are repeated.

use super::Row;

/// How often a row may be repeated.
const MAX_ROUNDS: usize = 100_000;

/// Names that take values in turn.
pub(super) struct Sequence {
    pub(super) names: Vec<String>,
    values: Values,
    /// Where the row goes on.
    pub(super) end: usize,
}

enum Values {
    Count {
        start: i64,
        step: i64,
        end: i64,
        hex: bool,
    },
    List(Vec<Vec<String>>),
}

impl Sequence {
    /// The values of each round.
    pub(super) fn rounds(&self) -> Vec<Vec<String>> {
        match &self.values {
            Values::List(rounds) => rounds.clone(),
            Values::Count {
                start,
                step,
                end,
                hex,
            } => {
                let (start, step, end) = (*start, *step, *end);
                let next = |n: &i64| n.checked_add(step);
                std::iter::successors(Some(start), next)
                    .take_while(|n| if step > 0 { *n <= end } else { *n >= end })
                    .take(MAX_ROUNDS)
                    .map(|n| {
                        vec![if *hex {
                            format!("{n:x}")
                        } else {
                            n.to_string()
                        }]
                    })
                    .collect()
            }
        }
    }
}

/// The sequence that a row begins with. None where it begins otherwise.
///
/// # Errors
/// It is none; what was expected.
pub(super) fn read(row: &Row) -> Option<Result<Sequence, String>> {
    let text = row.text();
    let (kind, open) = [("~SEQ(", 5), ("~SEQx(", 6), ("~LST(", 5)]
        .into_iter()
        .find(|(kind, _)| text.starts_with(kind))?;
    let Some(length) = row.rest(open).chars.iter().position(|(c, _)| *c == ')') else {
        return Some(Err("a `)`".to_owned()));
    };
    let inner = row.rest(open).start(length).text();
    let end = open + length + 1;
    let read = match kind {
        "~LST(" => list(&inner).map(|(names, rounds)| (names, Values::List(rounds))),
        _ => count(&inner, kind == "~SEQx(").map(|(name, values)| (vec![name], values)),
    };
    let expected = match kind {
        "~LST(" => "~LST(NAME, VALUE, …) or ~LST({NAME, …}, {VALUE, …}, …)",
        _ => "~SEQ(NAME, START, STEP, END) with numbers, the step not 0",
    };
    let read = read.ok_or_else(|| expected.to_owned());
    Some(read.map(|(names, values)| Sequence { names, values, end }))
}

fn count(inner: &str, hex: bool) -> Option<(String, Values)> {
    let parts: Vec<_> = inner.split(',').map(str::trim).collect();
    let (name, numbers) = parts.split_first()?;
    let numbers: Vec<i64> = numbers
        .iter()
        .map(|text| number(text))
        .collect::<Option<_>>()?;
    let (start, step, end) = match numbers.as_slice() {
        [end] => {
            let one = if *end < 0 { -1 } else { 1 };
            (one, one, *end)
        }
        [start, end] => (*start, if end < start { -1 } else { 1 }, *end),
        [start, step, end] => (*start, *step, *end),
        _ => return None,
    };
    let values = Values::Count {
        start,
        step,
        end,
        hex,
    };
    (step != 0 && is_name(name)).then(|| ((*name).to_owned(), values))
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn list(inner: &str) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let groups = groups(inner)?;
    let (names, rounds) = groups.split_first()?;
    let fits = rounds.iter().all(|round| round.len() == names.len());
    let fits = fits && !rounds.is_empty() && names.iter().all(|name| is_name(name));
    fits.then(|| (names.clone(), rounds.to_vec()))
}

/// `a, {b, c}` is one group of one and one of two.
fn groups(inner: &str) -> Option<Vec<Vec<String>>> {
    let mut groups = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}')?,
            None => match rest.find(',') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            },
        };
        groups.push(
            group
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
        );
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim(),
            None if after.is_empty() => "",
            None => return None,
        };
    }
    Some(groups)
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(word) && text.starts_with(|c: char| !c.is_ascii_digit())
}
