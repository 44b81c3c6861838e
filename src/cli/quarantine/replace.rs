//! `millrace quarantine replace ID FILE`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::{Deciding, Told, connect};
use crate::cli::{MISUSED, failed};
use crate::config::Config;
use crate::ledger::Placed;
use crate::ledger::decisions::Decisions as _;
use crate::order::{Entry, Order, Ordering, Rank};

/// Arguments of `millrace quarantine replace`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The entry, by its name in the list
    id: String,

    /// The order that takes its place: a file with one order message
    file: PathBuf,

    #[command(flatten)]
    deciding: Deciding,
}

pub(super) async fn run(config: &Config, args: &Args) -> ExitCode {
    let actor = match args.deciding.actor() {
        Ok(actor) => actor,
        Err(code) => return code,
    };
    let file = args.file.display();
    let body = match std::fs::read_to_string(&args.file) {
        Ok(body) => body.trim().to_owned(),
        Err(error) => return failed("quarantine replace", &format!("{file}: {error}")),
    };
    let ordering = config.inbox.ordering;
    let order = match Order::decode(ordering, body) {
        Ok(order) => order,
        Err((rejection, _)) => {
            eprintln!("millrace quarantine replace: {file} is no order: {rejection}");
            return ExitCode::from(MISUSED);
        }
    };
    let name = order.order_id.to_string();
    // In `fifo` it takes the place of the entry, in `none` any.
    let rank = if ordering == Ordering::Gapless { Rank::from(order.sequence.unwrap_or(0)) } else { 0 };
    let order = Placed { rank, entry: Arc::new(Entry::Order(order)) };
    let decision = match connect(config).await {
        Ok(mut decisions) => decisions.replace(&args.id, &order, &actor).await,
        Err(error) => Err(error),
    };
    let told = Told {
        config,
        deciding: &args.deciding,
        actor: &actor,
        action: "replace",
        subject: args.id.clone(),
        done: format!("Order {name} is parked in the place of {}.", args.id),
        fields: json!({ "id": args.id, "order_id": name }),
    };
    told.say(decision)
}
