//! `none`: each order takes effect once, in no promised order.

use millrace::ledger::{Found, ParkVerdict, Verdict};
use millrace::order::Ordering::None;

use super::Store;
use super::bench::{Bench, committed, ids};
use super::orders::{named, other_content};

pub(crate) async fn each_order_once<S: Store>(store: &S) {
    let mut bench = Bench::new(store, None).await;
    let (one, two, three) = (named("o1", "ada", 0), named("o2", "ada", 0), named("o3", "ada", 0));
    assert_eq!(bench.commit_one(&[two.clone(), one.clone()]).await, committed(0, 0));
    let known = Verdict::Committed { upto: 0, parked: 0, known: ids(&["o1"]) };
    assert_eq!(bench.commit_one(&[one.clone(), three.clone()]).await, known);
    assert_eq!(bench.line("ada").await, ["o2", "o1", "o3"]);
    let other = other_content(&two);
    let known = Verdict::Committed { upto: 0, parked: 0, known: ids(&["o2"]) };
    assert_eq!(bench.commit_one(std::slice::from_ref(&other)).await, known);
    assert!(matches!(bench.found(&other).await, Found::Conflict(_)));
    assert_eq!(bench.found(&two).await, Found::Ended);
    assert_eq!(bench.found(&named("o4", "ada", 0)).await, Found::Absent);
}

pub(crate) async fn nothing_is_early<S: Store>(store: &S) {
    let mut bench = Bench::new(store, None).await;
    assert_eq!(bench.park_one(&named("o1", "ada", 0)).await, ParkVerdict::NotEarly);
    bench.commit_one(&[named("o2", "ada", 0)]).await;
    assert_eq!(bench.park_one(&named("o1", "ada", 0)).await, ParkVerdict::NotEarly);
    assert_eq!(bench.count("parked_orders").await, 0);
}
