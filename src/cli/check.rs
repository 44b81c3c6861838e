//! `millrace check`: what is wrong, and what to do about it.

use std::process::ExitCode;

use super::preflight::{Finding, State, permissions, preflight};
use super::{DONE, FAILED, print_json, table};
use crate::config::Config;

/// Arguments of `millrace check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON lines instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command: 1 when anything fails.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let preflight = preflight(config).await;
    let mut findings = preflight.findings;
    if preflight.queue.is_some() {
        findings.extend(permissions(config).await);
    }
    if args.json {
        findings.iter().for_each(print_json);
    } else {
        print(&findings);
    }
    let fails = findings.iter().any(|finding| finding.state == State::Fail);
    ExitCode::from(if fails { FAILED } else { DONE })
}

fn print(findings: &[Finding]) {
    let mut rows = table::with_head(["what", "state", "found", "what to do"]);
    for finding in findings {
        rows.add_row([finding.what, finding.state.label(), &finding.found, &finding.remedy]);
    }
    println!("{rows}");
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    println!("\n{} ok, {} warnings, {} failures", count(State::Ok), count(State::Warn), count(State::Fail));
}
