//! Two drains at once over real stores, with everything in the backlog that a drain has to judge: it is written once
//! and in order, and what cannot be is judged at its place.

use std::sync::Arc;
use std::time::Duration;

use millrace::backlog::{self, AnyBacklog, Append, Backlog as _, Session as _, Spooled};
use millrace::core::Settings;
use millrace::engine::{Broken, Engine, Role};
use millrace::inbox::backlog::BacklogInbox;
use millrace::ledger::{self, Ledger as _};
use millrace::locks::local::LocalLocks;
use millrace::order::{Entry, Ordering, Rank};
use millrace::status::pulse::Pulse;
use millrace::status::{LocksState, Status};
use millrace::window::Notice;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, SOON, Store};
use super::effects::reserve_stock;
use super::messages::{customer, order_of, with};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::eventually;

on_both_ledgers!(two_drains_at_once);

const STOCK: u64 = 1_000;
const CUSTOMERS: usize = 20;
const EACH: u64 = 20;

async fn two_drains_at_once(store: Store) {
    let mut random = Random::seeded();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("backlog.db").display());
    let mut bench = Bench::with(Ordering::Gapless, store, |config| config.backlog.url = Some(url)).await;
    reserve_stock(&mut bench, 2, STOCK).await;
    let backlog = backlog::open(&bench.config).unwrap().unwrap();
    backlog.migrate().await.unwrap();
    let mut operator = backlog.connect().await.unwrap();
    bench.run("UPDATE gate_announced SET epoch = 1").await;
    bench.run("UPDATE gate SET state = 'DRAINING', epoch = 1").await;
    assert!(operator.start_spooling(1, &Notice::default()).await.unwrap());

    let line = |name: &str, sequence| order_of(name, sequence, &[("sku-01", 1)]);
    let mut bodies: Vec<String> =
        (0..CUSTOMERS).flat_map(|number| (1..=EACH).map(move |sequence| line(&customer(number), sequence))).collect();
    // Ada's second order wants more than there is; what follows it has to wait for a person.
    bodies.extend([1, 3, 4, 5].map(|sequence| line("ada", sequence)));
    bodies.push(order_of("ada", 2, &[("sku-00", STOCK + 1)]));
    bodies.push(with(&line(&customer(0), 3), "currency", "USD".into()));
    bodies.push("no order".into());
    random.shuffle(&mut bodies);
    let count = bodies.len() as u64;
    let spooled: Vec<Spooled> = bodies.into_iter().enumerate().map(spooled).collect();
    let appended = operator.append(1, &spooled).await.unwrap();
    assert!(matches!(appended, Append::Spooled(_)), "{appended:?}");
    assert_eq!(operator.depth().await.unwrap().rows, count);

    let stop = CancellationToken::new();
    let drains = [drain(&bench, &backlog, &stop), drain(&bench, &backlog, &stop)];
    eventually("the backlog is empty", SOON, || async {
        backlog.connect().await.unwrap().depth().await.unwrap().rows == 0
    })
    .await;
    stop.cancel();
    for drain in drains {
        drain.await.unwrap().unwrap();
    }

    for name in (0..CUSTOMERS).map(customer) {
        let line: Vec<String> = (1..=EACH).map(|sequence| format!("{name}-{sequence}")).collect();
        assert_eq!(bench.committed(&name).await, line);
    }
    assert_eq!(bench.committed("ada").await, ["ada-1"]);
    assert_eq!(bench.parked("ada").await, ["ada-3", "ada-4", "ada-5"]);
    let mut judged: Vec<(String, i64)> =
        bench.quarantined().await.into_iter().map(|entry| (entry.kind, entry.blocks)).collect();
    judged.sort();
    assert_eq!(judged, [("conflict".into(), 0), ("malformed".into(), 0), ("poison".into(), 1)]);
    // The effects too: each once.
    let taken = CUSTOMERS as u64 * EACH + 1;
    let left = i64::try_from(STOCK - taken).unwrap();
    assert_eq!(bench.number("SELECT available FROM stock WHERE sku = 'sku-01'").await, left);
    assert_eq!(bench.number("SELECT count(*) FROM order_events").await, i64::try_from(taken).unwrap());
}

fn spooled((number, body): (usize, String)) -> Spooled {
    let message_id = format!("m-{number}");
    let entry = Entry::from_message(Ordering::Gapless, &message_id, None, body);
    let rank = match &entry {
        Entry::Order(order) => order.sequence.map_or(0, Rank::from),
        Entry::Malformed(_) => 0,
    };
    Spooled { rank, entry: Arc::new(entry), message_id, sent_at_ms: None }
}

/// A drain as a worker runs it, but without asking for the lease.
fn drain(
    bench: &Bench,
    backlog: &AnyBacklog,
    stop: &CancellationToken,
) -> JoinHandle<Result<millrace::core::Report, Broken>> {
    let settings = Settings::of_drain(&bench.config);
    let (status, _) = watch::channel(Status::starting(Ordering::Gapless, LocksState::Local));
    let engine = Engine {
        inbox: BacklogInbox::new(backlog.clone(), Ordering::Gapless, 5, settings.receive_bytes),
        locks: LocalLocks::new(),
        ledger: ledger::open(&bench.config).unwrap().draining(1),
        backlog: None::<AnyBacklog>,
        unbound: None,
        role: Role::Drain,
        pulse: Pulse::new(settings.committers, Duration::MAX),
        settings,
        seed: 1,
        status,
    };
    tokio::spawn(engine.run(stop.clone()))
}
