//! nginx's grammar: words, `;`, blocks, and includes where they stand.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    chain::Chain,
    files::Files,
    place::{Mistake, Mistakes, Place, one_line},
    statement::{Statement, Word},
};

/// How deep blocks may lead.
const MAX_BLOCKS: usize = 64;
/// How many statements a configuration may have, includes that are read again counted again.
const MAX_STATEMENTS: usize = 200_000;

/// All statements of a file and what it includes.
///
/// # Errors
/// Everything that keeps the files from being read.
pub(super) fn parse(path: &Path, files: &dyn Files) -> Result<Vec<Statement>, Mistakes> {
    let mut parser = Parser {
        files,
        chain: Chain::default(),
        folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
        count: 0,
        mistakes: Vec::new(),
    };
    let statements = parser.file(path, None);
    if parser.mistakes.is_empty() {
        Ok(statements)
    } else {
        Err(Mistakes(parser.mistakes))
    }
}

struct Parser<'a> {
    files: &'a dyn Files,
    chain: Chain,
    /// Where relative includes start: the main file's folder.
    folder: PathBuf,
    count: usize,
    mistakes: Vec<Mistake>,
}

impl Parser<'_> {
    fn file(&mut self, path: &Path, named_at: Option<&Place>) -> Vec<Statement> {
        let text = match self.chain.open(self.files, path, named_at) {
            Ok(text) => text,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return Vec::new();
            }
        };
        let mut lexer = Lexer::new(path, &text);
        let statements = self.block(&mut lexer, None, 0);
        self.chain.close();
        statements
    }

    /// Statements up to the end of the block that began at `begun`, or of the file.
    fn block(&mut self, lexer: &mut Lexer, begun: Option<&Place>, depth: usize) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        loop {
            let token = match lexer.next() {
                Ok(token) => token,
                Err(mistake) => {
                    self.mistakes.push(mistake);
                    return statements;
                }
            };
            let unexpected = |what: &str, place: &Place, words: &[Word]| {
                let after = words.first().map_or("", |word| word.text.as_str());
                let after = if after.is_empty() {
                    String::new()
                } else {
                    format!(" after {}", one_line(after))
                };
                Mistake::at(place, format!("{what}: unexpected{after}"))
            };
            match token {
                Token::Word(word) => words.push(word),
                Token::Semicolon(place) if words.is_empty() => {
                    self.mistakes.push(unexpected(";", &place, &words));
                }
                Token::Semicolon(_) => {
                    let statement = Statement {
                        words: std::mem::take(&mut words),
                        block: None,
                    };
                    self.count += 1;
                    if self.count > MAX_STATEMENTS {
                        let message = format!("expected at most {MAX_STATEMENTS} directives");
                        self.mistakes.push(Mistake::at(statement.place(), message));
                        lexer.skip();
                        return Vec::new();
                    }
                    if statement.keyword() == "include" {
                        statements.extend(self.include(&statement));
                    } else {
                        statements.push(statement);
                    }
                }
                Token::Open(place) if words.is_empty() => {
                    self.mistakes.push(unexpected("{", &place, &words));
                    self.block(lexer, Some(&place), depth + 1);
                }
                Token::Open(place) => {
                    if depth >= MAX_BLOCKS {
                        let message =
                            format!("{{: more than {MAX_BLOCKS} blocks within each other");
                        self.mistakes.push(Mistake::at(&place, message));
                        lexer.skip();
                        return statements;
                    }
                    let block = Some(self.block(lexer, Some(&place), depth + 1));
                    let words = std::mem::take(&mut words);
                    statements.push(Statement { words, block });
                }
                Token::Close(place) => {
                    if let Some(last) = words.last() {
                        let message = format!("{}: expected ; after it", one_line(&last.text));
                        self.mistakes.push(Mistake::at(&last.place, message));
                        words.clear();
                    }
                    if begun.is_some() {
                        return statements;
                    }
                    self.mistakes.push(unexpected("}", &place, &[]));
                }
                Token::End => {
                    if let Some(last) = words.last() {
                        let message =
                            format!("{}: expected ; or {{ after it", one_line(&last.text));
                        self.mistakes.push(Mistake::at(&last.place, message));
                    }
                    if let Some(begun) = begun {
                        let message = "{: expected a } that ends the block";
                        self.mistakes.push(Mistake::at(begun, message));
                    }
                    return statements;
                }
            }
        }
    }

    fn include(&mut self, statement: &Statement) -> Vec<Statement> {
        let Ok(word) = statement.need("a file") else {
            let message = "include: expected a file";
            self.mistakes.push(Mistake::at(statement.place(), message));
            return Vec::new();
        };
        let pattern = self.folder.join(&word.text);
        let found = match self.files.matching(&pattern) {
            Ok(found) => found,
            Err(why) => {
                let message = format!("include {}: {why}", one_line(&word.text));
                self.mistakes.push(Mistake::at(&word.place, message));
                return Vec::new();
            }
        };
        if found.is_empty() && !word.text.contains(['*', '?', '[']) {
            let message = format!("include {}: no such file", one_line(&word.text));
            self.mistakes.push(Mistake::at(&word.place, message));
        }
        let place = &word.place;
        found
            .iter()
            .flat_map(|file| self.file(file, Some(place)))
            .collect()
    }
}

enum Token {
    Word(Word),
    Semicolon(Place),
    Open(Place),
    Close(Place),
    End,
}

struct Lexer {
    file: Arc<Path>,
    chars: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
}

impl Lexer {
    fn new(path: &Path, text: &str) -> Self {
        Self {
            file: path.into(),
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            column: 1,
        }
    }

    fn place(&self) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// To the end: there is too much of it.
    fn skip(&mut self) {
        self.at = self.chars.len();
    }

    fn next(&mut self) -> Result<Token, Mistake> {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.take();
                }
            } else if !c.is_whitespace() {
                break;
            } else {
                self.take();
            }
        }
        let place = self.place();
        match self.peek() {
            None => Ok(Token::End),
            Some(c @ (';' | '{' | '}')) => {
                self.take();
                Ok(match c {
                    ';' => Token::Semicolon(place),
                    '{' => Token::Open(place),
                    _ => Token::Close(place),
                })
            }
            Some(c @ ('"' | '\'')) => {
                self.take();
                let text = self.quoted(c, &place)?;
                Ok(Token::Word(Word { text, place }))
            }
            Some(_) => {
                let text = self.bare();
                Ok(Token::Word(Word { text, place }))
            }
        }
    }

    fn quoted(&mut self, quote: char, begun: &Place) -> Result<String, Mistake> {
        let mut text = String::new();
        loop {
            match self.take() {
                None => {
                    let message =
                        format!("{quote}: expected another {quote} that ends the quoted string");
                    return Err(Mistake::at(begun, message));
                }
                Some(c) if c == quote => break,
                Some('\\') => self.escaped(&mut text),
                Some(c) => text.push(c),
            }
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | ')');
        match self.peek() {
            Some(c) if !ends(c) => {
                let message = format!("{}: expected a space, ; or {{", one_line(&c.to_string()));
                Err(Mistake::at(&self.place(), message))
            }
            Some(_) | None => Ok(text),
        }
    }

    fn bare(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let ends = c.is_whitespace() || c == ';' || (c == '{' && !text.ends_with('$'));
            if ends {
                break;
            }
            self.take();
            if c == '\\' {
                self.escaped(&mut text);
            } else {
                text.push(c);
            }
        }
        text
    }

    /// What a backslash leaves: only these are escapes, others are a regular expression's.
    fn escaped(&mut self, text: &mut String) {
        match self.take() {
            Some(c @ ('"' | '\'' | '\\')) => text.push(c),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(c) => text.extend(['\\', c]),
            None => text.push('\\'),
        }
    }
}
