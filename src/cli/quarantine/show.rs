//! `millrace quarantine show ID`.

use std::process::ExitCode;

use super::{connect, unknown};
use crate::cli::{DONE, failed, print_json, table};
use crate::config::Config;
use crate::ledger::decisions::{Decisions as _, Shown};

/// Arguments of `millrace quarantine show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The entry, by its name in the list
    id: String,

    /// Nothing but the message body, as it came
    #[arg(long, conflicts_with = "json")]
    body: bool,

    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &Args) -> ExitCode {
    let shown = match connect(config).await {
        Ok(mut decisions) => decisions.show(&args.id).await,
        Err(error) => Err(error),
    };
    match shown {
        Ok(Some(shown)) if args.json => print_json(&shown),
        Ok(Some(shown)) if args.body => println!("{}", shown.body),
        Ok(Some(shown)) => print(shown),
        Ok(None) => return unknown(&args.id, args.json),
        Err(error) => return failed("quarantine show", &error),
    }
    ExitCode::from(DONE)
}

fn print(Shown { listed, body }: Shown) {
    println!("{}", listed.id);
    let none = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    let blocks = if listed.blocks { "its customer: nothing of it commits until you decide" } else { "nobody" };
    println!(
        "{}\n\n{body}\n",
        table::facts([
            ("order", none(listed.order_id)),
            ("customer", none(listed.customer_id)),
            ("place", listed.rank.unwrap_or_else(|| "none".into())),
            ("since", listed.created_at),
            ("why", format!("{}: {}", listed.kind, listed.reason)),
            ("blocks", blocks.into()),
            ("parked of its customer", listed.parked_behind.to_string()),
        ])
    );
    let id = &listed.id;
    println!("Repaired what it failed by?   millrace quarantine retry '{id}'");
    println!("Another order in its place?   millrace quarantine replace '{id}' FILE");
    println!("Give it up?                   millrace quarantine skip '{id}' --reason TEXT");
}
