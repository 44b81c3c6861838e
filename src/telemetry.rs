//! Logging: to standard error, as text for people or as JSON lines for machines.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config;

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is not understood.
    #[error("log.level: {directive:?} is not a level (error, warn, info, debug, trace, off) nor target=level")]
    Level {
        /// The part of it that is wrong.
        directive: String,
    },
    /// Another subscriber is there already.
    #[error("logging was started twice")]
    Twice(#[from] TryInitError),
}

/// Starts logging for the whole process. `RUST_LOG` is not read: `log.level` (or `MILLRACE__LOG__LEVEL`) says it all.
///
/// # Errors
///
/// When `log.level` is not understood, or logging was started before.
pub fn start(log: &config::Log) -> Result<(), TelemetryError> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(&log.level)?).with_writer(std::io::stderr);
    match log.format {
        config::LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
        config::LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init()?,
    }
    Ok(())
}

/// Reads `log.level`: directives with commas between them, each a level or `target=level`.
///
/// [`EnvFilter`] takes a bare word that is no level for a target, so that `inof` would silence everything else. Hence
/// each directive is checked first.
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let bad = |directive: &str| TelemetryError::Level { directive: directive.to_owned() };
    for directive in level.split(',') {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        let is_level = !level.is_empty()
            && !level.starts_with(|first: char| first.is_ascii_digit())
            && level.parse::<LevelFilter>().is_ok();
        if !is_level || target == Some("") {
            return Err(bad(directive));
        }
    }
    EnvFilter::try_new(level).map_err(|_| bad(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_understood() {
        for level in ["error", "warn", "INFO", "debug", "off", "info,millrace=debug", "warn,millrace::core=trace"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        assert_eq!(filter("info,millrace=debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
    }

    #[test]
    fn anything_else_names_the_key_and_the_part() {
        for (level, part) in [
            ("inof", "inof"),
            ("", ""),
            ("info,", ""),
            ("info,millrace=loud", "millrace=loud"),
            ("=info", "=info"),
            ("3", "3"),
        ] {
            let message = filter(level).unwrap_err().to_string();
            assert!(message.starts_with(&format!("log.level: {part:?}")), "{level}: {message}");
        }
    }

    #[test]
    fn starting_twice_is_an_error() {
        // Other tests of this process may have started logging, so the first call may fail too.
        let log = config::Log::default();
        let first = start(&log);
        assert!(matches!(start(&log), Err(TelemetryError::Twice(_))), "first: {first:?}");
    }
}
