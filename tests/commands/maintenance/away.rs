//! A store that does not answer: nothing is changed, and what that means is said.

use serde_json::json;

use super::{Kind, Site, events};
use crate::servers::postgres::Server;
use crate::servers::{PATIENCE, eventually};

const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/nothing";

#[tokio::test]
async fn a_begin_without_the_ledger_explains_what_hold_does() {
    let mut site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    let ledger = site.config.ledger.url.clone();
    site.program.set("MILLRACE__LEDGER__URL", NOWHERE);
    let said = site.run(&["maintenance", "begin", "--reason", "upgrade"]);
    assert_eq!((said.code, said.out.contains("spooling")), (Some(1), false), "{}", said.out);
    for part in ["nothing was changed", "no write is in flight", "orders stay in SQS", "nothing is lost"] {
        assert!(said.err.contains(part), "no {part:?}: {}", said.err);
    }
    let status = site.status();
    assert_eq!((&status["standing"], &status["ledger"]), (&json!("unknown"), &json!(null)));
    assert_eq!(status["backlog"]["phase"], json!("sealed"), "the other store is shown, and nothing was changed in it");
    assert!(status["ledger_error"].is_string());
    let table = site.done(&["maintenance", "status"]);
    assert!(table.contains("does not answer") && table.contains("ledger (away)"), "{table}");

    site.program.set("MILLRACE__LEDGER__URL", &ledger);
    assert_eq!(site.stands(), ("open".into(), 0));
}

#[tokio::test]
async fn an_end_without_the_ledger_changes_nothing() {
    let mut site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    let ledger = site.config.ledger.url.clone();
    site.done(&["maintenance", "begin", "--reason", "upgrade"]);
    site.program.set("MILLRACE__LEDGER__URL", NOWHERE);
    let said = site.run(&["maintenance", "end", "--json"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nothing was changed") && said.err.contains("--wait 30m"), "{}", said.err);
    let said = events(&said.out);
    assert!(said.iter().any(|event| event["event"] == "retrying" && event["store"] == "ledger"), "{said:?}");
    assert_eq!(said.last().unwrap()["event"], json!("failed"));
    site.program.set("MILLRACE__LEDGER__URL", &ledger);
    assert_eq!(site.stands(), ("spooling".into(), 1));
}

#[tokio::test]
async fn a_begin_without_the_backlog_closes_nothing() {
    let mut site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    let backlog = site.config.backlog.url.clone().unwrap();
    let unmigrated = format!("sqlite://{}", site.program.path("unmigrated.db").display());
    for url in [NOWHERE, &unmigrated] {
        site.program.set("MILLRACE__BACKLOG__URL", url);
        let said = site.run(&["maintenance", "begin", "--reason", "upgrade"]);
        assert_eq!(said.code, Some(1), "{}", said.out);
        assert!(said.err.contains("nothing was changed") && said.err.contains("millrace migrate"), "{}", said.err);
        let said = site.run(&["maintenance", "end"]);
        assert!(said.code == Some(1) && said.err.contains("nothing was changed"), "{}", said.err);
        let status = site.status();
        assert_eq!((&status["standing"], &status["backlog"]), (&json!("unknown"), &json!(null)));
        let gate = &status["ledger"];
        assert_eq!((&gate["gate"], &gate["epoch"], &gate["announced"]), (&json!("open"), &json!(0), &json!(0)));
        assert_eq!(site.run(&["backlog", "status"]).code, Some(1));
    }
    site.program.set("MILLRACE__BACKLOG__URL", &backlog);
    assert_eq!(site.stands(), ("open".into(), 0));
}

#[tokio::test]
async fn with_both_away_the_status_fails() {
    let mut site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    site.program.set("MILLRACE__LEDGER__URL", NOWHERE);
    site.program.set("MILLRACE__BACKLOG__URL", "postgres://postgres@127.0.0.1:1/other");
    let said = site.run(&["maintenance", "status"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("ledger (away)") && said.out.contains("backlog (away)"), "{}", said.out);
}

/// The window as it is meant: the ledger's server is really off in it, and away again while the end watches.
#[tokio::test]
async fn an_end_waits_for_the_server_and_outlives_its_restart() {
    let mut server = Server::start().await;
    let mut site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    let ledger = server.create("orders").await;
    site.program.set("MILLRACE__LEDGER__URL", &ledger);
    site.config.ledger.url = ledger;
    site.done(&["migrate"]);
    site.done(&["maintenance", "begin", "--reason", "upgrade"]);
    site.spool(3).await;

    server.stop_fast().await;
    let mut end = site.program.start(&["maintenance", "end", "--wait", "5m"]);
    let says = async |end: &mut super::super::Running, what: &str, times: usize| {
        eventually(what, PATIENCE, || {
            let said = end.log().matches(what).count() >= times;
            assert!(said || end.runs(), "{}", end.log());
            std::future::ready(said)
        })
        .await;
    };
    says(&mut end, "the ledger is asked again", 1).await;
    server.start_again().await;
    says(&mut end, "draining: the workers drain", 1).await;
    let before = end.log().matches("the ledger is asked again").count();
    server.restart().await;
    says(&mut end, "the ledger is asked again", before + 1).await;

    let mut worker = site.session().await;
    site.lease(&mut worker).await;
    let left = super::rows(&mut worker, 10).await;
    millrace::backlog::Session::remove(&mut worker, &left).await.unwrap();
    assert_eq!(end.ended(PATIENCE).await.code(), Some(0), "{}", end.log());
    assert_eq!(site.stands(), ("open".into(), 1));
}
