//! `millrace migrate`: the ledger's tables.

use std::process::ExitCode;

use serde_json::json;

use super::{DONE, FAILED, failed, print_json};
use crate::config::Config;
use crate::inbox::sqs::Sqs;
use crate::ledger::{self, Binding, Ledger as _, Source};
use crate::order::Ordering;

/// Arguments of `millrace migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take the configured queue for the source of orders from now on, although the ledger knows another one
    #[arg(long)]
    pub accept_queue: bool,

    /// Who says so, for the record; with --accept-queue [default: $USER]
    #[arg(long, value_name = "NAME", requires = "accept_queue")]
    pub actor: Option<String>,

    /// JSON lines instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let ledger = match ledger::open(config) {
        Ok(ledger) => ledger,
        Err(error) => return failed("migrate", &error),
    };
    let steps = match ledger.migrate().await {
        Ok(steps) => steps,
        Err(error) => return failed("migrate", &error),
    };
    if args.json {
        print_json(&json!({ "event": "migrated", "steps": steps }));
    } else if steps == 0 {
        println!("The ledger is up to date.");
    } else {
        println!("The ledger took {steps} step{}.", if steps == 1 { "" } else { "s" });
    }
    if args.accept_queue { accept(config, args, &ledger).await } else { ExitCode::from(DONE) }
}

async fn accept(config: &Config, args: &Args, ledger: &impl ledger::Ledger) -> ExitCode {
    let actor = args.actor.clone().or_else(|| std::env::var("USER").ok()).filter(|actor| !actor.is_empty());
    let Some(actor) = actor else {
        return failed("migrate", &"who accepts the queue? Add --actor NAME");
    };
    let sqs = match Sqs::from_environment(&config.inbox).await {
        Ok(sqs) => sqs,
        Err(error) => return failed("migrate", &error),
    };
    let facts = match sqs.describe().await {
        Ok(facts) => facts,
        Err(error) => return failed("migrate", &error),
    };
    if config.inbox.ordering == Ordering::Fifo && !facts.fifo {
        return failed("migrate", &format!("inbox.ordering = fifo needs a FIFO queue, and {} is none", facts.arn));
    }
    let source = Source { ordering: config.inbox.ordering, queue_arn: facts.arn, queue_created_at: facts.created_at };
    match ledger.rebind(&source, &actor).await {
        Ok(Binding::Bound) if args.json => {
            print_json(&json!({ "event": "accepted", "queue_arn": source.queue_arn, "actor": actor }));
            ExitCode::from(DONE)
        }
        Ok(Binding::Bound) => {
            println!("Orders come from {} from now on; every mark begins anew.", source.queue_arn);
            ExitCode::from(DONE)
        }
        Ok(Binding::Pending(count)) => {
            eprintln!(
                "millrace migrate: {count} orders are parked or customers blocked, and their places belong to the \
                 queue before. Decide them first, then run this again."
            );
            ExitCode::from(FAILED)
        }
        Ok(Binding::Other(other)) => {
            failed("migrate", &format!("the ledger was given to {} meanwhile; run this again", other.queue_arn))
        }
        Err(error) => failed("migrate", &error),
    }
}
