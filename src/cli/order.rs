//! `millrace order ID`: where an order is.

use std::process::ExitCode;

use super::{DONE, FAILED, failed, print_json, table};
use crate::config::Config;
use crate::ledger::report::{OrderReport, Reader};

/// Arguments of `millrace order`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The order's `order_id`, or a name in quarantine
    pub id: String,

    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command: 1 when the ledger does not know the order.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let report = match Reader::open(config).await {
        Ok(mut reader) => reader.order(&args.id).await,
        Err(error) => Err(error),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return failed("order", &error),
    };
    let is_known = report.is_known();
    if args.json {
        print_json(&report);
    } else if is_known {
        print(report);
    } else {
        eprintln!("The ledger does not know order {}: it may be in the queue, or it was never sent.", args.id);
    }
    ExitCode::from(if is_known { DONE } else { FAILED })
}

fn print(report: OrderReport) {
    println!("order {}", report.order_id);
    let mut facts = Vec::new();
    if let Some(order) = report.committed {
        facts.extend([
            ("committed", order.committed_at),
            ("customer", order.customer_id),
            ("position", order.position),
            ("total", format!("{} {} (minor units), {} lines", order.total_minor, order.currency, order.lines)),
            ("placed", order.placed_at),
            ("event", order.published_at.map_or_else(|| "not published yet".into(), |at| format!("published {at}"))),
        ]);
    }
    if let Some(parked) = report.parked {
        facts.extend([("parked", parked.parked_at), ("customer", parked.customer_id), ("place", parked.rank)]);
    }
    if let Some(tombstone) = report.tombstone {
        facts.extend([
            ("skipped", format!("{} by {}: {}", tombstone.created_at, tombstone.actor, tombstone.reason)),
            ("customer", tombstone.customer_id),
            ("position", tombstone.position),
        ]);
    }
    for quarantined in report.quarantined {
        facts.extend([
            ("in quarantine", format!("{} as {}", quarantined.created_at, quarantined.id)),
            ("why", format!("{}: {}", quarantined.kind, quarantined.reason)),
            ("customer", quarantined.customer_id.unwrap_or_else(|| "unknown".into())),
            ("decide", format!("millrace quarantine show '{}'", quarantined.id)),
        ]);
    }
    println!("{}", table::facts(facts));
}
