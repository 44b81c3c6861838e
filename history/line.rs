//! One line of a worker's event log.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// What every line of a worker's log has, whoever wrote it.
#[derive(Deserialize)]
pub(crate) struct Head {
    pub target: String,
}

/// Every field that a line of the event log may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub timestamp: String,
    #[serde(rename = "level")]
    _level: IgnoredAny,
    #[serde(rename = "target")]
    _target: IgnoredAny,
    pub event: Event,
    pub role: Role,
    pub slot: Option<usize>,
    pub work: Option<Work>,
    pub resolve: Option<bool>,
    pub entries: Option<String>,
    pub answers: Option<String>,
    pub answer: Option<Append>,
    pub error: Option<String>,
    pub id: Option<String>,
    pub digest8: Option<String>,
    pub outcome: Option<String>,
    pub parked: Option<bool>,
    pub epoch: Option<u64>,
    #[serde(rename = "poll")]
    _poll: Option<IgnoredAny>,
    #[serde(rename = "call")]
    _call: Option<IgnoredAny>,
    #[serde(rename = "timeout_ms")]
    _timeout_ms: Option<IgnoredAny>,
    #[serde(rename = "route")]
    _route: Option<IgnoredAny>,
    #[serde(rename = "granted")]
    _granted: Option<IgnoredAny>,
    #[serde(rename = "refused")]
    _refused: Option<IgnoredAny>,
}

impl Line {
    /// A list within the line: JSON text in a field.
    pub(crate) fn inner<T: DeserializeOwned>(&self, name: &str, field: Option<&String>) -> Result<T, String> {
        let text = field.ok_or_else(|| format!("{:?} lacks {name}", self.event))?;
        serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Received,
    Write,
    Wrote,
    Append,
    Appended,
    Delete,
    Deleted,
    Visibility,
    MadeVisible,
    Ended,
    Unparked,
    Route,
    Locked,
}

/// Which engine of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Live,
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Commit,
    Park,
    LookUp,
    Load,
    Quarantine,
    Sweep,
    Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Append {
    All,
    Refused,
}

/// An entry: its name and the beginning of its digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Name(pub Box<str>, pub Box<str>);

/// The answer to one run of a commit.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict(Word, IgnoredAny, IgnoredAny, Vec<Box<str>>);

impl Verdict {
    pub(crate) fn word(&self) -> Word {
        self.0
    }

    /// Orders of the run that were not written, because the ledger knows their name.
    pub(crate) fn known(&self) -> &[Box<str>] {
        &self.3
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Committed,
    GateClosed,
    Locked,
    Behind,
    Ahead,
    Blocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Park {
    Parked,
    Taken,
    NotEarly,
    Again,
    GateClosed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    Ended,
    Parked,
    Quarantined,
    Conflict,
    OutOfSequence,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    Quarantined,
    NotNext,
    Blocked,
    GateClosed,
}

/// Milliseconds since 1970 of a time such as 2026-11-28T00:19:21.123456Z.
pub(crate) fn millis(timestamp: &str) -> Option<u64> {
    let (date, time) = timestamp.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let numbers = |text: &str, between: char| -> Option<[u64; 3]> {
        let parts = text.split(between).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that a leap day is the last day of one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // So many days lie between 0000-03-01 and 1970-01-01.
    let seconds = ((days - 719_468) * 24 + hour) * 3600 + minute * 60 + second;
    let digits = fraction.get(..fraction.len().min(3))?;
    let thousandths: u64 = format!("{digits:0<3}").parse().ok()?;
    Some(seconds * 1000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn times_are_read() {
        assert_eq!(millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis("2000-02-29T12:00:00.5Z"), Some(951_825_600_500));
        assert_eq!(millis("2026-11-28T00:19:21.123456Z"), Some(1_795_825_161_123));
        for wrong in ["", "2026-11-28", "2026-11-28T00:19:21+01:00", "2026-13-28T00:19:21Z", "2026-11-28T00:19Z"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}
