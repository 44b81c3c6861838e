//! `--until`: when a window is meant to end.

use jiff::{SignedDuration, Timestamp};

/// A moment in RFC 3339 (`2026-11-22T23:30:00+01:00`), or a span from now (`30m`, `2h`).
///
/// # Errors
///
/// A sentence, when it is neither, or not in the future.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || format!("--until {text}: expected a span from now such as 30m or 2h, or a time such as {now:.0}");
    let until = match text.parse::<SignedDuration>() {
        Ok(span) => now.checked_add(span).map_err(|_| wrong())?,
        Err(_) => text.parse::<Timestamp>().map_err(|_| wrong())?,
    };
    if until <= now {
        return Err(format!("--until {text}: that is not in the future"));
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T10:00:00Z";

    fn at(text: &str) -> Result<String, String> {
        parse(text, NOW.parse().unwrap()).map(|until| until.to_string())
    }

    #[test]
    fn a_span_counts_from_now() {
        assert_eq!(at("30m").unwrap(), "2026-11-22T10:30:00Z");
        assert_eq!(at("2h").unwrap(), "2026-11-22T12:00:00Z");
        assert_eq!(at("1h 30m").unwrap(), "2026-11-22T11:30:00Z");
    }

    #[test]
    fn a_time_is_rfc_3339() {
        assert_eq!(at("2026-11-22T23:30:00+01:00").unwrap(), "2026-11-22T22:30:00Z");
        assert_eq!(at("2026-11-22T10:00:01Z").unwrap(), "2026-11-22T10:00:01Z");
    }

    #[test]
    fn what_is_neither_or_past_is_refused() {
        for text in ["", "soon", "22:30", "1 month", "2026-11-22", "99999999999999h"] {
            let said = at(text).unwrap_err();
            assert!(said.contains("30m") && said.contains("2026-11-22T10:00:00Z"), "{text}: {said}");
        }
        for text in ["0s", "-30m", "2026-11-22T10:00:00Z", "2025-01-01T00:00:00Z"] {
            assert!(at(text).unwrap_err().contains("not in the future"), "{text}");
        }
    }
}
