//! A deployment that is broken: the engine holds and says so, and blames no order.

use millrace::order::Ordering;
use millrace::status::{Route, Status};

use super::bench::{Bench, Store};
use super::effects::reserve_stock;
use super::messages::order_of;
use super::on_both_ledgers;

on_both_ledgers!(table_of_the_effects_is_gone, table_is_not_there_at_the_start);

fn apples(sequences: std::ops::RangeInclusive<u64>) -> Vec<String> {
    sequences.map(|sequence| order_of("ada", sequence, &[("sku-00", 1)])).collect()
}

fn is_broken(status: &Status) -> bool {
    let said = status.last_errors.iter().any(|error| error.from == "ledger" && error.class == "broken");
    said && matches!(status.route, Route::Hold | Route::Probing)
}

async fn table_of_the_effects_is_gone(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    reserve_stock(&mut bench, 1, 100).await;
    bench.send(&apples(1..=10)).await;
    let worker = bench.start();
    bench.finished(10).await;
    bench.run("ALTER TABLE stock RENAME TO elsewhere").await;
    bench.send(&apples(11..=20)).await;
    worker.until("it holds and says why", is_broken).await;
    assert_eq!(bench.quarantined().await, []);
    bench.run("ALTER TABLE elsewhere RENAME TO stock").await;
    bench.finished(20).await;
    worker.until("it goes on", |status| status.route == Route::Direct).await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    assert_eq!(bench.number("SELECT available FROM stock").await, 80);
    bench.is_clean(20).await;
}

async fn table_is_not_there_at_the_start(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    reserve_stock(&mut bench, 1, 100).await;
    bench.run("ALTER TABLE stock RENAME TO elsewhere").await;
    bench.send(&apples(1..=10)).await;
    let worker = bench.start();
    worker.until("it holds and says why", is_broken).await;
    assert_eq!(bench.number("SELECT count(*) FROM orders").await, 0);
    // In one step, with what is in it: the engine tries again all the while.
    bench.run("ALTER TABLE elsewhere RENAME TO stock").await;
    bench.finished(10).await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    assert_eq!(bench.number("SELECT available FROM stock").await, 90);
    bench.is_clean(10).await;
}
