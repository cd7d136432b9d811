//! From rows to statements.

use super::row::Row;
use crate::{
    place::{Mistake, Place},
    statement::{Statement, Word},
};

/// How deep blocks may nest.
const MAX_DEPTH: usize = 16;

/// The statements of all rows, as far as there are any, and what is wrong.
pub(super) fn parse(rows: &[Row]) -> (Vec<Statement>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    // The innermost open block last; what it belongs to is the last statement of the one before.
    let mut open: Vec<(Vec<Statement>, Option<Place>)> = vec![(Vec::new(), None)];
    for row in rows {
        let mut words: Vec<Word> = Vec::new();
        for token in tokens(row, &mut mistakes) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open(place) => {
                    flush(&mut words, &mut open);
                    let owner = open.last().and_then(|(block, _)| block.last());
                    if owner.is_none_or(|owner| owner.block.is_some()) {
                        let message = "{: expected a keyword before it";
                        mistakes.push(Mistake::at(&place, message));
                        // An owner to close it with.
                        let owner = Statement {
                            words: vec![Word {
                                text: String::new(),
                                place: place.clone(),
                            }],
                            block: None,
                        };
                        if let Some((block, _)) = open.last_mut() {
                            block.push(owner);
                        }
                    }
                    if open.len() > MAX_DEPTH {
                        let message = format!("{{: more than {MAX_DEPTH} blocks within each other");
                        mistakes.push(Mistake::at(&place, message));
                        return (Vec::new(), mistakes);
                    }
                    open.push((Vec::new(), Some(place)));
                }
                Token::Close(place) => {
                    flush(&mut words, &mut open);
                    if !close(&mut open) {
                        let message = "}: there is no block to end";
                        mistakes.push(Mistake::at(&place, message));
                    }
                }
            }
        }
        flush(&mut words, &mut open);
    }
    while let [_, .., (_, Some(place))] = open.as_slice() {
        let message = "{: expected a } that ends the block";
        mistakes.push(Mistake::at(place, message));
        close(&mut open);
    }
    let statements = open.pop().map(|(block, _)| block).unwrap_or_default();
    (statements, mistakes)
}

fn flush(words: &mut Vec<Word>, open: &mut [(Vec<Statement>, Option<Place>)]) {
    if words.is_empty() {
        return;
    }
    if let Some((block, _)) = open.last_mut() {
        block.push(Statement {
            words: std::mem::take(words),
            block: None,
        });
    }
}

fn close(open: &mut Vec<(Vec<Statement>, Option<Place>)>) -> bool {
    if open.len() < 2 {
        return false;
    }
    let Some((block, _)) = open.pop() else {
        return false;
    };
    if let Some(owner) = open.last_mut().and_then(|(outer, _)| outer.last_mut()) {
        owner.block = Some(block);
    }
    true
}

enum Token {
    Word(Word),
    Open(Place),
    Close(Place),
}

fn tokens(row: &Row, mistakes: &mut Vec<Mistake>) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = row.char(at) {
        match c {
            '{' => tokens.push(Token::Open(row.place(at))),
            '}' => tokens.push(Token::Close(row.place(at))),
            c if c.is_whitespace() => {}
            _ => {
                let place = row.place(at);
                let (text, end) = word(row, at, mistakes);
                tokens.push(Token::Word(Word { text, place }));
                at = end;
                continue;
            }
        }
        at += 1;
    }
    tokens
}

/// A word from a character on, and where it ends. Quotes may begin and end within it.
fn word(row: &Row, from: usize, mistakes: &mut Vec<Mistake>) -> (String, usize) {
    let mut text = String::new();
    let mut at = from;
    let mut quote: Option<(char, usize)> = None;
    while let Some(c) = row.char(at) {
        match (c, quote) {
            ('\\', _) if row.char(at + 1).is_some() => {
                let (c, length) = escape(row, at + 1);
                text.extend(c);
                at += length;
            }
            (c, Some((open, _))) if c == open => quote = None,
            (c, Some(_)) => text.push(c),
            ('"' | '\'', None) => quote = Some((c, at)),
            // A reference that nobody defined stays as it is.
            ('$', None) if row.char(at + 1) == Some('{') => {
                let length = row.rest(at).chars.iter().position(|(c, _)| *c == '}');
                match length {
                    Some(length) => {
                        text.push_str(&row.rest(at).start(length + 1).text());
                        at += length;
                    }
                    None => text.push(c),
                }
            }
            ('{' | '}', None) => break,
            (c, None) if c.is_whitespace() => break,
            (c, None) => text.push(c),
        }
        at += 1;
    }
    if let Some((open, at)) = quote {
        let message = format!("{open}: expected another {open} that ends the quoted string");
        mistakes.push(Mistake::at(&row.place(at), message));
    }
    (text, at)
}

/// What a backslash before this character makes, and how many characters it takes.
fn escape(row: &Row, at: usize) -> (Option<char>, usize) {
    let digits = |from: usize, radix: u32, most: usize| {
        let rest = row.chars.get(from..).unwrap_or_default().iter();
        let digits: String = rest
            .map(|(c, _)| *c)
            .take_while(|c| c.is_digit(radix))
            .take(most)
            .collect();
        let value = u32::from_str_radix(&digits, radix).ok();
        (value.and_then(char::from_u32), digits.len())
    };
    match row.char(at) {
        Some('a') => (Some('\u{7}'), 1),
        Some('b') => (Some('\u{8}'), 1),
        Some('E') => (Some('\u{1b}'), 1),
        Some('f') => (Some('\u{c}'), 1),
        Some('n') => (Some('\n'), 1),
        Some('r') => (Some('\r'), 1),
        Some('t') => (Some('\t'), 1),
        Some('v') => (Some('\u{b}'), 1),
        Some('0'..='7') => digits(at, 8, 3),
        Some('x') => {
            let (c, length) = digits(at + 1, 16, 2);
            (c, length + 1)
        }
        other => (other, 1),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;

    fn parsed(text: &str) -> (String, Vec<String>) {
        let file: Arc<Path> = Path::new("k").into();
        let rows: Vec<_> = text
            .lines()
            .zip(1..)
            .map(|(line, number)| Row::new(&file, number, line).without_comment().trimmed())
            .collect();
        let (statements, mistakes) = parse(&rows);
        let mistakes = mistakes.iter().map(ToString::to_string).collect();
        (statements.iter().map(shown).collect(), mistakes)
    }

    /// `a<b c>[inner]`
    fn shown(statement: &Statement) -> String {
        let words: Vec<_> = statement.words.iter().map(|word| &*word.text).collect();
        let inner = statement.block.as_ref().map(|block| {
            let inner: String = block.iter().map(shown).collect();
            format!("[{inner}]")
        });
        format!("<{}{}>", words.join("|"), inner.unwrap_or_default())
    }

    #[test]
    fn blocks_may_be_written_on_one_line_or_several() {
        let text = "a b {\n c d # comment\n}\ne\n{\n f }\ng{ h{ i\n}} ! comment";

        let (statements, mistakes) = parsed(text);

        assert_eq!(statements, "<a|b[<c|d>]><e[<f>]><g[<h[<i>]>]>");
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }

    #[test]
    fn quotes_join_words_and_backslashes_escape() {
        let text = r##"a "b # c"d'e "f' "g\"h\x41\101\n" 'i j' k\ l ${X}y"##;

        let (statements, mistakes) = parsed(text);

        assert_eq!(statements, "<a|b # cde \"f|g\"hAA\n|i j|k l|${X}y>");
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }

    #[test]
    fn braces_and_quotes_that_do_not_match_are_named() {
        let (_, mistakes) = parsed("}\n{ a {\nb \"c\n{");

        assert_eq!(
            mistakes,
            [
                "k:1:1: }: there is no block to end",
                "k:2:1: {: expected a keyword before it",
                "k:3:3: \": expected another \" that ends the quoted string",
                "k:4:1: {: expected a } that ends the block",
                "k:2:5: {: expected a } that ends the block",
                "k:2:1: {: expected a } that ends the block",
            ]
        );
    }
}
