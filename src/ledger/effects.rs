//! A team's own SQL in the same commit (`ledger.effects`): one INSERT, UPDATE, DELETE or MERGE.
//!
//! The text is not understood here, only delimited: that it is exactly one statement of a kind that writes. Whether its
//! tables and columns exist is the database's to say, which prepares it at start.

use std::path::{Path, PathBuf};

use scan::{Problem, Token, tokens};

mod scan;

/// The statement of an effects file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    path: PathBuf,
    sql: String,
}

/// Why an effects file cannot be used. The message begins with the file and, where there is one, the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectsError {
    /// The file cannot be read, or is not UTF-8.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// The text is not one statement that writes.
    #[error("{}:{line}: {problem}", path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

impl Effects {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read; or it is not exactly one INSERT, UPDATE, DELETE or MERGE (with or without WITH).
    pub fn load(path: &Path) -> Result<Effects, EffectsError> {
        let unreadable = |problem: String| EffectsError::Unreadable { path: path.to_owned(), problem };
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(format!("not UTF-8: {error}")))?;
        // Editors write a byte order mark, databases do not read it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        match statement(text) {
            Ok(sql) => Ok(Effects { path: path.to_owned(), sql: sql.to_owned() }),
            Err(Problem { at, text: problem }) => {
                let line = 1 + text[..at].matches('\n').count();
                Err(EffectsError::Statement { path: path.to_owned(), line, problem })
            }
        }
    }

    /// The statement, from the first character of the file on (so that offsets hold), without its semicolon. It may
    /// end in a `--` comment: whatever is put behind it goes on a new line.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Line and column, both from 1, of a character of [`Effects::sql`], counted from 0.
    #[must_use]
    pub fn place(&self, char_offset: usize) -> (usize, usize) {
        let before = self.sql.chars().take(char_offset);
        before.fold((1, 1), |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
    }
}

/// The one statement of the text, without what ends it.
fn statement(text: &str) -> Result<&str, Problem> {
    let tokens = tokens(text)?;
    let mut depth = Vec::new();
    let mut end = None;
    for (at, token) in &tokens {
        if let Some(end) = end {
            if *token != Token::Semicolon {
                let first = 1 + text[..end].matches('\n').count();
                return Err(Problem::new(*at, format!("a second statement (the first one ends on line {first})")));
            }
            continue;
        }
        match token {
            Token::Open => depth.push(*at),
            Token::Close if depth.pop().is_none() => return Err(Problem::new(*at, "`)` without `(`")),
            Token::Semicolon if depth.is_empty() => end = Some(*at),
            Token::Semicolon => return Err(Problem::new(*at, "`;` between parentheses")),
            _ => {}
        }
    }
    if let Some(at) = depth.pop() {
        return Err(Problem::new(at, "`(` without `)`"));
    }
    check_kind(&tokens)?;
    Ok(&text[..end.unwrap_or(text.len())])
}

fn is_verb(word: &str) -> bool {
    ["insert", "update", "delete", "merge"].iter().any(|verb| word.eq_ignore_ascii_case(verb))
}

/// Finds the word that says what the statement does: the first one, or the one behind the WITH clause.
fn check_kind(tokens: &[(usize, Token<'_>)]) -> Result<(), Problem> {
    let wrong = |at: usize, word: &str| {
        Err(Problem::new(at, format!("`{word}` is not one INSERT, UPDATE, DELETE or MERGE (WITH may stand before it)")))
    };
    let word = |index: usize| match tokens.get(index) {
        Some((_, Token::Word(word))) => *word,
        _ => "",
    };
    if tokens.iter().all(|(_, token)| *token == Token::Semicolon) {
        return Err(Problem::new(0, "no statement"));
    }
    let verb = if word(0).eq_ignore_ascii_case("with") { after_with(tokens, &word) } else { 0 };
    match tokens.get(verb) {
        Some((_, Token::Word(word))) if is_verb(word) => Ok(()),
        Some((at, Token::Word(word))) => wrong(*at, word),
        Some((at, _)) => Err(Problem::new(*at, "the statement does not begin with a word")),
        None => wrong(tokens[0].0, "WITH"),
    }
}

/// The index behind `WITH [RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (query) [SEARCH …] [CYCLE …], …`. A
/// name may be any word, `update` included, so the clause is walked and not searched.
fn after_with<'a>(tokens: &[(usize, Token<'a>)], word: &impl Fn(usize) -> &'a str) -> usize {
    let is = |index: usize, text: &str| word(index).eq_ignore_ascii_case(text);
    let group =
        |index: usize| if matches!(tokens.get(index), Some((_, Token::Open))) { skip(tokens, index) } else { index };
    let mut at = 1 + usize::from(is(1, "recursive"));
    loop {
        at = group(at + 1);
        at += usize::from(is(at, "as"));
        at += usize::from(is(at, "not"));
        at += usize::from(is(at, "materialized"));
        at = group(at);
        if is(at, "search") || is(at, "cycle") {
            at += tokens[at..].iter().take_while(|(_, t)| !matches!(t, Token::Word(word) if is_verb(word))).count();
        }
        match tokens.get(at) {
            Some((_, Token::Comma)) => at += 1,
            _ => return at,
        }
    }
}

/// The index behind the group that opens at `open`. Parentheses are known to be balanced.
fn skip(tokens: &[(usize, Token<'_>)], open: usize) -> usize {
    let mut depth = 0;
    for (index, (_, token)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}
