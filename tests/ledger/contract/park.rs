//! Parking in `gapless` mode, and the runs that come of it.

use millrace::ledger::{Found, Ledger, ParkVerdict, Session, Verdict};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::{Bench, batch, committed};
use super::orders::{customer, named, order, orders, other_content};

pub(crate) async fn early_orders_wait_and_follow<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.park(&[order("ada", 4), order("ada", 2), order("ada", 3)]).await, [ParkVerdict::Parked; 3]);
    assert_eq!(bench.next_run("ada", 10).await.orders, []);
    assert_eq!(bench.commit_one(&[order("ada", 1)]).await, committed(1, 3));
    let next = bench.next_run("ada", 10).await;
    assert_eq!((next.upto, next.parked, &next.orders), (1, 3, &orders("ada", 2, 4)), "the very same orders");
    assert_eq!(bench.commit_parked(&next.orders).await, committed(4, 0));
    assert_eq!(bench.line("ada").await, ["ada-1", "ada-2", "ada-3", "ada-4"]);
    assert_eq!(bench.next_run("ada", 10).await.orders, []);
}

pub(crate) async fn a_first_order_is_never_early<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.park_one(&order("ada", 1)).await, ParkVerdict::NotEarly);
    assert_eq!(bench.count("parked_orders").await, 0);
    assert_eq!(bench.park(&orders("ada", 1, 2)).await, [ParkVerdict::NotEarly, ParkVerdict::Parked]);
}

pub(crate) async fn an_order_at_its_turn_is_not_early<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 3)).await;
    let asked = [order("ada", 4), order("ada", 3), order("ada", 1), order("ada", 5)];
    let verdicts = [ParkVerdict::NotEarly, ParkVerdict::NotEarly, ParkVerdict::NotEarly, ParkVerdict::Parked];
    assert_eq!(bench.park(&asked).await, verdicts);
}

pub(crate) async fn parking_twice_counts_once<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.park_one(&order("ada", 3)).await, ParkVerdict::Parked);
    for _ in 0..2 {
        assert_eq!(bench.park_one(&order("ada", 3)).await, ParkVerdict::Taken);
        assert_eq!(bench.found(&order("ada", 3)).await, Found::Parked);
    }
    bench.commit_one(&orders("ada", 1, 2)).await;
    assert_eq!(bench.commit_parked(&[order("ada", 3)]).await, committed(3, 0));
}

pub(crate) async fn another_order_for_a_parked_place_is_refused<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park_one(&order("ada", 3)).await;
    for other in [named("other", "ada", 3), other_content(&order("ada", 3)), named("ada-3", "ada", 5)] {
        assert_eq!(bench.park_one(&other).await, ParkVerdict::Taken);
        assert!(matches!(bench.found(&other).await, Found::Conflict(_)));
    }
    assert_eq!(bench.count("parked_orders").await, 1);
    assert_eq!(bench.found(&order("ada", 3)).await, Found::Parked);
}

pub(crate) async fn what_is_parked_for_a_place_goes_before_another_order<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.park_one(&order("ada", 3)).await;
    let ahead = |upto| Verdict::Ahead { upto, parked: 1 };
    for other in [named("other", "ada", 3), other_content(&order("ada", 3))] {
        // Also in the middle of a run: nothing of it is written.
        let run = [order("ada", 2), other.clone()];
        assert_eq!(bench.commit_one(&run).await, ahead(1));
    }
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, Verdict::Committed { upto: 2, parked: 1, known: vec![] });
    assert_eq!(bench.commit_one(&[other_content(&order("ada", 3))]).await, ahead(2));
    assert_eq!(bench.commit_one(&[order("ada", 3)]).await, Verdict::Committed { upto: 3, parked: 0, known: vec![] });
}

pub(crate) async fn a_name_parks_once_over_all_customers<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.park_one(&named("same", "ada", 3)).await, ParkVerdict::Parked);
    assert_eq!(
        bench.park(&[named("same", "bob", 4), order("bob", 2)]).await,
        [ParkVerdict::Taken, ParkVerdict::Parked]
    );
}

pub(crate) async fn orders_of_one_call_see_each_other<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&[order("bob", 1)]).await;
    let asked = [
        order("ada", 3),
        order("bob", 4),
        named("other", "ada", 3),
        order("bob", 2),
        order("ada", 2),
        named("bob-4", "cyd", 7),
    ];
    let mut verdicts = bench.park(&asked).await;
    let expected = [
        ParkVerdict::Parked,
        ParkVerdict::Parked,
        ParkVerdict::Taken,
        ParkVerdict::NotEarly,
        ParkVerdict::Parked,
        ParkVerdict::Taken,
    ];
    // Which of two for one place is first is the store's choice.
    if verdicts[0] == ParkVerdict::Taken {
        verdicts.swap(0, 2);
    }
    if verdicts[1] == ParkVerdict::Taken {
        verdicts.swap(1, 5);
    }
    assert_eq!(verdicts, expected);
    assert_eq!(bench.count("parked_orders").await, 3);
}

pub(crate) async fn a_commit_removes_the_parked_copy<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park(&[order("ada", 2), order("ada", 3), order("bob", 2)]).await;
    bench.commit(&[&orders("ada", 1, 1), &orders("bob", 1, 1)]).await;
    // A redelivery of order 2 goes the direct way.
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, committed(2, 1));
    assert_eq!(bench.column("SELECT order_id FROM parked_orders ORDER BY 1").await, ["ada-3", "bob-2"]);
    // Live orders and the run that begins with them may be parked as well.
    let both = batch(&[&orders("ada", 3, 4), &orders("bob", 2, 2)]);
    assert_eq!(bench.try_commit(&both).await.unwrap(), [committed(4, 0), committed(2, 0)]);
}

pub(crate) async fn runs_end_at_gaps_and_limits<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park(&orders("ada", 2, 4)).await;
    bench.park(&orders("ada", 6, 7)).await;
    bench.park(&orders("bob", 3, 3)).await;
    bench.commit(&[&orders("ada", 1, 1), &orders("bob", 1, 1)]).await;
    assert_eq!(bench.next_run("ada", 2).await.orders, orders("ada", 2, 3));
    let names = [customer("bob"), customer("nobody"), customer("ada")];
    let runs = bench.session.parked_runs(&names, 50).await.unwrap();
    let seen: Vec<_> = runs.iter().map(|run| (run.customer.as_str(), run.upto, run.parked, run.orders.len())).collect();
    assert_eq!(seen, [("bob", 1, 1, 0), ("nobody", 0, 0, 0), ("ada", 1, 5, 3)]);
    assert_eq!(runs[2].orders, orders("ada", 2, 4));
}

/// Whoever parks and whoever commits the predecessor at the same time: no parked order is left behind unseen.
pub(crate) async fn parking_and_committing_race<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let mut other = bench.ledger.connect().await.unwrap();
    for n in 0..30 {
        let name = format!("c{n}");
        let (first, second) = (batch(&[&[order(&name, 1)]]), [order(&name, 2)]);
        let (committed, parked) = tokio::join!(bench.session.commit(&first), other.park(&second));
        let (verdict, parked) = (committed.unwrap().remove(0), parked.unwrap()[0]);
        bench.audit().await;
        match (verdict, parked) {
            (Verdict::Committed { parked: 1, .. }, ParkVerdict::Parked) => {
                assert_eq!(bench.next_run(&name, 1).await.orders, second);
            }
            (Verdict::Committed { parked: 0, .. }, ParkVerdict::NotEarly | ParkVerdict::Again) => {}
            (Verdict::Locked | Verdict::Ahead { .. }, _) => assert_eq!(bench.line(&name).await.len(), 0),
            other => panic!("{other:?}"),
        }
    }
}
