//! What is said about a backlog: sentences, made of numbers alone.

use indicatif::HumanCount;
use jiff::SignedDuration;

use crate::backlog::Limit;
use crate::config::Maintenance;
use crate::status::backlog::{BacklogStatus, DrainerStatus};
use crate::window::Phase;

/// A time in words: `4.2s`, `3m 20s`, `1h 5m`.
#[must_use]
pub fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.1}s", seconds.max(0.0));
    }
    let whole = SignedDuration::try_from_secs_f64(seconds.round()).unwrap_or(SignedDuration::MAX).as_secs();
    // Beyond an hour nobody counts seconds.
    let shown = if whole >= 3_600 { whole - whole % 60 } else { whole };
    format!("{:#}", SignedDuration::from_secs(shown))
}

/// A rate: `1,200/s`.
#[must_use]
pub fn rate(per_second: Option<f64>) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive and not large")]
    let whole = |rate: f64| HumanCount(rate.round() as u64);
    per_second.map_or_else(|| "?/s".to_owned(), |rate| format!("{}/s", whole(rate)))
}

/// What limits the drain, in words.
#[must_use]
pub fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::DatabaseLatency => "the ledger's commits are slow",
        Limit::Ceiling => "maintenance.rate_max",
        Limit::HotCustomer => "few customers are left, and a customer's orders go one after another",
        Limit::LedgerAway => "the ledger does not answer, or is not draining",
        Limit::RampUp => "the pace is still growing",
        Limit::Empty => "nothing: it waits for orders",
    }
}

/// One line: how much there is, how fast it goes, when it is done.
#[must_use]
pub fn line(status: &BacklogStatus) -> String {
    let mut parts = vec![
        format!("{} left", HumanCount(status.rows)),
        format!("drain {}", rate(status.drain_per_second)),
        format!("arrival {}", rate(status.arrival_per_second)),
    ];
    parts.extend(eta(status));
    match &status.drainer {
        Some(DrainerStatus { limited_by: Some(by), .. }) if status.rows > 0 => {
            parts.push(format!("limited by: {}", limit(*by)));
        }
        None if status.rows > 0 => parts.push("nobody drains".to_owned()),
        _ => {}
    }
    parts.extend(status.oldest_seconds.map(|age| format!("the oldest is {} old", span(age))));
    parts.join(", ")
}

/// When it will be empty, as far as that can be said.
#[must_use]
pub fn eta(status: &BacklogStatus) -> Option<String> {
    if status.will_not_clear {
        return Some("will not clear at this rate".to_owned());
    }
    status.eta_seconds.map(|seconds| format!("empty in {}", span(seconds)))
}

/// Why it does not get smaller, and what helps. None while it does.
#[must_use]
pub fn advice(status: &BacklogStatus, settings: &Maintenance) -> Option<String> {
    let drainer = status.drainer.as_ref().filter(|_| status.will_not_clear)?;
    let rates = format!(
        "will not clear at this rate: {} arrive, {} drain",
        rate(status.arrival_per_second),
        rate(status.drain_per_second)
    );
    let why = match drainer.limited_by {
        Some(Limit::Ceiling) => format!(
            "the ceiling is maintenance.rate_max = {}. Raise it above the arrival rate; workers read it when they start",
            settings.rate_max
        ),
        Some(Limit::DatabaseLatency) => format!(
            "commits take {} (maintenance.commit_target = {}). Look at the ledger's load, its locks and \
             ledger.effects; a higher commit_target drains faster and leaves less for others",
            span(drainer.commit_seconds),
            span(settings.commit_target.as_secs_f64())
        ),
        Some(Limit::HotCustomer) => "what is left belongs to few customers, whose orders go one after another. \
                                     Everybody else's orders go past them; a larger ledger.run_max helps them"
            .to_owned(),
        Some(Limit::LedgerAway) => "the ledger does not answer, or is not draining. Look at the ledger's database; \
                                    orders are accepted meanwhile"
            .to_owned(),
        Some(Limit::RampUp) => "the pace is still growing. Give it a minute".to_owned(),
        Some(Limit::Empty) | None => "nothing holds it back that its owner knows of. Look at its log".to_owned(),
    };
    Some(format!("{rates}; {why} (drained by {})", drainer.owner))
}

/// The names and values of a table.
#[must_use]
pub fn facts(status: &BacklogStatus) -> Vec<(&'static str, String)> {
    let phase = match status.phase {
        Phase::Spooling => "spooling: orders are accepted",
        Phase::Sealing => "sealing: no order is accepted, the rest drains",
        Phase::Sealed => "sealed until the next window",
    };
    let mut facts = vec![
        ("phase", format!("{phase}, since {:.0}", status.since)),
        ("window", status.epoch.to_string()),
        ("orders", HumanCount(status.rows).to_string()),
        ("ever", format!("{} appended, {} removed", HumanCount(status.appended), HumanCount(status.removed))),
        ("oldest", status.oldest_seconds.map_or_else(|| "none".into(), |age| format!("{} old", span(age)))),
        ("arrival", rate(status.arrival_per_second)),
        ("drain", rate(status.drain_per_second)),
        ("empty", eta(status).unwrap_or_else(|| if status.rows == 0 { "now" } else { "not known" }.into())),
    ];
    facts.push(match &status.drainer {
        None => ("drained by", "nobody".to_owned()),
        Some(drainer) => {
            let by = drainer.limited_by.map_or("nothing", limit);
            let pace = format!(
                "{}, up to {}, commits of {}, limited by: {by}",
                drainer.owner,
                rate(Some(drainer.allowed_per_second)),
                span(drainer.commit_seconds)
            );
            ("drained by", pace)
        }
    });
    facts
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::window::Notice;

    pub(in crate::cli::backlog) fn status(rows: u64, arrival: f64, drain: f64, by: Option<Limit>) -> BacklogStatus {
        BacklogStatus {
            phase: Phase::Spooling,
            epoch: 1,
            since: Timestamp::UNIX_EPOCH,
            notice: Notice::default(),
            rows,
            appended: rows,
            removed: 0,
            oldest_seconds: (rows > 0).then_some(75.0),
            arrival_per_second: Some(arrival),
            drain_per_second: Some(drain),
            eta_seconds: None,
            will_not_clear: rows > 0 && drain <= arrival && by.is_some(),
            drainer: by.map(|by| DrainerStatus {
                owner: "worker-1".into(),
                allowed_per_second: drain,
                commit_seconds: 0.42,
                limited_by: Some(by),
            }),
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (-1.0, "0.0s"),
            (0.04, "0.0s"),
            (4.24, "4.2s"),
            (75.0, "1m 15s"),
            (200.4, "3m 20s"),
            (3_999.0, "1h 6m"),
            (90_000.0, "25h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_line_says_what_limits_the_drain() {
        let mut seen = status(12_345, 1_200.0, 4_800.4, Some(Limit::Ceiling));
        seen.eta_seconds = Some(200.0);
        assert_eq!(
            line(&seen),
            "12,345 left, drain 4,800/s, arrival 1,200/s, empty in 3m 20s, limited by: maintenance.rate_max, \
             the oldest is 1m 15s old"
        );
        assert!(line(&status(5, 2.0, 1.0, Some(Limit::LedgerAway))).contains("will not clear at this rate"));
        assert!(line(&status(5, 2.0, 0.0, None)).contains("nobody drains"));
        assert_eq!(line(&status(0, 0.0, 0.0, None)), "0 left, drain 0/s, arrival 0/s");
    }

    #[test]
    fn every_limit_has_a_remedy_and_what_clears_has_none() {
        let settings = Maintenance::default();
        for (by, names) in [
            (Limit::Ceiling, "maintenance.rate_max = 5000"),
            (Limit::DatabaseLatency, "commits take 0.4s (maintenance.commit_target = 0.2s)"),
            (Limit::HotCustomer, "ledger.run_max"),
            (Limit::LedgerAway, "ledger's database"),
            (Limit::RampUp, "minute"),
            (Limit::Empty, "log"),
        ] {
            let said = advice(&status(5, 20.0, 10.0, Some(by)), &settings).unwrap();
            assert!(
                said.contains(names) && said.contains("20/s arrive, 10/s drain") && said.contains("worker-1"),
                "{said}"
            );
            assert_eq!(advice(&status(5, 10.0, 20.0, Some(by)), &settings), None);
        }
    }
}
