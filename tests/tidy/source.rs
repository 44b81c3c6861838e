//! Reading the tree, and just enough of Rust to tell code from comments and text.

use std::fs;
use std::path::Path;

/// One text file of the tree, by its path from the top.
#[derive(Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// Its text as Rust code without comments and without what stands in quotes; lines stay where they are.
    pub fn code(&self) -> String {
        code(&self.text)
    }

    /// Whether it is a Rust file under `folder` (such as `src/`).
    pub fn is_rust_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder) && self.extension() == "rs"
    }

    pub fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// Every text file of the tree but what the build makes. Sorted.
pub fn tree() -> Vec<File> {
    let mut files = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "this is not the tree");
    files
}

/// One file that must be there.
pub fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path} is missing ({error})"))
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if prefix.is_empty() && (name == "target" || name == ".git") {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}

/// Where `word` stands by itself in `code`, not as a part of a longer name: byte offsets.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !code[..at].chars().next_back().is_some_and(part)
            && !code[at + word.len()..].chars().next().is_some_and(|c| part(c) && word.ends_with(part))
    })
}

/// The number of the line at a byte offset.
pub fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Rust code with comments, strings and character literals blanked.
pub fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest, code.chars().next_back())).or_else(|| character(rest));
        if let Some(length) = skipped {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let mut at = rest.strip_prefix("/*").map(|_| 2)?;
    let mut depth = 1;
    while depth > 0 && at < rest.len() {
        let step = &rest.as_bytes()[at..];
        depth = match step {
            [b'/', b'*', ..] => depth + 1,
            [b'*', b'/', ..] => depth - 1,
            _ => depth,
        };
        at += if step.starts_with(b"/*") || step.starts_with(b"*/") { 2 } else { 1 };
    }
    while !rest.is_char_boundary(at) {
        at += 1;
    }
    Some(at)
}

fn string(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    // r"…", r#"…"#: not the end of a longer name, and not a raw identifier.
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let hashes = rest.strip_prefix('r')?.chars().take_while(|&c| c == '#').count();
    let open = 1 + hashes;
    if !rest[open..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some(rest[open + 1..].find(&close).map_or(rest.len(), |at| open + 1 + at + close.len()))
}

fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.strip_prefix('\'')?.chars();
    match (inside.next()?, inside.next()) {
        ('\\', _) | (_, Some('\'')) => Some(quoted(rest, '\'')),
        // A lifetime.
        _ => None,
    }
}

/// The length of a literal that begins and ends with `quote`, backslashes minded.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = r##"a /* b /* c */ d */ e // f
        "g \" h" i r#"j " k"# l '"' m '\'' n 'static o b"p" q"##;
    let left: Vec<_> = code(text).split_whitespace().map(String::from).collect();
    assert_eq!(left, ["a", "e", "i", "l", "m", "n", "'static", "o", "b", "q"]);
    assert_eq!(code(text).len(), text.len());
}

#[test]
fn a_word_is_not_a_part_of_another() {
    assert_eq!(words("rand brand rand_core (rand)", "rand").collect::<Vec<_>>(), [0, 22]);
    assert_eq!(words("sqlx::query xsqlx::", "sqlx::").collect::<Vec<_>>(), [0]);
    assert_eq!(words("x_aws_ aws_sdk", "aws_").collect::<Vec<_>>(), Vec::<usize>::new());
}
