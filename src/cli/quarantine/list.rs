//! `millrace quarantine list`.

use std::process::ExitCode;

use super::connect;
use crate::cli::{DONE, failed, print_json, table};
use crate::config::Config;
use crate::ledger::decisions::{Decisions as _, Listed};

/// How much of a reason a table shows; `show` has all of it.
const REASON_MAX: usize = 120;

/// Arguments of `millrace quarantine list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The most entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// Those after this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,

    /// JSON lines instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &Args) -> ExitCode {
    let listed = match connect(config).await {
        Ok(mut decisions) => decisions.list(args.after.as_deref(), args.limit).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(listed) if args.json => listed.iter().for_each(print_json),
        Ok(listed) if listed.is_empty() => println!("Nothing is in quarantine."),
        Ok(listed) => print(&listed, args.limit),
        Err(error) => return failed("quarantine list", &error),
    }
    ExitCode::from(DONE)
}

fn print(listed: &[Listed], limit: u32) {
    let mut rows = table::with_head(["id", "customer", "place", "since", "blocks", "why"]);
    for entry in listed {
        let blocks = match (entry.blocks, entry.parked_behind) {
            (false, _) => "nobody".to_owned(),
            (true, 0) => "its customer".to_owned(),
            (true, parked) => format!("its customer, {parked} parked behind it"),
        };
        rows.add_row([
            entry.id.clone(),
            entry.customer_id.clone().unwrap_or_else(|| "unknown".into()),
            entry.rank.clone().unwrap_or_else(|| "none".into()),
            entry.created_at.clone(),
            blocks,
            format!("{}: {}", entry.kind, short(&entry.reason)),
        ]);
    }
    println!("{rows}\n");
    if let Some(last) = listed.last().filter(|_| listed.len() == limit as usize) {
        println!("There may be more: millrace quarantine list --after '{}'", last.id);
    }
    if let Some(first) = listed.iter().find(|entry| entry.blocks).or(listed.first()) {
        println!("Look at one: millrace quarantine show '{}'", first.id);
        println!("Then decide: millrace quarantine retry ID | replace ID FILE | skip ID --reason TEXT");
    }
}

fn short(reason: &str) -> String {
    if reason.chars().count() <= REASON_MAX {
        return reason.to_owned();
    }
    reason.chars().take(REASON_MAX - 1).chain(['…']).collect()
}
