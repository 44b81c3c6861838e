//! Watching the ledger: how far it is, and how long single orders took until they were seen there.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::send::Departure;
use crate::ledger::LedgerError;
use crate::ledger::bench::{SAMPLES_MAX, Watch};

/// How often the ledger is asked for the orders that are watched: so fine is what is said of latency.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// How often it is asked how far it is.
const PROGRESS: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// From sending to being seen in the ledger, of each order that was watched.
    pub latencies: Vec<Duration>,
    /// From the beginning, which is that of the sending, until the last order was seen to be committed.
    pub took: Duration,
}

/// Watches until `orders` are committed that were not at event `base`. Gives up when nothing is committed for
/// `patience`.
pub(super) async fn until(
    orders: u64,
    base: u64,
    mut ledger: Watch,
    mut departures: mpsc::Receiver<Departure>,
    patience: Duration,
    mut progress: impl FnMut(u64),
) -> Result<Seen, String> {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched: HashMap<String, Instant> = HashMap::new();
    let mut latencies = Vec::new();
    let begun = Instant::now();
    let (mut asked_at, mut moved_at, mut newest) = (begun, begun, base);
    loop {
        tick.tick().await;
        while watched.len() < SAMPLES_MAX
            && let Ok(Departure { order_id, at }) = departures.try_recv()
        {
            watched.insert(order_id, at);
        }
        // What was waiting for room is old news by now: its place is for what is sent from now on.
        while departures.try_recv().is_ok() {}
        if !watched.is_empty() {
            let names: Vec<String> = watched.keys().cloned().collect();
            let there = ledger.there(&names).await.map_err(told)?;
            let now = Instant::now();
            latencies.extend(there.iter().filter_map(|name| watched.remove(name)).map(|at| now - at));
        }
        if asked_at.elapsed() < PROGRESS {
            continue;
        }
        asked_at = Instant::now();
        let event = ledger.newest_event().await.map_err(told)?;
        if event > newest {
            (newest, moved_at) = (event, asked_at);
            progress((event - base).min(orders));
        }
        // Numbers are left out where a commit was rolled back, so what counts is counted.
        let there = if event - base >= orders { ledger.committed_after(base).await.map_err(told)? } else { 0 };
        if there >= orders {
            return Ok(Seen { latencies, took: moved_at - begun });
        }
        if moved_at.elapsed() > patience {
            let there = ledger.committed_after(base).await.map_err(told)?;
            return Err(format!(
                "{there} of {orders} orders are committed, and none was for {patience:?}: millrace status, millrace quarantine list"
            ));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn told(error: LedgerError) -> String {
    error.to_string()
}
