//! `millrace-history FOLDER [--json]`: judges the history of a run in which everything went wrong that can.
//!
//! The folder has what the producer sent, what was done to the run, what each worker process logged, and what the
//! databases and the queue held in the end; FORMAT.md says how, and what the rules are. Nothing here comes from the
//! engine: own types, own parsing, own arithmetic, so that a mistake would have to be made twice. Not even `verify`
//! is used, which judges a ledger alone.
//!
//! A run in which too little happened is void, not green. Exit code 0: ok; 1: a rule is violated; 2: the folder
//! cannot be read as FORMAT.md says, or wrong use; 3: void.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence::Evidence;
use folder::{History, Wrong};
use guards::Seen;
use quarantine::Quarantine;
use report::Report;
use sent::Source;
use windows::Windows;

mod chain;
mod ends;
mod evidence;
mod folder;
mod guards;
mod line;
mod quarantine;
mod report;
mod rows;
mod sent;
mod sequence;
mod waits;
mod windows;
mod worker;

const USAGE: &str = "usage: millrace-history FOLDER [--json]";

fn main() -> ExitCode {
    let (options, folders): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let ([folder], true) = (&folders[..], options.iter().all(|option| option == "--json")) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match judge(Path::new(folder)) {
        Ok(report) => {
            if options.is_empty() {
                print!("{report}");
            } else {
                println!("{}", report.json());
            }
            report.verdict().exit_code()
        }
        Err(wrong) => {
            eprintln!("millrace-history: {wrong}");
            ExitCode::from(2)
        }
    }
}

fn judge(folder: &Path) -> Result<Report, Wrong> {
    let history = History::read(folder)?;
    let source = Source::of(&history.sent)?;
    let mut evidence = Evidence::default();
    let mut windows = Windows::of(&history)?;
    let mut quarantine = Quarantine::new(&source);
    let mut seen = Seen::new(&source);
    let logs: Vec<PathBuf> = folder::worker_logs(folder)?;
    for log in &logs {
        evidence.next_process();
        seen.next_process();
        worker::read(log, |place, role, deed| {
            evidence.saw(place, role, deed);
            windows.saw(place, role, deed);
            quarantine.saw(place, deed);
            seen.saw(role, deed);
        })?;
    }
    let (waits, undisturbed) = waits::judge(&history, &source);
    let rules = vec![
        ends::judge(&history, &source),
        sequence::judge(&history, &source),
        chain::judge(&history, &source),
        rows::judge(&history),
        evidence.judge(),
        windows.judge(&history),
        quarantine.judge(&history),
        waits,
    ];
    let (guards, void) = seen.judge(&history, undisturbed);
    Ok(Report::new(rules, guards, void))
}
