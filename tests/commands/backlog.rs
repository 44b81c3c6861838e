//! `millrace backlog` outside of a window; in one see `maintenance/drain.rs`.

use serde_json::{Value, json};

use super::Program;

fn migrated() -> Program {
    let mut program = Program::with_settings();
    program.set("MILLRACE__BACKLOG__URL", &format!("sqlite://{}", program.path("backlog.db").display()));
    let said = program.run(&["migrate", "--json"]);
    let steps: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((said.code, &steps[0]["store"], &steps[1]["store"]), (Some(0), &json!("ledger"), &json!("backlog")));
    assert!(steps.iter().all(|step| step["event"] == "migrated" && step["steps"].as_u64() > Some(0)), "{steps:?}");
    program
}

#[test]
fn migrate_goes_on_with_the_other_store() {
    let mut program = migrated();
    let said = program.run(&["migrate"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "The ledger is up to date.\nThe backlog is up to date.\n"));
    program.set("MILLRACE__LEDGER__URL", "postgres://postgres@127.0.0.1:1/orders");
    let said = program.run(&["migrate"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "The backlog is up to date.\n"));
    assert!(said.err.contains("ledger (away)"), "{}", said.err);
}

#[test]
fn before_the_first_window() {
    let program = migrated();
    let said = program.run(&["backlog", "status"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in ["sealed until the next window", "0 appended, 0 removed", "nobody"] {
        assert!(said.out.contains(part), "no {part:?}: {}", said.out);
    }
    let said = program.run(&["backlog", "status", "--json"]);
    let mut status: Value = serde_json::from_str(&said.out).unwrap();
    assert!(status["since"].take().is_string());
    assert_eq!(
        status,
        json!({
            "phase": "sealed", "epoch": 0, "since": null, "notice": { "reason": null, "actor": null, "until": null },
            "rows": 0, "appended": 0, "removed": 0, "oldest_seconds": null, "arrival_per_second": 0.0,
            "drain_per_second": 0.0, "eta_seconds": null, "will_not_clear": false, "drainer": null
        })
    );
    let said = program.run(&["backlog", "watch"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out.lines().last(), Some("sealed and empty: the backlog waits for the next window"));
}
