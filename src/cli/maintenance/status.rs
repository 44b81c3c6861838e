//! `millrace maintenance status`: both stores side by side, also when one of them does not answer.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::standing::Standing;
use super::words;
use crate::backlog::{self, Backlog as _, BacklogError, Depth, Session as _};
use crate::cli::backlog::words::span;
use crate::cli::{DONE, FAILED, print_json, table};
use crate::config::Config;
use crate::ledger::gatekeeper::Gatekeeper as _;
use crate::ledger::{self, Ledger as _, LedgerError};
use crate::window::{GateView, Notice, PhaseView};

/// Arguments of `millrace maintenance status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What was read, and what it means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where the window stands.
    pub standing: Standing,
    /// What that means for orders.
    pub means: &'static str,
    /// What to type next; none when nothing has to be done.
    pub next: Option<&'static str>,
    /// By how much it is over the time at which it was meant to end, in seconds. None: it is not, or none is on.
    pub overdue_seconds: Option<f64>,
    /// The ledger's gate; none when it does not answer.
    pub ledger: Option<GateView>,
    /// Why it does not answer.
    pub ledger_error: Option<String>,
    /// Whether `backlog.url` is set.
    pub backlog_configured: bool,
    /// The backlog's phase; none when it does not answer.
    pub backlog: Option<PhaseView>,
    /// How much is in it.
    pub depth: Option<Depth>,
    /// Why it does not answer.
    pub backlog_error: Option<String>,
}

/// Runs the command: 1 when neither store answers.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let (gate, backlog) = tokio::join!(gate(config), phase(config));
    let report = Report::new(gate, backlog, Timestamp::now());
    if args.json {
        print_json(&report);
    } else {
        print(&report, Timestamp::now());
    }
    ExitCode::from(if report.ledger.is_none() && report.backlog.is_none() { FAILED } else { DONE })
}

async fn gate(config: &Config) -> Result<GateView, LedgerError> {
    ledger::open(config)?.gatekeeper().await?.view().await
}

/// None: there is no backlog.
async fn phase(config: &Config) -> Result<Option<(PhaseView, Depth)>, BacklogError> {
    let Some(backlog) = backlog::open(config)? else { return Ok(None) };
    let mut session = backlog.connect().await?;
    Ok(Some((session.phase().await?, session.depth().await?)))
}

impl Report {
    /// By what the stores answered.
    #[must_use]
    pub fn new(
        gate: Result<GateView, LedgerError>,
        backlog: Result<Option<(PhaseView, Depth)>, BacklogError>,
        now: Timestamp,
    ) -> Self {
        let (ledger, ledger_error) = match gate {
            Ok(gate) => (Some(gate), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let backlog_configured = !matches!(backlog, Ok(None));
        let (backlog, depth, backlog_error) = match backlog {
            Ok(Some((phase, depth))) => (Some(phase), Some(depth), None),
            Ok(None) => (None, None, None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        let standing = Standing::of(ledger.as_ref(), backlog.as_ref());
        let notice = ledger.as_ref().map(|gate| &gate.notice).or(backlog.as_ref().map(|backlog| &backlog.notice));
        let on = standing != Standing::Open && backlog_configured;
        Self {
            standing,
            means: if backlog_configured { standing.means() } else { "no backlog is configured: there are no windows" },
            next: if backlog_configured { standing.next() } else { Some("set backlog.url, then millrace migrate") },
            overdue_seconds: notice.filter(|_| on).and_then(|notice| words::overdue(notice.until, now)),
            ledger,
            ledger_error,
            backlog_configured,
            backlog,
            depth,
            backlog_error,
        }
    }
}

fn print(report: &Report, now: Timestamp) {
    let Report { ledger, backlog, depth, .. } = report;
    let mut rows = table::with_head(["", "ledger", "backlog"]);
    let of_gate = |tell: &dyn Fn(&GateView) -> String| ledger.as_ref().map_or_else(String::new, tell);
    let of_phase = |tell: &dyn Fn(&PhaseView) -> String| backlog.as_ref().map_or_else(String::new, tell);
    let unread = if report.backlog_configured { "does not answer" } else { "none is configured" };
    rows.add_row([
        "is".to_owned(),
        ledger.as_ref().map_or_else(|| "does not answer".into(), gate_state),
        backlog.as_ref().map_or_else(|| unread.into(), phase_state),
    ]);
    rows.add_row(["window".to_owned(), of_gate(&|gate| gate.epoch.to_string()), of_phase(&|b| b.epoch.to_string())]);
    rows.add_row([
        "since".to_owned(),
        of_gate(&|gate| format!("{:.0}", gate.since)),
        of_phase(&|backlog| format!("{:.0}", backlog.since)),
    ]);
    // What was said of a window that is over interests nobody.
    if report.standing != Standing::Open {
        let of = |tell: fn(&Notice, Timestamp) -> String| {
            (of_gate(&|gate| tell(&gate.notice, now)), of_phase(&|backlog| tell(&backlog.notice, now)))
        };
        for (name, (ledger, backlog)) in [
            ("why", of(|notice, _| notice.reason.clone().unwrap_or_default())),
            ("who", of(|notice, _| notice.actor.clone().unwrap_or_default())),
            ("until", of(|notice, now| words::until(notice.until, now))),
        ] {
            rows.add_row([name.to_owned(), ledger, backlog]);
        }
    }
    if let Some(depth) = depth {
        let age = depth.oldest.map_or_else(String::new, |oldest| {
            format!(", the oldest {} old", span(depth.now.duration_since(oldest).as_secs_f64()))
        });
        rows.add_row(["orders".to_owned(), String::new(), format!("{}{age}", depth.rows)]);
    }
    println!("{rows}\n");
    for error in [&report.ledger_error, &report.backlog_error].into_iter().flatten() {
        println!("{error}");
    }
    println!("{}", report.means);
    if let Some(over) = report.overdue_seconds {
        println!("overdue by {}", span(over));
    }
    if let Some(next) = report.next {
        println!("next: {next}");
    }
}

fn gate_state(gate: &GateView) -> String {
    let word = words::gate_word(gate.gate);
    if gate.announced > gate.epoch {
        format!("{word}, a close to {} is announced", gate.announced)
    } else {
        word.into()
    }
}

fn phase_state(backlog: &PhaseView) -> String {
    let word = words::phase_word(backlog.phase);
    if backlog.announced { format!("{word}, a seal or another window is announced") } else { word.into() }
}
