//! What an operator types, and what the answer is.

use serde_json::json;

use super::{EACH, Kind, Site, events};
use crate::commands::Program;

#[tokio::test]
async fn a_window_from_begin_to_end() {
    for kinds in EACH {
        let site = Site::new(kinds).await;
        assert_eq!(site.stands(), ("open".into(), 0), "{kinds:?}");
        let said = site.done(&["maintenance", "end"]);
        assert_eq!(said.trim(), "No window is on, and there has been none: the gate is open.");

        let said = site.done(&["maintenance", "begin", "--reason", "upgrade to 16", "--until", "2h", "--actor", "bob"]);
        let steps = ["the gate is open: window 1 begins", "announced:", "closed:", "spooling:", "Window 1 is on since"];
        let mut rest = said.as_str();
        for step in steps {
            rest = rest.split_once(step).unwrap_or_else(|| panic!("no {step:?} in its place: {said}")).1;
        }
        assert!(rest.contains("upgrade to 16 (by bob)") && rest.contains("millrace maintenance end"), "{said}");

        let status = site.status();
        assert_eq!((&status["standing"], &status["backlog_configured"]), (&json!("spooling"), &json!(true)));
        for (store, state) in [("ledger", ("gate", "closed")), ("backlog", ("phase", "spooling"))] {
            let read = &status[store];
            assert_eq!((&read[state.0], &read["epoch"]), (&json!(state.1), &json!(1)));
            assert_eq!((&read["notice"]["reason"], &read["notice"]["actor"]), (&json!("upgrade to 16"), &json!("bob")));
            assert!(read["notice"]["until"].is_string(), "{status}");
        }
        assert_eq!((&status["overdue_seconds"], &status["depth"]["rows"]), (&json!(null), &json!(0)));
        let table = site.done(&["maintenance", "status"]);
        for part in ["LEDGER", "BACKLOG", "closed", "spooling", "upgrade to 16", "bob", "next: "] {
            assert!(table.contains(part), "no {part:?}: {table}");
        }
        assert!(table.contains("in 2h") || table.contains("in 1h 59m"), "{table}");

        // An empty backlog needs nobody to drain it.
        let said = site.done(&["maintenance", "end", "--json"]);
        let events = events(&said);
        let steps: Vec<_> = events.iter().filter_map(|event| event["step"].as_str()).collect();
        assert_eq!(steps, ["grant", "announce_seal", "seal", "sealed", "reopen"]);
        let last = events.last().unwrap();
        assert_eq!((&last["event"], &last["epoch"], &last["drained"]), (&json!("reopened"), &json!(1), &json!(0)));
        assert_eq!(site.stands(), ("open".into(), 1));
        let said = site.done(&["maintenance", "end"]);
        assert!(said.starts_with("No window is on: the gate is open since") && said.contains("last window was 1"));
    }
}

#[tokio::test]
async fn the_events_of_a_begin_as_json() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    let said = site.done(&["maintenance", "begin", "--reason", "upgrade", "--json"]);
    let mut events = events(&said);
    let begun = events.pop().unwrap();
    assert_eq!(
        events,
        [
            json!({ "event": "found", "gate": "open", "phase": "sealed", "epoch": 1,
                    "message": "the gate is open: window 1 begins" }),
            json!({ "event": "step", "step": "announce", "epoch": 1,
                    "message": "announced: no new write begins in the ledger" }),
            json!({ "event": "step", "step": "close", "epoch": 1, "message": "closed: no write passes any more" }),
            json!({ "event": "step", "step": "start_spooling", "epoch": 1,
                    "message": "spooling: orders are accepted into the backlog" }),
        ]
    );
    assert_eq!((&begun["event"], &begun["actor"], &begun["until"]), (&json!("begun"), &json!("ann"), &json!(null)));
    assert!(begun["since"].is_string() && begun["reason"] == "upgrade");
}

/// Every begin is a window above the one before, so that an end which began before cannot go on.
#[tokio::test]
async fn a_second_begin_is_a_window_above_the_first() {
    for kinds in EACH {
        let site = Site::new(kinds).await;
        site.done(&["maintenance", "begin", "--reason", "first"]);
        site.spool(2).await;
        let since = site.status()["ledger"]["since"].clone();
        let said = site.done(&["maintenance", "begin", "--reason", "second", "--actor", "bob"]);
        assert!(said.contains("window 1 is on since") && said.contains("(first; by ann)"), "{said}");
        let status = site.status();
        assert_eq!((&status["standing"], &status["ledger"]["epoch"]), (&json!("spooling"), &json!(2)));
        assert_eq!((&status["ledger"]["since"], &status["depth"]["rows"]), (&since, &json!(2)));
        assert_eq!(status["backlog"]["notice"]["reason"], json!("second"));
    }
}

#[tokio::test]
async fn overdue_is_said_and_nothing_happens_by_itself() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    site.done(&["maintenance", "begin", "--reason", "short", "--until", "1s"]);
    crate::servers::eventually("it is overdue", crate::servers::PATIENCE, || {
        let status = site.status();
        std::future::ready(status["overdue_seconds"].as_f64().is_some_and(|over| over > 0.0))
    })
    .await;
    assert_eq!(site.stands(), ("spooling".into(), 1));
    assert!(site.done(&["maintenance", "status"]).contains("overdue by "));
}

/// Put back in time: the gate is open beside a backlog that is not sealed.
#[tokio::test]
async fn what_was_restored_is_told_and_a_new_window_mends_it() {
    let mut site = Site::new((Kind::Sqlite, Kind::Postgres)).await;
    site.done(&["maintenance", "begin", "--reason", "upgrade"]);
    site.spool(1).await;
    let restored = format!("sqlite://{}", site.program.path("restored.db").display());
    site.program.set("MILLRACE__LEDGER__URL", &restored);
    site.config.ledger.url = restored;
    site.done(&["migrate"]);
    assert_eq!(site.stands(), ("inconsistent".into(), 0));
    let said = site.run(&["maintenance", "end"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("snapshot") && said.err.contains("maintenance begin"), "{}", said.err);
    site.done(&["maintenance", "begin", "--reason", "after a restore"]);
    assert_eq!((site.stands(), site.depth().await.rows), (("spooling".into(), 2), 1));
}

#[test]
fn without_a_backlog_there_are_no_windows() {
    let mut program = Program::with_settings();
    program.set("USER", "ann");
    assert_eq!(program.run(&["migrate"]).code, Some(0));
    for command in [&["maintenance", "begin", "--reason", "x"][..], &["maintenance", "end"], &["backlog", "status"]] {
        let said = program.run(command);
        assert_eq!(said.code, Some(1), "{command:?}");
        assert!(said.err.contains("no backlog is configured") && said.err.contains("backlog.url"), "{}", said.err);
    }
    let said = program.run(&["maintenance", "status"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("none is configured") && said.out.contains("set backlog.url"), "{}", said.out);
    let said = program.run(&["maintenance", "begin", "--reason", "x", "--json"]);
    assert_eq!(super::events(&said.out)[0]["event"], json!("failed"), "{}", said.out);
}
