//! Group commits in `gapless` mode.

use millrace::ledger::{Batch, ErrorClass, Ledger, Session, Verdict};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::{Bench, batch, committed};
use super::orders::{decoded, named, order, orders, other_content, poison, run};
use crate::probe::Probe;

pub(crate) async fn a_first_run_is_written_whole<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.commit_one(&orders("ada", 1, 3)).await, committed(3, 0));
    assert_eq!(bench.commit_one(&[order("ada", 4)]).await, committed(4, 0));
    assert_eq!(bench.line("ada").await, ["ada-1", "ada-2", "ada-3", "ada-4"]);
    let events = "SELECT order_id FROM order_events WHERE published_at IS NULL ORDER BY event_id";
    assert_eq!(bench.column(events).await, ["ada-1", "ada-2", "ada-3", "ada-4"]);
    let lines =
        bench.probe.rows("SELECT order_id, line_number, sku, quantity, unit_price_minor FROM order_lines").await;
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0][1..], ["1", "bolt", "2", "250"].map(|text| Some(text.to_owned())));
    let now = bench.column("SELECT order_id FROM orders WHERE committed_at IS NULL OR digest IS NULL").await;
    assert!(now.is_empty());
}

pub(crate) async fn content_is_kept_as_it_came<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let line = r#"{"sku":"b\u00f6lt \"x\" \\ 'q' 🧭\u0001","quantity":1,"unit_price_minor":9223372036854775806}"#;
    let one = r#"{"sku":"123","quantity":1,"unit_price_minor":1}"#;
    let body = format!(
        "{{\"order_id\":\"a:1\",\"customer_id\":\"007\", \"sequence\":1,\r\n\t\"placed_at\":\"2026-11-22T11:00:00.123456+01:00\",
         \"currency\":\"JPY\",\"lines\":[{line},{one}],\"note\":{{\"x\":[1.50,null,\"\\\\u0000 $1 ?1\"]}}}}"
    );
    assert_eq!(bench.commit_one(&[decoded(1, body.clone())]).await, committed(1, 0));
    let rows = bench.probe.rows("SELECT order_id, customer_id, currency, total_minor, body FROM orders").await;
    let expected = ["a:1", "007", "JPY", "9223372036854775807", &body].map(|text| Some(text.to_owned()));
    assert_eq!(rows, [expected]);
    let skus = bench.column("SELECT sku FROM order_lines ORDER BY line_number").await;
    assert_eq!(skus, ["bölt \"x\" \\ 'q' 🧭\u{1}", "123"]);
    let placed = bench.column("SELECT placed_at FROM orders").await.remove(0).replace('T', " ");
    assert!(placed.starts_with("2026-11-22 10:00:00.123456"), "{placed}");
}

pub(crate) async fn each_run_has_one_verdict_in_order<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit(&[&orders("behind", 1, 3), &orders("ahead", 1, 1), &orders("goes", 1, 2)]).await;
    bench.quarantine(&poison(&order("blocked", 1))).await;
    bench.park(&[order("ahead", 5)]).await;
    let verdicts = bench
        .commit(&[
            &orders("new", 1, 2),
            &orders("behind", 3, 5),
            &orders("nobody", 2, 3),
            &orders("goes", 3, 4),
            &orders("blocked", 1, 2),
            &orders("ahead", 3, 3),
            &orders("alone", 1, 1),
        ])
        .await;
    let expected = [
        committed(2, 0),
        Verdict::Behind(3),
        Verdict::Ahead { upto: 0, parked: 0 },
        committed(4, 0),
        Verdict::Blocked,
        Verdict::Ahead { upto: 1, parked: 1 },
        committed(1, 0),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(bench.count("orders").await, 3 + 1 + 2 + 2 + 2 + 1);
}

pub(crate) async fn a_refused_run_changes_nothing<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.commit_one(&orders("ada", 2, 3)).await, Verdict::Ahead { upto: 0, parked: 0 });
    assert_eq!(bench.count("orders").await + bench.count("order_events").await, 0);
    assert_eq!(bench.column("SELECT customer_id FROM customers WHERE last_position > 0").await.len(), 0);
    bench.commit_one(&orders("ada", 1, 1)).await;
    assert_eq!(bench.commit_one(&[other_content(&order("ada", 1))]).await, Verdict::Behind(1));
    assert_eq!(bench.commit_one(&orders("ada", 3, 3)).await, Verdict::Ahead { upto: 1, parked: 0 });
    assert_eq!(bench.line("ada").await, ["ada-1"]);
    assert_eq!(bench.column("SELECT total_minor FROM orders").await, ["500"]);
}

pub(crate) async fn a_run_that_overlaps_is_behind<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 2)).await;
    assert_eq!(bench.commit_one(&orders("ada", 2, 4)).await, Verdict::Behind(2));
    assert_eq!(bench.commit_one(&orders("ada", 3, 4)).await, committed(4, 0));
}

pub(crate) async fn a_repeated_batch_changes_nothing<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let again = Batch { resolve: true, ..batch(&[&orders("ada", 1, 2), &orders("bob", 1, 1)]) };
    assert_eq!(bench.try_commit(&again).await.unwrap(), [committed(2, 0), committed(1, 0)]);
    for resolve in [true, false] {
        let batch = Batch { resolve, ..again.clone() };
        assert_eq!(bench.try_commit(&batch).await.unwrap(), [Verdict::Behind(2), Verdict::Behind(1)]);
    }
    assert_eq!((bench.count("orders").await, bench.count("order_lines").await), (3, 3));
}

pub(crate) async fn a_taken_name_refuses_the_whole_batch<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&[named("shared", "ada", 1)]).await;
    let thief = [order("bob", 1), named("shared", "bob", 2)];
    let error = bench.try_commit(&batch(&[&orders("cyd", 1, 2), &thief])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Taken, "{error}");
    assert_eq!(bench.count("orders").await, 1);
    assert_eq!(bench.count("customers WHERE last_position > 0").await, 1);
    // The session is as good as before.
    assert_eq!(bench.commit(&[&orders("cyd", 1, 2), &thief[..1]]).await, [committed(2, 0), committed(1, 0)]);
}

pub(crate) async fn a_big_batch_is_one_commit<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let runs: Vec<_> = (0..100).map(|n| run(&orders(&format!("c{n}"), 1, 2))).collect();
    let batch = Batch { runs, parked: false, resolve: false };
    let verdicts = bench.try_commit(&batch).await.unwrap();
    assert!(verdicts.iter().all(|verdict| *verdict == committed(2, 0)), "{verdicts:?}");
    assert_eq!(bench.count("orders").await, 200);
}

/// Sends a batch until no customer is locked and no lock timed out.
async fn insist<T: Session>(session: &mut T, batch: &Batch) -> Vec<Verdict> {
    for _ in 0..1_000 {
        match session.commit(batch).await {
            Ok(verdicts) if !verdicts.contains(&Verdict::Locked) => return verdicts,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => assert!(matches!(error.class, ErrorClass::Timeout | ErrorClass::Retry), "{error}"),
        }
    }
    panic!("the customer stays locked");
}

pub(crate) async fn of_two_sessions_one_commits_a_run<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let mut other = bench.ledger.connect().await.unwrap();
    for rank in 1..=20 {
        let batch = batch(&[&[order("ada", rank)]]);
        let (one, two) = tokio::join!(insist(&mut bench.session, &batch), insist(&mut other, &batch));
        let mut verdicts = [one, two].concat();
        verdicts.sort_by_key(|verdict| *verdict == Verdict::Behind(rank));
        assert_eq!(verdicts, [committed(rank, 0), Verdict::Behind(rank)]);
    }
    bench.audit().await;
    assert_eq!(bench.line("ada").await.len(), 20);
}

pub(crate) async fn two_sessions_commit_many_customers<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let sessions = [bench.ledger.connect().await.unwrap(), bench.ledger.connect().await.unwrap()];
    let tasks = sessions.into_iter().enumerate().map(|(task, mut session)| {
        let start = std::sync::Arc::clone(&start);
        tokio::spawn(async move {
            start.wait().await;
            for rank in 1..=10 {
                let all: Vec<_> = (0..10).map(|n| [order(&format!("c{task}-{n}"), rank)]).collect();
                let runs: Vec<_> = all.iter().map(|orders| &orders[..]).collect();
                let verdicts = insist(&mut session, &batch(&runs)).await;
                assert!(verdicts.iter().all(|verdict| *verdict == committed(rank, 0)), "{verdicts:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    bench.audit().await;
    assert_eq!(bench.count("orders").await, 200);
}
