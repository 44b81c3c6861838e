//! `millrace submit`: sends a file of orders to the queue.
//!
//! What was confirmed is noted in a journal beside the file, so the same command goes on where the last one ended.
//! What SQS never answered is sent again: it may then be in the queue twice, which costs nothing but a line in the
//! report, because the ledger knows duplicates.

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncRead, BufReader};

use crate::config::{self, Config};
use crate::inbox::sqs::producer::Producer;

mod flow;
mod journal;
mod lines;
mod stdin;

use flow::Flow;
use journal::Journal;
use lines::Lines;
use stdin::Stdin;

/// How much of the input is read at once.
const READ_BYTES: usize = 256 * 1024;

/// The most problems that a report lists; all are counted and printed.
const PROBLEMS_MAX: usize = 1_000;

/// Arguments of `millrace submit`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// File with one order (a JSON object) a line; `-` is standard input
    pub file: PathBuf,

    /// Where confirmed lines are noted [default: FILE.sent; none for standard input]
    #[arg(long, value_name = "PATH")]
    pub journal: Option<PathBuf>,

    /// Send each line as it is, even when it is not a JSON object
    #[arg(long)]
    pub raw: bool,

    /// The most orders a second
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,

    /// The most requests at once
    #[arg(long, value_name = "N", default_value = "8")]
    pub in_flight: NonZeroU32,

    /// How often a line is tried before the command gives up
    #[arg(long, value_name = "N", default_value = "10")]
    pub tries: NonZeroU32,

    /// JSON lines on standard output, no progress bar
    #[arg(long)]
    pub json: bool,
}

/// What became of the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Confirmed by SQS in this run.
    pub sent: u64,
    /// Confirmed in an earlier run, by the journal.
    pub sent_before: u64,
    /// Of `sent`: lines whose first sending was never answered. Harmless.
    pub may_be_twice: u64,
    /// Not sent, or not taken by SQS, by their own fault.
    pub refused: u64,
    /// Why not all lines were tried.
    pub stopped: Option<String>,
    /// The first 1,000 refused lines.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// What is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// Why the lines could not be submitted at all.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The command was given something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Reading the input or writing the journal failed.
    #[error("{0}")]
    Failed(String),
}

impl Report {
    /// Whether every line is in the queue.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.stopped.is_none()
    }

    fn note_problem(&mut self, line: u64, problem: String) -> Problem {
        self.refused += 1;
        let problem = Problem { line, problem };
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.clone());
        }
        problem
    }
}

/// Runs the command: 0 when every line is in the queue, 1 when not, 2 when it was used wrongly.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let outcome = match Producer::from_environment(&config.inbox).await {
        Ok(producer) => submit(producer, &config.inbox, args).await,
        Err(error) => Err(SubmitError::Failed(error.to_string())),
    };
    match outcome {
        Ok(report) => {
            print_report(args, &report);
            ExitCode::from(u8::from(!report.is_complete()))
        }
        Err(error) => {
            eprintln!("millrace submit: {error}");
            ExitCode::from(if matches!(error, SubmitError::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Sends the lines of `args.file` by `producer`.
///
/// # Errors
///
/// The input cannot be read, or the journal belongs to something else. Lines that were not sent are in the report.
pub async fn submit(producer: Producer, inbox: &config::Inbox, args: &Args) -> Result<Report, SubmitError> {
    if args.file == Path::new("-") {
        let journal = args.journal.as_deref().map(|path| Journal::open(path, producer.queue_url())).transpose()?;
        let voice = Voice::new(args.json, None);
        return send(producer, inbox, args, Stdin::start(), journal, voice).await;
    }
    let unreadable = |error| SubmitError::Usage(format!("{}: {error}", args.file.display()));
    let file = tokio::fs::File::open(&args.file).await.map_err(unreadable)?;
    let bytes = file.metadata().await.map_err(unreadable)?.len();
    let path = args.journal.clone().unwrap_or_else(|| {
        let mut name = args.file.clone().into_os_string();
        name.push(".sent");
        name.into()
    });
    let journal = Journal::open(&path, producer.queue_url())?;
    send(producer, inbox, args, file, Some(journal), Voice::new(args.json, Some(bytes))).await
}

async fn send(
    producer: Producer,
    inbox: &config::Inbox,
    args: &Args,
    input: impl AsyncRead + Unpin,
    journal: Option<Journal>,
    voice: Voice,
) -> Result<Report, SubmitError> {
    let lines = Lines::new(BufReader::with_capacity(READ_BYTES, input), producer.is_fifo(), args.raw);
    Flow::new(producer, inbox, args, lines, journal, voice).run().await
}

fn print_report(args: &Args, report: &Report) {
    if args.json {
        print_json("done", report);
        return;
    }
    let Report { sent, sent_before, may_be_twice, refused, .. } = report;
    let mut text = format!("{sent} sent");
    for (count, what) in [
        (sent_before, "sent by an earlier run"),
        (refused, "refused"),
        (may_be_twice, "may be in the queue twice (harmless: the ledger knows duplicates)"),
    ] {
        if *count > 0 {
            write!(text, ", {count} {what}").expect("a String takes any text");
        }
    }
    print_line(&text);
    if let Some(reason) = &report.stopped {
        let again = if args.file == Path::new("-") && args.journal.is_none() {
            "without a journal nobody knows where to go on"
        } else {
            "the same command goes on from there"
        };
        eprintln!("stopped: {reason}; {again}");
    }
}

/// One JSON object on a line of standard output, with the name of the event first.
fn print_json(event: &'static str, content: &impl Serialize) {
    #[derive(Serialize)]
    struct Event<'a, T> {
        event: &'static str,
        #[serde(flatten)]
        content: &'a T,
    }
    print_line(&serde_json::to_string(&Event { event, content }).expect("plain fields are JSON"));
}

fn print_line(line: &str) {
    // A reader that went away does not undo what was sent.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// How the command talks while it works.
struct Voice {
    bar: ProgressBar,
    json: bool,
}

impl Voice {
    /// The bar hides itself when standard error is not a terminal.
    fn new(json: bool, bytes: Option<u64>) -> Self {
        let bar = match (json, bytes) {
            (true, _) => ProgressBar::hidden(),
            (false, Some(bytes)) => ProgressBar::new(bytes).with_style(
                ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {msg}  {elapsed} (left {eta})")
                    .expect("a valid template"),
            ),
            (false, None) => ProgressBar::new_spinner()
                .with_style(ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("a valid template")),
        };
        Self { bar, json }
    }

    fn advance(&self, bytes: u64, sent: u64) {
        self.bar.inc(bytes);
        self.bar.set_message(format!("{sent} sent"));
    }

    fn refuse(&self, problem: &Problem) {
        if self.json {
            print_json("refused", problem);
        } else {
            self.bar.suspend(|| eprintln!("line {}: {}", problem.line, problem.problem));
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
