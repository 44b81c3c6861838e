//! `millrace migrate`: the tables of the ledger, and of the backlog where there is one.

use std::process::ExitCode;

use serde_json::json;

use super::{DONE, FAILED, actor, failed, print_json};
use crate::backlog::{self, Backlog as _};
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

/// Runs the command. One database that is away does not keep the other one from its steps.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let (ledger, backlog) = match (ledger::open(config), backlog::open(config)) {
        (Ok(ledger), Ok(backlog)) => (ledger, backlog),
        (Err(error), _) => return failed("migrate", &error),
        (_, Err(error)) => return failed("migrate", &error),
    };
    let mut done = told(args, "ledger", ledger.migrate().await);
    if let Some(backlog) = backlog {
        done &= told(args, "backlog", backlog.migrate().await);
    }
    match done {
        true if args.accept_queue => accept(config, args, &ledger).await,
        true => ExitCode::from(DONE),
        false => ExitCode::from(FAILED),
    }
}

/// Says what came of one store; false when nothing did.
fn told(args: &Args, store: &str, steps: Result<usize, impl std::fmt::Display>) -> bool {
    match steps {
        Ok(steps) if args.json => print_json(&json!({ "event": "migrated", "store": store, "steps": steps })),
        Ok(0) => println!("The {store} is up to date."),
        Ok(steps) => println!("The {store} took {steps} step{}.", if steps == 1 { "" } else { "s" }),
        Err(error) => {
            eprintln!("millrace migrate: {error}");
            return false;
        }
    }
    true
}

async fn accept(config: &Config, args: &Args, ledger: &impl ledger::Ledger) -> ExitCode {
    let Some(actor) = actor(args.actor.as_deref()) else {
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
