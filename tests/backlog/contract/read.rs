//! Reading in turn: fair, whoever else waits.

use std::collections::BTreeMap;

use millrace::backlog::{Read, Session};
use millrace::order::Rank;

use super::Store;
use super::bench::{Bench, all, names};
use super::orders::{customer, malformed, named, order, orders};

fn read(share: u32, limit: u32) -> Read {
    Read { share, limit, bytes_max: u32::MAX, ..Read::default() }
}

pub(crate) async fn a_line_is_read_by_rank_then_by_arrival<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&[order("ada", 30), order("ada", 4), named("zz", "ada", 7), named("aa", "ada", 7)]).await;
    bench.append(&[order("ada", 1)]).await;
    let rows = bench.everything().await;
    let ids: Vec<_> = rows.iter().map(|row| row.message_id.trim_start_matches("message-of-")).collect();
    assert_eq!(ids, ["ada-1", "ada-4", "zz", "aa", "ada-30"]);
}

pub(crate) async fn ranks_have_39_digits<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let ranks: [Rank; 6] = [u128::MAX, 10, 0, 10u128.pow(38), u128::from(u64::MAX) + 1, 9];
    bench.append(&ranks.map(|rank| order("ada", rank))).await;
    let mut sorted = ranks;
    sorted.sort_unstable();
    let rows = bench.everything().await;
    assert_eq!(rows.iter().map(|row| row.rank).collect::<Vec<_>>(), sorted);
    for (at, row) in rows.iter().enumerate() {
        let above = Read { floors: vec![(customer("ada"), row.rank, row.row)], ..all() };
        assert_eq!(bench.read(&above).await, rows[at + 1..]);
    }
}

pub(crate) async fn every_customer_has_its_share<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for name in ["cyd", "ada", "bob"] {
        bench.append(&orders(name, 1, 4)).await;
    }
    let rows = bench.read(&read(2, 100)).await;
    assert_eq!(names(&rows), [("ada", 1), ("ada", 2), ("bob", 1), ("bob", 2), ("cyd", 1), ("cyd", 2)]);
    assert_eq!(names(&bench.read(&read(1, 2)).await), [("ada", 1), ("bob", 1)]);
    assert_eq!(names(&bench.read(&read(1, 0)).await), []);
}

pub(crate) async fn floors_hide_what_is_in_memory<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("ada", 1, 4)).await;
    bench.append(&orders("bob", 1, 2)).await;
    bench.append(&[named("ada-2-b", "ada", 2)]).await;
    let rows = bench.everything().await;
    assert_eq!(names(&rows)[..3], [("ada", 1), ("ada", 2), ("ada", 2)]);
    let above = |at: usize| Read { floors: vec![(customer("ada"), rows[at].rank, rows[at].row)], ..read(2, 100) };
    let names_above = [
        vec![("ada", 2), ("ada", 2), ("bob", 1), ("bob", 2)],
        vec![("ada", 2), ("ada", 3), ("bob", 1), ("bob", 2)],
        vec![("ada", 3), ("ada", 4), ("bob", 1), ("bob", 2)],
        vec![("ada", 4), ("bob", 1), ("bob", 2)],
        vec![("bob", 1), ("bob", 2)],
    ];
    for (at, expected) in names_above.iter().enumerate() {
        assert_eq!(names(&bench.read(&above(at)).await), *expected, "above {at}");
    }
    // A floor of somebody who has nothing here.
    let other = Read { floors: vec![(customer("zoe"), 1, 1), (customer("bob"), 1, i64::MAX)], ..read(9, 100) };
    assert_eq!(names(&bench.read(&other).await)[4..], [("ada", 4), ("bob", 2)]);
}

pub(crate) async fn customers_in_memory_hide_nobody<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for n in 0..20 {
        bench.append(&[order(&format!("c{n:02}"), 1)]).await;
    }
    // Everything of the first 15 is in memory; an empty answer would mean the end of the names.
    let floors = (0..15).map(|n| (customer(&format!("c{n:02}")), 1, i64::MAX)).collect();
    let wanted = Read { floors, ..read(5, 2) };
    assert_eq!(names(&bench.read(&wanted).await), [("c15", 1), ("c16", 1)]);
    let floors = (0..20).map(|n| (customer(&format!("c{n:02}")), 1, i64::MAX)).collect();
    assert_eq!(names(&bench.read(&Read { floors, ..read(5, 2) }).await), []);
}

pub(crate) async fn the_limit_holds<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for name in ["ada", "bob", "cyd"] {
        bench.append(&orders(name, 1, 5)).await;
    }
    for limit in 0..=15 {
        let rows = bench.read(&read(5, limit)).await;
        assert_eq!(rows.len(), limit as usize);
        assert_eq!(rows, bench.everything().await[..limit as usize]);
    }
}

pub(crate) async fn the_walk_goes_round<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for n in 0..7 {
        bench.append(&orders(&format!("c{n}"), 1, 3)).await;
    }
    bench.append(&[malformed("m", None, 0, "?")]).await;
    let mut after = String::new();
    let mut seen = Vec::new();
    for _ in 0..10 {
        let rows = bench.read(&Read { after: after.clone(), ..read(1, 2) }).await;
        let Some(last) = rows.last() else { break };
        after = last.customer.as_ref().map(ToString::to_string).unwrap_or_default();
        seen.extend(names(&rows).into_iter().map(|(name, _)| name.to_owned()));
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4", "c5", "c6", ""]);
    assert_eq!(names(&bench.read(&Read { after: "c3".into(), ..read(9, 2) }).await), [("c4", 1), ("c4", 2)]);
    assert_eq!(names(&bench.read(&Read { after: "c33".into(), ..read(1, 1) }).await), [("c4", 1)]);
    assert_eq!(names(&bench.read(&Read { after: "c6".into(), ..read(1, 9) }).await), [("", 0)]);
    let nobodys = bench.everything().await.last().unwrap().row;
    bench.session.remove(&[nobodys]).await.unwrap();
    assert_eq!(names(&bench.read(&Read { after: "c6".into(), ..read(1, 9) }).await), [], "the end of the names");
}

pub(crate) async fn nobody_comes_last<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let nobodys: Vec<_> = (0..5).map(|n| malformed(&format!("m{n}"), None, 0, &format!("?{n}"))).collect();
    bench.append(&nobodys).await;
    bench.append(&orders("ada", 1, 2)).await;
    let rows = bench.read(&read(3, 100)).await;
    assert_eq!(names(&rows), [("ada", 1), ("ada", 2), ("", 0), ("", 0), ("", 0)]);
    // Nobody's floor goes by the empty name.
    let floor = Read { floors: vec![(customer(""), 0, rows[4].row)], ..read(3, 100) };
    let rest = bench.read(&floor).await;
    assert_eq!(names(&rest), [("ada", 1), ("ada", 2), ("", 0), ("", 0)]);
    assert_eq!(rest[2].message_id, "m3");
    assert_eq!(names(&bench.read(&read(9, 2)).await), [("ada", 1), ("ada", 2)]);
}

pub(crate) async fn a_heavy_customer_hides_nobody<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("heavy", 1, 1_000)).await;
    for n in 0..30 {
        bench.append(&orders(&format!("a{n:02}"), 1, 3)).await;
        bench.append(&orders(&format!("z{n:02}"), 1, 3)).await;
    }
    // A drain of ten rows at a time: how many reads until everybody's first order was had?
    let mut after = String::new();
    let mut had: BTreeMap<String, u32> = BTreeMap::new();
    let mut reads = 0;
    while had.len() < 61 {
        reads += 1;
        assert!(reads <= 61, "after {reads} reads only {} customers were had", had.len());
        let rows = bench.read(&Read { after: after.clone(), ..read(4, 10) }).await;
        for (name, _) in names(&rows) {
            *had.entry(name.to_owned()).or_default() += 1;
        }
        bench.session.remove(&rows.iter().map(|row| row.row).collect::<Vec<_>>()).await.unwrap();
        after = rows.last().and_then(|row| row.customer.as_ref()).map(ToString::to_string).unwrap_or_default();
    }
    assert!(had["heavy"] <= 4, "{had:?}");
    bench.audit().await;
}

pub(crate) async fn names_compare_byte_by_byte<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let mut all = ["a", "B", "A-1", "A.1", "a:b", "_x", "A1", "b", "0", "Z", "A_1"];
    for name in all {
        bench.append(&[order(name, 1)]).await;
    }
    all.sort_unstable();
    let rows = bench.everything().await;
    assert_eq!(names(&rows).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), all);
}

/// One customer alone, from its floor; and never more bytes than asked for, but at least one row.
pub(crate) async fn one_customer_is_read_alone_and_bytes_are_bounded<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    for name in ["ada", "bob", "zoe"] {
        bench.append(&orders(name, 1, 3)).await;
    }
    let only = Read { only: Some(customer("bob")), ..read(9, 9) };
    let rows = bench.read(&only).await;
    assert_eq!(names(&rows), [("bob", 1), ("bob", 2), ("bob", 3)]);
    let above = Read { floors: vec![(customer("bob"), rows[0].rank, rows[0].row)], ..only.clone() };
    assert_eq!(names(&bench.read(&above).await), [("bob", 2), ("bob", 3)]);
    let one = u32::try_from(rows[0].body.len()).unwrap();
    for (bytes_max, expected) in [(0, 1), (one, 1), (2 * one, 2), (2 * one - 1, 1), (3 * one, 3)] {
        assert_eq!(bench.read(&Read { bytes_max, ..only.clone() }).await.len(), expected, "{bytes_max} bytes");
        assert_eq!(bench.read(&Read { bytes_max, ..read(9, 9) }).await.len(), expected, "{bytes_max} in turn");
    }
}
