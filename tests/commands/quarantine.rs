//! `quarantine`: what a person sees, what the exit codes are, and what is left in the ledger.

use std::sync::Arc;

use millrace::config::Config;
use millrace::ledger::{self, Case, CaseKind, Ledger as _, Placed, Session as _};
use millrace::order::{Entry, Ordering};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::{Program, Said};
use crate::servers;

fn order(customer: &str, sequence: u64) -> String {
    json!({
        "order_id": format!("{customer}-{sequence}"), "customer_id": customer, "sequence": sequence,
        "placed_at": "2026-11-22T10:00:00Z", "currency": "EUR",
        "lines": [{ "sku": "tea", "quantity": 1, "unit_price_minor": 250 }],
    })
    .to_string()
}

fn placed(rank: u64, body: &str) -> Placed {
    let entry = Entry::from_message(Ordering::Gapless, "m1", None, body.to_owned());
    Placed { rank: u128::from(rank), entry: Arc::new(entry) }
}

/// Ada and Bob are blocked by their first orders, with one and no order behind; a message is no order; Cyd waits for
/// number 1.
async fn fill(url: &str) {
    let config = Config::new("http://127.0.0.1:1/0/orders", url);
    let ledger = ledger::open(&config).unwrap();
    ledger.migrate().await.unwrap();
    let mut session = ledger.connect().await.unwrap();
    let poison = |placed| Case { placed, kind: CaseKind::Poison, reason: "no such sku: tea".into(), blocks: true };
    session.quarantine(&poison(placed(1, &order("ada", 1)))).await.unwrap();
    session.quarantine(&poison(placed(1, &order("bob", 1)))).await.unwrap();
    let case = Case { kind: CaseKind::Malformed, blocks: false, ..poison(placed(0, "{ no order")) };
    session.quarantine(&case).await.unwrap();
    for _ in 0..2 {
        session.park(&[placed(2, &order("ada", 2)), placed(2, &order("cyd", 2))]).await.unwrap();
    }
}

async fn run(url: &str, sql: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn ends(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, Some(code), "{}{}", said.out, said.err);
    let text = if code == 0 { &said.out } else { &said.err };
    assert!(text.contains(words), "{words:?} is not in: {}{}", said.out, said.err);
}

/// Runs it off the runtime's thread.
async fn says(program: &Arc<Program>, arguments: &[&str]) -> Said {
    let (program, arguments) = (Arc::clone(program), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let run = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        program.run(&[&["quarantine"], &arguments[..]].concat())
    });
    run.await.unwrap()
}

#[tokio::test]
async fn on_sqlite() {
    let program = Program::with_settings();
    let url = format!("sqlite://{}", program.path("orders.db").display());
    Box::pin(quarantine_is_emptied(program, &url)).await;
}

#[tokio::test]
async fn on_postgres() {
    let database = servers::database().await;
    let mut program = Program::with_settings();
    program.set("MILLRACE__LEDGER__URL", database.url());
    Box::pin(quarantine_is_emptied(program, database.url())).await;
}

async fn quarantine_is_emptied(mut program: Program, url: &str) {
    fill(url).await;
    program.set("USER", "ann");
    let program = Arc::new(program);
    let said = says(&program, &["list"]).await;
    ends(&said, 0, "its customer, 1 parked behind it");
    assert!(said.out.contains("no such sku: tea") && said.out.contains("quarantine show 'ada-1~"), "{}", said.out);
    let listed = lines(&says(&program, &["list", "--json"]).await);
    assert_eq!(listed.len(), 3, "{listed:?}");
    // Entries of one millisecond come by their ids.
    let entry = |name: &str| listed.iter().find(|entry| entry["order_id"] == name).unwrap();
    let (ada, bob) = (entry("ada-1")["id"].as_str().unwrap(), entry("bob-1")["id"].as_str().unwrap());
    assert_eq!(entry("ada-1")["blocks"], true, "{listed:?}");
    let first = listed[0]["id"].as_str().unwrap();
    let rest = lines(&says(&program, &["list", "--json", "--after", first, "--limit", "1"]).await);
    assert_eq!(rest, listed[1..2]);

    let said = says(&program, &["show", ada]).await;
    ends(&said, 0, "poison: no such sku: tea");
    assert!(said.out.contains(&order("ada", 1)), "the whole body: {}", said.out);
    assert_eq!(says(&program, &["show", ada, "--body"]).await.out.trim_end(), order("ada", 1));
    let shown = lines(&says(&program, &["show", ada, "--json"]).await);
    assert_eq!((&shown[0]["id"], &shown[0]["body"]), (&json!(ada), &json!(order("ada", 1))));
    ends(&says(&program, &["show", "nobody"]).await, 1, "nobody is not in quarantine");

    // While the gate is closed nothing is decided.
    run(url, "UPDATE gate_announced SET epoch = 1").await;
    ends(&says(&program, &["retry", ada]).await, 1, "closed for a maintenance window");
    run(url, "UPDATE gate SET epoch = 1").await;

    ends(&says(&program, &["retry", ada]).await, 0, "within ledger.sweep = 10s");
    ends(&says(&program, &["retry", ada]).await, 0, "sent back to its line by ann at 20");
    ends(&says(&program, &["skip", ada, "--reason", "x"]).await, 1, "Not done: it is not in quarantine any more");
    ends(&says(&program, &["retry", "nobody"]).await, 1, "is not in quarantine, and never was");

    program.write("wrong.json", &order("bob", 2));
    program.write("right.json", &format!("{}\n", order("bob", 1).replace("bob-1", "bob-1b")));
    ends(&says(&program, &["replace", bob, "wrong.json"]).await, 1, "has sequence 2, and the entry's place is 1");
    let said = says(&program, &["replace", bob, "right.json", "--actor", "eve", "--json"]).await;
    let line = &lines(&said)[0];
    assert_eq!((said.code, &line["outcome"], &line["actor"]), (Some(0), &json!("done"), &json!("eve")), "{line}");
    assert_eq!((&line["event"], &line["order_id"]), (&json!("replace"), &json!("bob-1b")));

    ends(&says(&program, &["retry", "!m1"]).await, 1, "it is no order");
    ends(&says(&program, &["skip", "!m1", "--reason", "junk"]).await, 0, "left quarantine");
    let gap = ["skip", "--customer", "cyd", "--reason", "never sent", "--sequence"];
    ends(&says(&program, &[&gap[..], &["2"]].concat()).await, 1, "sequence 1 of customer cyd is the next one");
    ends(&says(&program, &[&gap[..], &["1"]].concat()).await, 0, "Sequence 1 of customer cyd stays empty");
    ends(&says(&program, &[&gap[..], &["1"]].concat()).await, 0, "left empty by ann at 20");
    ends(&says(&program, &["list"]).await, 0, "Nothing is in quarantine.");
}

#[tokio::test]
async fn used_wrongly() {
    let program = Program::with_settings();
    fill(&format!("sqlite://{}", program.path("orders.db").display())).await;
    program.write("bad.json", "{}");
    let program = Arc::new(program);
    for (arguments, words) in [
        (&["retry", "x"][..], "who decides? Add --actor NAME"),
        (&["retry", "x", "--actor", ""], "--actor"),
        (&["skip", "x", "--actor", "ann"], "--reason"),
        (&["skip", "--reason", "r", "--actor", "ann"], "ID"),
        (&["skip", "x", "--customer", "c", "--sequence", "1", "--reason", "r"], "cannot be used with"),
        (&["skip", "--customer", "c", "--reason", "r"], "--sequence"),
        (&["skip", "--customer", "c", "--sequence", "0", "--reason", "r"], "--sequence"),
        (&["replace", "x", "bad.json", "--actor", "ann"], "bad.json is no order"),
        (&["list", "--limit", "0"], "--limit"),
    ] {
        ends(&says(&program, arguments).await, 2, words);
    }
    ends(&says(&program, &["replace", "x", "gone.json", "--actor", "ann"]).await, 1, "gone.json");
}
