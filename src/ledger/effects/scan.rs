//! The tokens of an SQL text, as far as it takes to see where a statement ends: comments (nested ones too), quotes and
//! PostgreSQL's dollar quotes and `E''` strings hide what stands in them.

/// What a text is made of. What a database alone can judge is [`Token::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Open,
    Close,
    Comma,
    Semicolon,
    Other,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}

/// The tokens, each with the byte where it begins; comments and space left out.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, token) = match c {
            c if c.is_whitespace() => (c.len_utf8(), None),
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (comment(rest).ok_or_else(|| open(at, "comment"))?, None),
            '(' => (1, Some(Token::Open)),
            ')' => (1, Some(Token::Close)),
            ',' => (1, Some(Token::Comma)),
            ';' => (1, Some(Token::Semicolon)),
            '\'' | '"' | '`' => (quoted(rest, c, false).ok_or_else(|| open(at, "quote"))?, Some(Token::Other)),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                (1 + quoted(&rest[1..], '\'', true).ok_or_else(|| open(at, "quote"))?, Some(Token::Other))
            }
            '$' => match dollar_tag(rest) {
                Some(tag) => {
                    let body = &rest[tag.len()..];
                    let end = body.find(tag).ok_or_else(|| open(at, "dollar quote"))?;
                    (2 * tag.len() + end, Some(Token::Other))
                }
                None => (1, Some(Token::Other)),
            },
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len());
                let token = if c.is_ascii_digit() { Token::Other } else { Token::Word(&rest[..length]) };
                (length, Some(token))
            }
            c => (c.len_utf8(), Some(Token::Other)),
        };
        tokens.extend(token.map(|token| (at, token)));
        at += length;
    }
    Ok(tokens)
}

fn open(at: usize, what: &str) -> Problem {
    Problem::new(at, format!("a {what} that does not end"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

/// The length of the block comment at the start; they nest, as in PostgreSQL.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The length of the quoted text at the start. A doubled quote stands for one; in an `E''` string so does `\'`.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => _ = chars.next(),
                _ => return Some(at + c.len_utf8()),
            }
        }
    }
    None
}

/// `$$` or `$tag$` at the start. `$1` is a parameter and opens nothing.
fn dollar_tag(text: &str) -> Option<&str> {
    let length = text[1..].find('$')?;
    let name = &text[1..=length];
    let first_fits = name.chars().next().is_none_or(|c| is_word(c) && !c.is_ascii_digit());
    (first_fits && name.chars().all(is_word)).then(|| &text[..length + 2])
}
