//! `millrace bench`, with a worker of its own.

use serde_json::Value;

use super::Program;
use crate::servers::process::Running;
use crate::servers::rustack::{Rustack, environment};
use crate::servers::{Database, PATIENCE, database, eventually, free_port};

/// A queue, and the program with it and a ledger that was migrated.
async fn site(queue: &str, ledger: Option<&Database>) -> (Rustack, Program) {
    let server = Rustack::start().await;
    let fifo = queue.strip_suffix(".fifo").is_some();
    let url = if fifo { server.create_fifo_queue(queue).await } else { server.create_queue(queue).await };
    let mut program = Program::with_settings();
    for (name, value) in environment(&server.endpoint()) {
        program.set(name, &value);
    }
    program.set("MILLRACE__INBOX__QUEUE_URL", &url);
    program.set("MILLRACE__INBOX__WAIT", "1s");
    program.set("MILLRACE__INBOX__ORDERING", if fifo { "fifo" } else { "gapless" });
    program.set("MILLRACE__HTTP__LISTEN", &format!("127.0.0.1:{}", free_port()));
    if let Some(ledger) = ledger {
        program.set("MILLRACE__LEDGER__URL", ledger.url());
    }
    let (program, said) = program.beside(&["migrate"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    (server, program)
}

async fn worker(program: &Program) -> Running {
    let worker = program.start(&["run"]);
    let listening = || {
        let answers = program.run(&["status", "--live"]).code == Some(0);
        async move { answers }
    };
    eventually("the worker lives", PATIENCE, listening).await;
    worker
}

const MARK: &[&str] = &["bench", "--mark"];

/// Customers take turns, some orders are early; at a rate.
const SHUFFLED: &[&str] = &[
    "bench",
    "--json",
    "--orders",
    "400",
    "--customers",
    "20",
    "--shuffle",
    "5",
    "--duplicates",
    "10",
    "--rate",
    "2000",
    "--bytes",
    "1000",
];

/// Some customers order more than others; as fast as the queue takes them.
const UNEVEN: &[&str] =
    &["bench", "--json", "--orders", "400", "--customers", "20", "--zipf", "1", "--duplicates", "10"];

#[tokio::test(flavor = "multi_thread")]
async fn bench_says_how_fast_it_went_and_what_it_cost() {
    let ledger = database().await;
    for (queue, ledger) in [("orders", Some(&ledger)), ("orders.fifo", None)] {
        let (_server, program) = site(queue, ledger).await;
        let (program, said) = program.beside(MARK).await;
        assert_eq!(said.code, Some(0), "{}", said.err);
        let _worker = worker(&program).await;
        let (program, said) = program.beside(if ledger.is_some() { SHUFFLED } else { UNEVEN }).await;
        assert_eq!(said.code, Some(0), "{}", said.err);
        let figures: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(figures["orders"], 400);
        assert!(figures["messages"].as_u64().unwrap() > 400, "some are sent twice: {figures}");
        for figure in [
            "sent_per_second",
            "committed_per_second",
            "receives_per_order",
            "deletes_per_order",
            "sql_per_order",
            "cpu_us_per_order",
            "sqs_dollars_per_million",
            "cpu_dollars_per_million",
        ] {
            assert!(figures[figure].as_f64().unwrap() > 0.0, "{figure}: {figures}");
        }
        let latency = &figures["latency"];
        assert!(latency["samples"].as_u64().unwrap() > 0, "{figures}");
        assert!(latency["p50"].as_f64() <= latency["p999"].as_f64(), "{figures}");
        let (_program, said) = program.beside(&["verify", "--json"]).await;
        // And the one that was sent first.
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
        assert!(said.out.contains(r#""orders":401"#), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_not_marked_stays_as_it_is() {
    let (server, program) = site("orders", None).await;
    let worker = worker(&program).await;
    let (program, said) = program.beside(&["bench", "--orders", "10"]).await;
    assert_eq!(said.code, Some(2), "{}", said.out);
    assert!(said.err.contains("millrace bench --mark"), "{}", said.err);
    let order = r#"{"order_id":"o","customer_id":"c","sequence":1,"placed_at":"2026-11-22T10:00:00Z","currency":"EUR","lines":[{"sku":"s","quantity":1,"unit_price_minor":1}]}"#;
    let queue = program.variables.iter().find(|(name, _)| name == "MILLRACE__INBOX__QUEUE_URL").unwrap().1.clone();
    assert_eq!(server.faults().calls(crate::servers::rustack::Operation::SendMessageBatch), 0);
    server.put(&queue, order, None, None).await;
    let committed = || {
        let known = program.run(&["order", "o"]).code == Some(0);
        async move { known }
    };
    eventually("the order is committed", PATIENCE, committed).await;
    let (_program, said) = program.beside(MARK).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("only an empty one"), "{}", said.err);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_another_ledger_get_one_order_and_no_more() {
    let (server, mut program) = site("orders", None).await;
    let _worker = worker(&program).await;
    let other = format!("sqlite://{}", program.path("other.db").display());
    program.set("MILLRACE__LEDGER__URL", &other);
    for (arguments, code) in [(&["migrate"][..], 0), (MARK, 0), (&["bench", "--patience", "2"], 1)] {
        let (again, said) = program.beside(arguments).await;
        program = again;
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.err);
        assert!(code == 0 || said.err.contains("no other was sent"), "{}", said.err);
    }
    assert_eq!(server.faults().calls(crate::servers::rustack::Operation::SendMessageBatch), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_nothing_is_sent() {
    let (server, program) = site("orders", None).await;
    let (program, _) = program.beside(MARK).await;
    let (_program, said) = program.beside(&["bench"]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("--worker"), "{}", said.err);
    assert_eq!(server.faults().calls(crate::servers::rustack::Operation::SendMessageBatch), 0);
}
