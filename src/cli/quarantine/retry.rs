//! `millrace quarantine retry ID`.

use std::process::ExitCode;

use serde_json::json;

use super::{Deciding, Told, connect};
use crate::config::Config;
use crate::ledger::decisions::Decisions as _;

/// Arguments of `millrace quarantine retry`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The entry, by its name in the list
    id: String,

    #[command(flatten)]
    deciding: Deciding,
}

pub(super) async fn run(config: &Config, args: &Args) -> ExitCode {
    let actor = match args.deciding.actor() {
        Ok(actor) => actor,
        Err(code) => return code,
    };
    let decision = match connect(config).await {
        Ok(mut decisions) => decisions.retry(&args.id, &actor).await,
        Err(error) => Err(error),
    };
    let told = Told {
        config,
        deciding: &args.deciding,
        actor: &actor,
        action: "retry",
        subject: args.id.clone(),
        done: format!("{} is parked at its place, and is tried again.", args.id),
        fields: json!({ "id": args.id }),
    };
    told.say(decision)
}
