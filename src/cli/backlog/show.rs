//! How a command that watches talks: a progress bar on a terminal, plain lines elsewhere, JSON lines on request.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::words;
use crate::status::backlog::BacklogStatus;

/// Between two lines about the backlog, where there is no bar.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
const BETWEEN_JSON: Duration = Duration::from_secs(1);

/// Something that is told once as a sentence, once as JSON.
pub trait Told: Serialize {
    /// The sentence.
    fn sentence(&self) -> String;
}

/// The voice of one command.
#[derive(Debug)]
pub struct Show {
    json: bool,
    bar: Option<ProgressBar>,
    /// The most rows that were seen: the length of the bar.
    rows_max: u64,
    said: Option<Instant>,
}

impl Show {
    /// The bar appears with the first look at the backlog.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json, bar: None, rows_max: 0, said: None }
    }

    /// How the backlog goes: in the bar at once, elsewhere every few seconds.
    pub fn status(&mut self, status: &BacklogStatus) {
        if !self.json && std::io::stderr().is_terminal() {
            self.rows_max = self.rows_max.max(status.rows);
            let bar = self.bar.get_or_insert_with(bar);
            bar.set_length(self.rows_max.max(1));
            bar.set_position(if self.rows_max == 0 { 1 } else { self.rows_max - status.rows });
            bar.set_message(words::line(status));
            return;
        }
        let every = if self.json { BETWEEN_JSON } else { BETWEEN_LINES };
        if self.said.is_some_and(|said| said.elapsed() < every) {
            return;
        }
        self.said = Some(Instant::now());
        if self.json {
            #[derive(Serialize)]
            struct Seen<'a> {
                event: &'static str,
                #[serde(flatten)]
                status: &'a BacklogStatus,
            }
            self.print(&as_json(&Seen { event: "backlog", status }));
        } else {
            self.print(&words::line(status));
        }
    }

    /// An event.
    pub fn event(&self, event: &impl Told) {
        self.print(&if self.json { as_json(event) } else { event.sentence() });
    }

    /// A sentence that is no event of its own.
    pub fn say(&self, message: &str) {
        self.print(&if self.json {
            as_json(&json!({ "event": "advice", "message": message }))
        } else {
            message.into()
        });
    }

    /// What went wrong, on standard error; with JSON on standard output too.
    #[must_use]
    pub fn failed(&mut self, doing: &str, problem: &str, code: u8) -> ExitCode {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.json {
            self.print(&as_json(&json!({ "event": "failed", "message": problem })));
        }
        eprintln!("millrace {doing}: {problem}");
        ExitCode::from(code)
    }

    fn print(&self, line: &str) {
        // A reader that went away does not undo what was done.
        let print = || drop(writeln!(std::io::stdout(), "{line}"));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn as_json(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("events are plain values")
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {msg}").expect("a valid template");
    ProgressBar::new(1).with_style(style)
}
