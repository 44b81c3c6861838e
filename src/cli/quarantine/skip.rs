//! `millrace quarantine skip`.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::{Deciding, Told, connect};
use crate::config::Config;
use crate::ledger::decisions::{Decision, Decisions as _};
use crate::ledger::{LedgerError, any::AnyDecisions};
use crate::order::CustomerId;

/// Arguments of `millrace quarantine skip`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The entry, by its name in the list
    #[arg(required_unless_present = "customer", conflicts_with_all = ["customer", "sequence"])]
    id: Option<String>,

    /// Instead of an entry: the customer whose next number never comes
    #[arg(long, value_name = "ID", requires = "sequence")]
    customer: Option<String>,

    /// That number
    #[arg(long, value_name = "N", requires = "customer", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,

    #[command(flatten)]
    deciding: Deciding,
}

pub(super) async fn run(config: &Config, args: &Args) -> ExitCode {
    let actor = match args.deciding.actor() {
        Ok(actor) => actor,
        Err(code) => return code,
    };
    let decision = match connect(config).await {
        Ok(mut decisions) => decide(&mut decisions, args, &actor).await,
        Err(error) => Err(error),
    };
    let (subject, done, fields) = match (&args.id, &args.customer, args.sequence) {
        (None, Some(customer), Some(sequence)) => (
            format!("sequence {sequence} of customer {customer}"),
            format!("Sequence {sequence} of customer {customer} stays empty."),
            json!({ "customer_id": customer, "sequence": sequence, "reason": args.reason }),
        ),
        (id, ..) => {
            let id = id.clone().unwrap_or_default();
            let done = format!("{id} left quarantine; if it blocked its customer, its place stays empty.");
            (id.clone(), done, json!({ "id": id, "reason": args.reason }))
        }
    };
    let told = Told { config, deciding: &args.deciding, actor: &actor, action: "skip", subject, done, fields };
    told.say(decision)
}

async fn decide(decisions: &mut AnyDecisions, args: &Args, actor: &str) -> Result<Decision, LedgerError> {
    match (&args.id, &args.customer, args.sequence) {
        (Some(id), ..) => decisions.skip(id, &args.reason, actor).await,
        (None, Some(customer), Some(sequence)) => {
            decisions.skip_gap(&CustomerId::new(customer.as_str()), sequence, &args.reason, actor).await
        }
        // clap lets nothing else pass.
        (None, ..) => Ok(Decision::Unknown),
    }
}
