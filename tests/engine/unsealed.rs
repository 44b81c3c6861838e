//! The gate is open beside a backlog that is not sealed (I4), as after the restore of a snapshot: the worker holds, and
//! orders go neither way. A backlog that does not answer changes nothing.

use millrace::backlog::{self, Backlog as _, Session as _};
use millrace::order::Ordering;
use millrace::status::Route;
use millrace::window::Notice;

use super::bench::{Bench, Store};
use super::messages::orders;
use super::on_both_ledgers;

on_both_ledgers!(an_unsealed_backlog, a_backlog_that_does_not_answer);

async fn an_unsealed_backlog(store: Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("backlog.db").display());
    let mut bench = Bench::with(Ordering::Gapless, store, |config| config.backlog.url = Some(url)).await;
    let backlog = backlog::open(&bench.config).unwrap().unwrap();
    backlog.migrate().await.unwrap();
    let mut operator = backlog.connect().await.unwrap();
    assert!(operator.start_spooling(1, &Notice::default()).await.unwrap());

    let bodies = orders(10, 5);
    bench.send(&bodies).await;
    let worker = bench.start();
    worker.until("it holds", |status| matches!(status.route, Route::Hold | Route::Probing)).await;
    let reason = worker.status.borrow().route_reason.clone().unwrap();
    assert!(reason.contains("is not sealed"), "{reason}");
    let probes = worker.status.borrow().requests.sql;
    worker
        .until("it has probed some more", |status| {
            assert_ne!(status.route, Route::Spool, "it spools beside an open gate");
            status.requests.sql >= probes + 5
        })
        .await;
    assert_eq!(operator.depth().await.unwrap().appended, 0);
    assert_eq!(bench.number("SELECT count(*) FROM orders").await, 0);

    assert!(operator.announce_seal(1, 0).await.unwrap());
    assert!(operator.seal(1, 0).await.unwrap());
    assert!(operator.sealed(1).await.unwrap());
    bench.finished(bodies.len()).await;
    worker.stop().await;
    bench.is_clean(bodies.len()).await;
}

async fn a_backlog_that_does_not_answer(store: Store) {
    // Nobody listens at port 1.
    let url = "postgres://nobody@127.0.0.1:1/backlog".to_owned();
    let mut bench = Bench::with(Ordering::Gapless, store, |config| config.backlog.url = Some(url)).await;
    let bodies = orders(10, 5);
    bench.send(&bodies).await;
    let worker = bench.start();
    bench.finished(bodies.len()).await;
    worker.stop().await;
    bench.is_clean(bodies.len()).await;
}
