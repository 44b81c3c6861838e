//! `millrace verify`: the verdict over a ledger.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{DONE, FAILED, failed, print_json};
use crate::config::Config;
use crate::order::Ordering;
use crate::verify::{Question, Report, Sequence, verify};

/// Arguments of `millrace verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What was sent: JSON lines of orders, the file that was given to `millrace submit`
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// JSON lines instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let question = Question {
        url: config.ledger.reader_url.as_ref().unwrap_or(&config.ledger.url).clone(),
        sequence: match config.inbox.ordering {
            Ordering::Gapless => Sequence::Gapless,
            Ordering::Fifo => Sequence::Fifo,
            Ordering::None => Sequence::None,
        },
        manifest: args.manifest.clone(),
    };
    let report = match verify(&question).await {
        Ok(report) => report,
        Err(error) => return failed("verify", &error),
    };
    if args.json {
        for finding in &report.findings {
            print_json(&json!({ "event": "finding", "finding": finding }));
        }
        print_json(&json!({ "event": "verified", "clean": report.is_clean(), "report": report }));
    } else {
        print(&report, question.sequence);
    }
    ExitCode::from(if report.is_clean() { DONE } else { FAILED })
}

fn print(report: &Report, promised: Sequence) {
    for finding in &report.findings {
        println!("{}: {}", finding.rule.title(), finding.count);
        for example in &finding.examples {
            println!("  {example}");
        }
        if finding.count > finding.examples.len() as u64 {
            println!("  …");
        }
    }
    if let Some(facts) = report.manifest {
        println!(
            "manifest: {} orders, {} lines repeat one, {} lines are no orders",
            facts.orders, facts.repeated, facts.malformed
        );
    } else if promised == Sequence::Fifo {
        println!("order was not judged: in fifo the order of sending is known from --manifest FILE alone");
    }
    if promised == Sequence::None {
        println!("order was not judged: inbox.ordering = none promises none");
    }
    for (count, what) in [
        (report.parked, "orders are parked: they wait for a predecessor, or their customer is blocked"),
        (report.blocked, "customers are blocked by an order in quarantine"),
        (report.tombstones, "positions were left empty by an operator"),
    ] {
        if count > 0 {
            println!("{count} {what}");
        }
    }
    println!("{report}");
}
