//! `millrace quarantine`: what waits for a person, and what the person decides.

use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use super::{DONE, FAILED, MISUSED, actor, failed, print_json};
use crate::config::Config;
use crate::ledger::decisions::Decision;
use crate::ledger::{AnyLedger, Ledger as _, LedgerError, any::AnyDecisions, open};

mod list;
mod replace;
mod retry;
mod show;
mod skip;

const AFTER: &str = "Every decision is written down in the table `decisions`, with the entry as it was.\n\
    Each may be given again: what was decided before is said, and nothing is done twice.";

/// Arguments of `millrace quarantine`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is in quarantine, the oldest first
    List(list::Args),
    /// Show an entry with its body
    Show(show::Args),
    /// Try an entry again as it is, once what made it fail is repaired
    Retry(retry::Args),
    /// Put another order in the place of an entry
    Replace(replace::Args),
    /// Give an entry up, or a number that never comes, so that what waits behind it goes on
    Skip(skip::Args),
}

/// Runs the command: 1 when the entry is not there, or the decision cannot be taken.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    match &args.command {
        Command::List(args) => list::run(config, args).await,
        Command::Show(args) => show::run(config, args).await,
        Command::Retry(args) => retry::run(config, args).await,
        Command::Replace(args) => replace::run(config, args).await,
        Command::Skip(args) => skip::run(config, args).await,
    }
}

/// Who decides, and how it is answered: the same for every decision.
#[derive(Debug, clap::Args)]
struct Deciding {
    /// Who decides, for the record [default: $USER]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    actor: Option<String>,

    /// A JSON line instead of a sentence
    #[arg(long)]
    json: bool,
}

impl Deciding {
    fn actor(&self) -> Result<String, ExitCode> {
        actor(self.actor.as_deref()).ok_or_else(|| {
            eprintln!("millrace quarantine: who decides? Add --actor NAME");
            ExitCode::from(MISUSED)
        })
    }
}

/// A connection for decisions.
async fn connect(config: &Config) -> Result<AnyDecisions, LedgerError> {
    let ledger: AnyLedger = open(config)?;
    ledger.decisions().await
}

/// What a decision was about, in words and in fields.
struct Told<'a> {
    config: &'a Config,
    deciding: &'a Deciding,
    actor: &'a str,
    action: &'static str,
    /// What it was about, as the subject of a sentence.
    subject: String,
    /// What is done now.
    done: String,
    fields: Value,
}

impl Told<'_> {
    /// Says what came of it.
    fn say(&self, decision: Result<Decision, LedgerError>) -> ExitCode {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                eprintln!("millrace quarantine {}: {error}", self.action);
                eprintln!("Nothing is done twice: run it again.");
                return ExitCode::from(FAILED);
            }
        };
        let sweep = self.config.ledger.sweep;
        let (word, sentence) = match decision {
            Decision::Done => {
                let next = format!("A running engine finds what goes on now within ledger.sweep = {sweep:?}.");
                ("done", format!("{}\n{next}", self.done))
            }
            Decision::Before(how) => ("before", format!("Nothing to do: {} was {how}.", self.subject)),
            Decision::Unknown => ("unknown", format!("{} is not in quarantine, and never was.", self.subject)),
            Decision::GateClosed => (
                "gate_closed",
                "The ledger's gate is closed for a maintenance window. Decide once its drain has begun, or when it is \
                 open again; `millrace maintenance status` says where it stands."
                    .to_owned(),
            ),
            Decision::Refused(why) => ("refused", format!("Not done: {why}.")),
        };
        let is_done = matches!(word, "done" | "before");
        if self.deciding.json {
            let mut line = json!({ "event": self.action, "outcome": word, "said": sentence, "actor": self.actor });
            if let (Some(line), Some(fields)) = (line.as_object_mut(), self.fields.as_object()) {
                line.extend(fields.clone());
            }
            print_json(&line);
        } else if is_done {
            println!("{sentence}");
        } else {
            eprintln!("millrace quarantine {}: {sentence}", self.action);
        }
        ExitCode::from(if is_done { DONE } else { FAILED })
    }
}

/// An entry that is not there.
fn unknown(id: &str, as_json: bool) -> ExitCode {
    if as_json {
        print_json(&json!({ "id": id, "known": false }));
        return ExitCode::from(FAILED);
    }
    failed("quarantine", &format!("{id} is not in quarantine; `millrace quarantine list` says what is"))
}
