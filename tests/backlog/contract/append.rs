//! Appending, counting and removing.

use millrace::backlog::Kept::{Known, New};
use millrace::backlog::{Append, Kept, Row, Session};
use millrace::order::Entry;

use super::Store;
use super::bench::Bench;
use super::orders::{malformed, named, order, orders, selling, with_reason};
use crate::probe::Probe;

pub(crate) async fn what_was_appended_is_read_as_it_came<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let spooled = [order("ada", 1), order("bob", 7)];
    assert_eq!(bench.append(&spooled).await, [New, New]);
    let rows = bench.everything().await;
    for (spooled, row) in spooled.iter().zip(&rows) {
        let expected = Row {
            row: row.row,
            customer: spooled.entry.customer().cloned(),
            rank: spooled.rank,
            malformed: false,
            message_id: spooled.message_id.clone(),
            body: spooled.entry.body().to_owned(),
            sent_at_ms: spooled.sent_at_ms,
        };
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.len(), 2);
    bench.session.remove(&[rows[0].row]).await.unwrap();
    bench.audit().await;
    assert_eq!(bench.everything().await, rows[1..]);
}

pub(crate) async fn an_append_that_is_repeated_changes_nothing<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let spooled = orders("ada", 1, 3);
    assert_eq!(bench.append(&spooled).await, [New; 3]);
    let rows = bench.everything().await;
    assert_eq!(bench.append(&spooled).await, [Known; 3]);
    let mixed = [order("ada", 4), order("ada", 2), order("ada", 5)];
    assert_eq!(bench.append(&mixed).await, [New, Known, New]);
    assert_eq!(bench.everything().await[..3], rows);
    assert_eq!(bench.depth().await.appended, 5);
}

pub(crate) async fn the_same_order_twice_in_a_call_is_one_row<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let twice = [order("ada", 2), order("ada", 1), order("ada", 2), order("ada", 1)];
    assert_eq!(bench.append(&twice).await, [New, New, Known, Known]);
    assert_eq!(bench.count().await, 2);
}

pub(crate) async fn a_conflict_is_another_row<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let (first, other) = (selling("x", "ada", 1, 1), selling("x", "ada", 1, 9));
    assert_eq!(bench.append(&[first.clone(), other.clone()]).await, [New, New]);
    assert_eq!(bench.append(&[other.clone(), first.clone()]).await, [Known, Known]);
    let bodies: Vec<_> = bench.everything().await.into_iter().map(|row| row.body).collect();
    assert_eq!(bodies, [first.entry.body(), other.entry.body()]);
}

pub(crate) async fn malformed_messages_are_kept<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let any_text = "\0 no order \u{feff}\u{10ffff}\r\n\\u0000 'quoted' \"";
    let spooled = [malformed("m1", Some("ada"), 5, any_text), malformed("m2", None, 0, "{"), order("ada", 4)];
    assert_eq!(bench.append(&spooled).await, [New; 3]);
    assert_eq!(bench.append(&spooled).await, [Known; 3]);
    let rows = bench.everything().await;
    assert_eq!(rows.iter().map(|row| row.malformed).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(rows[1].body, any_text);
    assert_eq!((&rows[1].customer, rows[1].rank), (&spooled[0].entry.customer().cloned(), 5));
    assert_eq!((&rows[2].customer, &*rows[2].body, &*rows[2].message_id), (&None, "{", "m2"));
    let Entry::Malformed(entry) = &*spooled[1].entry else { panic!("{spooled:?}") };
    let reasons = bench.probe.rows("SELECT malformed FROM backlog_orders WHERE customer_id = ''").await;
    assert_eq!(reasons, [[Some(entry.reason.clone())]]);
}

pub(crate) async fn a_reason_with_a_nul_keeps_nothing_out<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    assert_eq!(bench.append(&[with_reason("m", "bad \0 byte"), order("ada", 1)]).await, [New, New]);
}

pub(crate) async fn nothing_is_appended_at_once<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    assert_eq!(bench.append(&[]).await, [] as [Kept; 0]);
    bench.session.remove(&[]).await.unwrap();
    bench.audit().await;
}

pub(crate) async fn what_was_removed_may_come_again<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&[order("ada", 1)]).await;
    let first = bench.everything().await[0].row;
    bench.remove_everything().await;
    // Its redelivery: the drain finds out that it is a duplicate. Its number is a new one.
    assert_eq!(bench.append(&[order("ada", 1)]).await, [New]);
    assert!(bench.everything().await[0].row > first);
}

pub(crate) async fn removing_twice_counts_once<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("ada", 1, 4)).await;
    let rows: Vec<_> = bench.everything().await.iter().map(|row| row.row).collect();
    bench.session.remove(&rows[..2]).await.unwrap();
    bench.session.remove(&rows[..3]).await.unwrap();
    bench.session.remove(&[rows[1], rows[1], i64::MAX, -1]).await.unwrap();
    bench.audit().await;
    let depth = bench.depth().await;
    assert_eq!((depth.rows, depth.appended, depth.removed), (1, 4, 3));
}

pub(crate) async fn the_counts_are_exact<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for round in 0..20 {
        // Each session counts where it likes.
        bench.session = bench.another().await;
        bench.append(&orders("ada", round * 2, round * 2 + 4)).await;
        let rows: Vec<_> = bench.everything().await.iter().map(|row| row.row).take(3).collect();
        bench.session.remove(&rows).await.unwrap();
        bench.audit().await;
    }
}

pub(crate) async fn a_big_append_is_one_call<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let spooled: Vec<_> = (0..2_000).map(|n| named(&format!("{:04}", 9_999 - n), "ada", 0)).collect();
    assert_eq!(bench.append(&spooled).await, [New; 2_000]);
    // Without a rank the order of arrival is all there is.
    let bodies: Vec<_> = bench.everything().await.into_iter().map(|row| row.body).collect();
    assert!(bodies.iter().eq(spooled.iter().map(|spooled| spooled.entry.body())), "rows are in another order");
}

pub(crate) async fn the_oldest_is_the_first_that_is_left<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    assert_eq!(bench.depth().await.oldest, None);
    bench.append(&[order("zoe", 1)]).await;
    bench.append(&[order("ada", 1)]).await;
    let first = bench.depth().await;
    assert!(first.oldest.unwrap() <= first.now, "{first:?}");
    let rows = bench.everything().await;
    bench.session.remove(&[rows[1].row]).await.unwrap();
    let second = bench.depth().await;
    assert!(second.oldest >= first.oldest && second.now >= first.now, "{first:?} {second:?}");
    let oldest =
        "SELECT count(*) FROM backlog_orders o WHERE o.appended_at > (SELECT min(appended_at) FROM backlog_orders)";
    assert_eq!(bench.probe.rows(oldest).await, [[Some("0".to_owned())]]);
}

pub(crate) async fn two_sessions_with_the_same_orders_make_one_row_each<S: Store>(store: &S) {
    const ORDERS: u128 = 40;
    let mut bench = Bench::spooling(store).await;
    for round in 0..10 {
        let name = format!("c{round}");
        let forwards = orders(&name, 1, ORDERS);
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        let (mut one, mut two) = (bench.another().await, bench.another().await);
        let (one, two) = tokio::join!(
            tokio::spawn(async move { one.append(1, &forwards).await }),
            tokio::spawn(async move { two.append(1, &backwards).await }),
        );
        let kept = |answer| match answer {
            Append::Spooled(kept) => kept,
            Append::Refused(view) => panic!("{view:?}"),
        };
        let (one, mut two) = (kept(one.unwrap().unwrap()), kept(two.unwrap().unwrap()));
        two.reverse();
        for (one, two) in one.iter().zip(&two) {
            assert_ne!(one, two, "one of them was first");
        }
        bench.audit().await;
        assert_eq!(u128::from(bench.count().await), (round + 1) * ORDERS);
    }
}
