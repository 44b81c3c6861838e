//! Where settings come from: one TOML file, and the environment over it.
//!
//! Messages name the key and its source, and never show a value that could hold a secret.

use std::ffi::OsString;
use std::path::Path;

use figment::error::{Actual, Kind};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, ConfigError};

/// What the name of every environment variable that sets a key begins with.
const PREFIX: &str = "MILLRACE__";

/// The name of the environment's provider; an error knows by it where a value came from.
const ENVIRONMENT: &str = "the environment";

/// What a count takes.
const NUMBER: &str = "a whole number from 0";

/// Reads the file, then the variables over it. Values are checked for their type only.
pub(super) fn read(
    file: Option<&Path>,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigError> {
    // Both sections hold a key without a default; with them there, it is the key that is reported missing.
    let required = ["inbox", "ledger"].map(|section| (section.to_owned(), Value::from(Dict::new())));
    let mut figment = Figment::from(Layer { name: "the required keys", dict: required.into_iter().collect() });
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::one(format!("{}: cannot be read: {error}", path.display())))?;
        figment = figment.merge(Layer { name: "the file", dict: parse(path, &text)? });
    }
    figment = figment.merge(Layer { name: ENVIRONMENT, dict: environment(vars)? });
    figment.extract().map_err(|error| ConfigError::one(describe(&error, file)))
}

/// One source as figment wants it.
struct Layer {
    name: &'static str,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

fn parse(path: &Path, text: &str) -> Result<Dict, ConfigError> {
    Toml::from_str(text).map_err(|error| {
        // The parser quotes the line in question, which may hold a password. Its quote is what has bars.
        let text = error.to_string();
        let said: Vec<&str> = text.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
        ConfigError::one(format!("{}: {}", path.display(), said.join(": ")))
    })
}

/// Takes the variables of this program as values of the type that their key has.
fn environment(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Dict, ConfigError> {
    let known = Config::new("", "").to_json();
    let mut dict = Dict::new();
    let mut problems = Vec::new();
    for (name, value) in vars {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let key = rest.to_lowercase();
        let example =
            key.split_once("__").and_then(|(section, key)| Some((section, key, known.get(section)?.get(key)?)));
        match (example, value.into_string()) {
            (Some((section, key, example)), Ok(text)) if name == variable(section, key) => {
                let section = dict.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
                if let Value::Dict(_, section) = section {
                    section.insert(key.to_owned(), typed(example, text));
                }
            }
            (Some((section, key, _)), Ok(_)) => {
                problems.push(format!("{name}: unknown variable, expected {}", variable(section, key)));
            }
            (Some(_), Err(_)) => problems.push(format!("{name}: its value is not UTF-8 text")),
            (None, _) => problems.push(format!("{name}: unknown key, expected {}", siblings(&known, &key))),
        }
    }
    if problems.is_empty() { Ok(dict) } else { Err(ConfigError { problems }) }
}

/// The variable that sets a key.
fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{section}__{key}").to_uppercase()
}

/// What could have been meant by an unknown key: the keys of its section, or the sections.
fn siblings(known: &serde_json::Value, key: &str) -> String {
    let section = key.split("__").next().unwrap_or_default();
    let names = |of: &serde_json::Value, prefix: &str| {
        let names = of.as_object().into_iter().flat_map(|map| map.keys());
        let names: Vec<String> = names.map(|name| format!("{prefix}{name}").to_uppercase()).collect();
        names.join(", ")
    };
    match known.get(section) {
        Some(keys) => format!("one of {}", names(keys, &format!("{PREFIX}{section}__"))),
        None => format!("{PREFIX}SECTION__KEY with one of the sections {}", names(known, "")),
    }
}

/// The text as the type of the key's example; text that is not of that type stays text, and is refused with the
/// same message as in the file.
fn typed(example: &serde_json::Value, text: String) -> Value {
    match example {
        serde_json::Value::Number(_) => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        serde_json::Value::Bool(_) => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    }
}

/// The message for a value that does not fit: key, source, what is expected. Never the value itself.
fn describe(error: &figment::Error, file: Option<&Path>) -> String {
    let mut path = error.path.clone();
    if let Kind::UnknownField(field, _) = &error.kind
        && path.last() != Some(field)
    {
        path.push(field.clone());
    }
    if let Kind::MissingField(field) = &error.kind {
        path.push(field.to_string());
    }
    let key = path.join(".");
    let in_file = file.map_or_else(String::new, |path| format!(" in {}", path.display()));
    let source = match &error.metadata {
        Some(metadata) if metadata.name == ENVIRONMENT => format!(" in {PREFIX}{}", path.join("__").to_uppercase()),
        _ => in_file.clone(),
    };
    match &error.kind {
        Kind::MissingField(_) => {
            let variable = format!("{PREFIX}{}", path.join("__").to_uppercase());
            format!("{key}: missing; set it{} or as {variable}", in_file_or_a_file(&in_file))
        }
        Kind::UnknownField(_, expected) => {
            format!("{key}: unknown key{source}, expected one of {}", expected.join(", "))
        }
        Kind::UnknownVariant(_, expected) => {
            format!("{key}: unknown value{source}, expected one of {}", expected.join(", "))
        }
        Kind::InvalidType(found, _) | Kind::InvalidValue(found, _) => {
            let expected = expected(&path);
            match found {
                Actual::Unsigned(number) if expected == NUMBER => format!("{key}: {number} is too large{source}"),
                Actual::Signed(number) if expected == NUMBER => {
                    format!("{key}: {number} is out of range{source}, expected {expected}")
                }
                _ => format!("{key}: wrong type{source}, expected {expected}, found {}", kind(found)),
            }
        }
        _ => format!("{key}: not understood{source}, expected {}", expected(&path)),
    }
}

fn in_file_or_a_file(in_file: &str) -> String {
    if in_file.is_empty() { " in the file that --config names".to_owned() } else { in_file.to_owned() }
}

/// What a key takes, told by its default.
fn expected(path: &[String]) -> &'static str {
    let known = Config::new("", "").to_json();
    let example = path.iter().try_fold(&known, |value, key| value.get(key));
    match example {
        Some(serde_json::Value::Object(_)) => "a table of keys",
        Some(serde_json::Value::Number(_)) => NUMBER,
        Some(serde_json::Value::Bool(_)) => "true or false",
        Some(serde_json::Value::String(text)) if text.parse::<jiff::SignedDuration>().is_ok() => {
            "a duration such as \"30s\" or \"10 minutes\""
        }
        _ => "text",
    }
}

/// The type of a value, without the value.
fn kind(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number with a fraction",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}
