//! The end of a window over a backlog that has rows. The test itself is the worker that drains.

use millrace::backlog::Session as _;
use millrace::cli::maintenance::course::Advance;
use millrace::window::Step;
use rustix::process::Signal;
use serde_json::json;

use super::{EACH, Kind, Site, events, rows};
use crate::servers::{PATIENCE, eventually};

#[tokio::test]
async fn a_begin_takes_a_draining_ledger_back() {
    for kinds in EACH {
        let site = Site::new(kinds).await;
        site.done(&["maintenance", "begin", "--reason", "upgrade"]);
        site.spool(3).await;
        let mut ending = site.ending();
        assert!(matches!(ending.advance().await.unwrap(), Advance::Found(_)));
        assert_eq!(ending.advance().await.unwrap(), Advance::Took(Step::Grant(1)));
        assert_eq!(site.stands(), ("draining".into(), 1));
        let said = site.done(&["maintenance", "begin", "--reason", "once more"]);
        assert!(said.contains("takes the ledger back under window 2"), "{said}");
        assert_eq!((site.stands(), site.depth().await.rows), (("spooling".into(), 2), 3));
        // The end that was under way notices.
        let Advance::Stop(stop) = ending.advance().await.unwrap() else { panic!("it goes on") };
        assert!(stop.to_string().contains("another operator"), "{stop}");
    }
}

#[tokio::test]
async fn little_is_sealed_only_when_somebody_drains_it() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    site.done(&["maintenance", "begin", "--reason", "upgrade"]);
    site.spool(3).await;
    let mut ending = site.ending();
    assert!(matches!(ending.advance().await.unwrap(), Advance::Found(_)));
    assert_eq!(ending.advance().await.unwrap(), Advance::Took(Step::Grant(1)));
    assert_eq!(ending.advance().await.unwrap(), Advance::Wait, "nobody drains: intake is not stopped for it");
    let mut worker = site.session().await;
    site.lease(&mut worker).await;
    assert!(matches!(ending.advance().await.unwrap(), Advance::Took(Step::AnnounceSeal { epoch: 1, .. })));
    assert!(matches!(ending.advance().await.unwrap(), Advance::Took(Step::Seal { epoch: 1, .. })));
    assert_eq!(ending.advance().await.unwrap(), Advance::Refused(Step::Sealed(1)), "it has rows");

    // It took too long: orders are accepted again, and it is not sealed again at once.
    assert!(worker.unseal(1, "worker-1").await.unwrap());
    assert_eq!(ending.advance().await.unwrap(), Advance::TakenBack);
    assert_eq!(ending.advance().await.unwrap(), Advance::Wait);
    // Unless nothing is left.
    let left = rows(&mut worker, 10).await;
    worker.remove(&left).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(ending.advance().await.unwrap(), Advance::Took(_)));
    }
    assert_eq!(ending.advance().await.unwrap(), Advance::Took(Step::Reopen(1)));
    assert!(matches!(ending.advance().await.unwrap(), Advance::Done(_)));
    assert_eq!(ending.drained(), 3);
}

#[tokio::test]
async fn without_a_worker_it_says_so_and_can_be_interrupted() {
    let site = Site::new((Kind::Postgres, Kind::Sqlite)).await;
    site.done(&["maintenance", "begin", "--reason", "upgrade"]);
    site.spool(3).await;
    let mut end = site.program.start(&["maintenance", "end"]);
    eventually("it says that nobody drains", PATIENCE, || {
        let said = end.log().contains("no worker drains");
        assert!(said || end.runs(), "{}", end.log());
        std::future::ready(said)
    })
    .await;
    assert!(end.log().contains("3 left, drain"), "{}", end.log());
    end.signal(Signal::INT);
    assert_eq!(end.ended(PATIENCE).await.code(), Some(1), "{}", end.log());
    assert!(end.log().contains("interrupted: everything stays as it is"), "{}", end.log());
    assert_eq!((site.stands(), site.depth().await.rows), (("draining".into(), 1), 3));
}

#[tokio::test]
async fn an_end_watches_the_drain_and_opens() {
    for kinds in [(Kind::Postgres, Kind::Postgres), (Kind::Sqlite, Kind::Sqlite)] {
        let site = Site::new(kinds).await;
        site.done(&["maintenance", "begin", "--reason", "upgrade"]);
        site.spool(40).await;
        let mut worker = site.session().await;
        let mut end = site.program.start(&["maintenance", "end", "--json"]);
        let mut watch = site.program.start(&["backlog", "watch", "--json"]);
        while end.runs() {
            site.lease(&mut worker).await;
            // Not before it has looked: what is drained already is not watched.
            if end.log().contains("\"event\":\"backlog\"") {
                let some = rows(&mut worker, 2).await;
                worker.remove(&some).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(end.ended(PATIENCE).await.code(), Some(0), "{}", end.log());
        let said = events(&end.log());
        let seen = said.iter().find(|event| event["event"] == "backlog").expect("it was watched");
        let mut keys: Vec<_> = seen.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "appended",
                "arrival_per_second",
                "drain_per_second",
                "drainer",
                "epoch",
                "eta_seconds",
                "event",
                "notice",
                "oldest_seconds",
                "phase",
                "removed",
                "rows",
                "since",
                "will_not_clear"
            ]
        );
        assert_eq!(said.last().unwrap()["event"], json!("reopened"));
        assert_eq!(site.stands(), ("open".into(), 1));
        // Who watches the backlog sees it end too.
        assert_eq!(watch.ended(PATIENCE).await.code(), Some(0), "{}", watch.log());
        let seen = events(&watch.log());
        let last = seen.iter().rev().find(|event| event["event"] == "backlog").unwrap();
        assert_eq!((&last["phase"], &last["rows"]), (&json!("sealed"), &json!(0)));
    }
}
