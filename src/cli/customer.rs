//! `millrace customer ID`: where a customer stands.

use std::process::ExitCode;

use super::{DONE, FAILED, failed, print_json, table};
use crate::config::Config;
use crate::ledger::report::{CustomerReport, Reader};
use crate::order::Ordering;

/// Arguments of `millrace customer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `customer_id`
    pub id: String,

    /// JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Runs the command: 1 when the ledger does not know the customer.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let ordering = config.inbox.ordering;
    let report = match Reader::open(config).await {
        Ok(mut reader) => reader.customer(ordering, &args.id).await,
        Err(error) => Err(error),
    };
    match report {
        Ok(Some(report)) => {
            if args.json {
                print_json(&report);
            } else {
                print(report, ordering);
            }
            ExitCode::from(DONE)
        }
        Ok(None) => {
            if args.json {
                print_json(&serde_json::json!({ "customer_id": args.id, "known": false }));
            } else {
                eprintln!("The ledger does not know customer {}: none of its orders has come yet.", args.id);
            }
            ExitCode::from(FAILED)
        }
        Err(error) => failed("customer", &error),
    }
}

fn print(report: CustomerReport, ordering: Ordering) {
    println!("customer {}", report.customer_id);
    let mut facts = vec![("last position", report.last_position.to_string())];
    if ordering == Ordering::Fifo {
        facts.push(("mark", report.mark));
    }
    facts.push(("parked", report.parked_count.to_string()));
    if let Some(number) = report.waits_for {
        facts.push(("waits for", format!("sequence {number}, which has not come")));
        let skip = format!("millrace quarantine skip --customer '{}' --sequence {number}", report.customer_id);
        facts.push(("if it never comes", format!("{skip} --reason TEXT")));
    }
    match &report.blocked_by {
        Some(blocked) => {
            facts.push(("blocked by", format!("{} since {}", blocked.id, blocked.created_at)));
            facts.push(("why", format!("{}: {}", blocked.kind, blocked.reason)));
            facts.push(("decide", format!("millrace quarantine show '{}'", blocked.id)));
        }
        None => facts.push(("blocked by", "nothing".into())),
    }
    println!("{}", table::facts(facts));
    if !report.parked.is_empty() {
        let mut rows = table::with_head(["place", "order", "parked since", "is"]);
        for parked in report.parked {
            let is = parked.malformed.map_or_else(|| "an order".into(), |reason| format!("malformed: {reason}"));
            rows.add_row([parked.rank, parked.order_id, parked.parked_at, is]);
        }
        println!("\nparked, first ones first\n{rows}");
    }
    if !report.tombstones.is_empty() {
        let mut rows = table::with_head(["position", "order", "by", "when", "why"]);
        for tombstone in report.tombstones {
            let order = tombstone.order_id.unwrap_or_else(|| "unknown".into());
            rows.add_row([tombstone.position, order, tombstone.actor, tombstone.created_at, tombstone.reason]);
        }
        println!("\nleft empty by an operator, last ones first\n{rows}");
    }
}
