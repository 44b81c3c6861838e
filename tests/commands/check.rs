//! `millrace check` against real servers, and the judgement over a queue's attributes.

use millrace::backlog::{BacklogError, ErrorClass};
use millrace::cli::preflight::queue::judge;
use millrace::cli::preflight::{Finding, State, backlog};
use millrace::config::Config;
use millrace::inbox::QueueFacts;
use millrace::order::Ordering;
use millrace::window::{Notice, Phase, PhaseView};
use serde_json::Value;

use super::Program;
use crate::servers::rustack::Rustack;
use crate::servers::{PATIENCE, eventually};

fn facts() -> QueueFacts {
    QueueFacts {
        arn: "arn:aws:sqs:us-east-1:0:orders".into(),
        created_at: 1,
        fifo: false,
        content_based_deduplication: false,
        visibility_timeout: 30,
        retention: 14 * 24 * 3600,
        max_receive_count: None,
        max_message_bytes: 262_144,
        visible: 0,
        not_visible: 0,
        delayed: 0,
    }
}

fn config(ordering: Ordering, allow_redrive: bool) -> Config {
    let mut config = Config::new("http://127.0.0.1:1/0/orders", "sqlite://orders.db");
    config.inbox.ordering = ordering;
    config.inbox.allow_redrive = allow_redrive;
    config
}

/// What was found about one thing, beside everything else being fine.
fn only(findings: Vec<Finding>, what: &str) -> (State, bool, String) {
    let (mut about, others): (Vec<Finding>, _) = findings.into_iter().partition(|finding| finding.what == what);
    for finding in others {
        assert_eq!(finding.state, State::Ok, "{finding:?}");
    }
    let finding = about.remove(0);
    assert_eq!(finding.remedy.is_empty(), finding.state == State::Ok, "what is wrong has a remedy: {finding:?}");
    (finding.state, finding.stops_start, finding.found)
}

#[test]
fn a_queue_that_fits() {
    assert!(judge(&config(Ordering::Gapless, false), &facts()).iter().all(|finding| finding.state == State::Ok));
    let fifo = QueueFacts { fifo: true, ..facts() };
    assert!(judge(&config(Ordering::Fifo, false), &fifo).iter().all(|finding| finding.state == State::Ok));
    assert!(judge(&config(Ordering::Gapless, false), &fifo).iter().all(|finding| finding.state == State::Ok));
}

#[test]
fn ordering_needs_its_queue() {
    let (state, stops, _) = only(judge(&config(Ordering::Fifo, false), &facts()), "ordering");
    assert_eq!((state, stops), (State::Fail, true));
    let (state, stops, _) = only(judge(&config(Ordering::None, false), &facts()), "ordering");
    assert_eq!((state, stops), (State::Warn, false));
}

#[test]
fn a_redrive_policy_that_hits_innocents_stops_the_start() {
    let with = |count| QueueFacts { max_receive_count: Some(count), fifo: true, ..facts() };
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let (state, stops, found) = only(judge(&config(ordering, false), &with(99)), "redrive");
        assert_eq!((state, stops), (State::Fail, true));
        assert!(found.contains("maxReceiveCount = 99") && found.contains("inbox.ordering"), "{found}");
        assert_eq!(only(judge(&config(ordering, false), &with(100)), "redrive").0, State::Ok);
        let (state, stops, _) = only(judge(&config(ordering, true), &with(3)), "redrive");
        assert_eq!((state, stops), (State::Warn, false));
    }
    let findings = judge(&config(Ordering::None, false), &with(3));
    assert!(findings.iter().any(|finding| finding.what == "redrive" && finding.state == State::Ok));
}

#[test]
fn retention_covers_the_longest_hold() {
    let with = |retention| QueueFacts { retention, ..facts() };
    let judged = |retention| only(judge(&config(Ordering::Gapless, false), &with(retention)), "retention");
    assert_eq!(judged(14 * 24 * 3600).0, State::Ok);
    assert_eq!((judged(4 * 24 * 3600).0, judged(4 * 24 * 3600).1), (State::Warn, false));
    let (state, stops, found) = judged(11 * 3600);
    assert_eq!((state, stops), (State::Fail, true));
    assert!(found.contains("inbox.hold_max"), "{found}");
    assert_eq!(judged(11 * 3600 + 1).0, State::Warn);
}

#[test]
fn larger_messages_are_warned_of() {
    let large = QueueFacts { max_message_bytes: 1 << 20, ..facts() };
    assert_eq!(only(judge(&config(Ordering::Gapless, false), &large), "size").0, State::Warn);
}

/// The rows of `check --json` by what they are about.
fn rows(text: &str) -> Vec<(String, String, String)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        (field("what"), field("state"), field("found"))
    };
    text.lines().map(row).collect()
}

fn state(rows: &[(String, String, String)], what: &str) -> String {
    let row = rows.iter().find(|row| row.0 == what);
    row.map_or_else(|| panic!("no row about {what}: {rows:?}"), |row| row.1.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dependency_is_reached() {
    let server = Rustack::start().await;
    let mut program = Program::with_settings();
    program.set("MILLRACE__INBOX__QUEUE_URL", &server.create_queue("orders").await);
    program.set("AWS_ENDPOINT_URL_SQS", &server.endpoint());

    let (program, said) = program.beside(&["check", "--json"]).await;
    let found = rows(&said.out);
    assert_eq!((said.code, state(&found, "ledger").as_str()), (Some(1), "fail"), "not migrated yet: {}", said.out);
    assert!(found.iter().any(|row| row.2.contains("millrace migrate")), "{}", said.out);

    let (program, said) = program.beside(&["migrate"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (mut program, said) = program.beside(&["check", "--json"]).await;
    let found = rows(&said.out);
    for what in ["settings", "queue", "ordering", "redrive", "locks", "ledger", "may delete", "may hand back"] {
        assert_eq!(state(&found, what), "ok", "{}", said.out);
    }
    assert_eq!((said.code, state(&found, "retention").as_str()), (Some(0), "warn"), "four days by default");

    program.set("MILLRACE__LOCKS__URL", "redis://127.0.0.1:1");
    program.set("MILLRACE__LEDGER__READER_URL", &format!("sqlite://{}", program.path("nothing.db").display()));
    let (program, said) = program.beside(&["check", "--json"]).await;
    let found = rows(&said.out);
    assert_eq!((said.code, state(&found, "locks"), state(&found, "reader")), (Some(1), "fail".into(), "fail".into()));
    let (_, said) = program.beside(&["check"]).await;
    assert!(said.out.contains("WHAT TO DO") && said.out.contains("2 failures"), "{}", said.out);
}

/// What `preflight::backlog` says of a phase that was read, or of an error.
fn of_backlog(config: &Config, phase: Option<Result<PhaseView, BacklogError>>, open: bool) -> Vec<Finding> {
    let findings = backlog::judge(config, phase, open);
    for finding in &findings {
        assert_eq!(finding.remedy.is_empty(), finding.state == State::Ok, "what is wrong has a remedy: {finding:?}");
    }
    findings
}

fn phase(phase: Phase) -> PhaseView {
    let since = jiff::Timestamp::UNIX_EPOCH;
    PhaseView { phase, epoch: 2, turn: 0, announced: false, since, notice: Notice::default() }
}

/// Normal operation does not need the backlog, so only what would be noticed too late stops a start.
#[test]
fn what_a_backlog_means_for_the_start() {
    let mut config = config(Ordering::Gapless, false);
    let none = &of_backlog(&config, None, true)[0];
    assert_eq!((none.state, none.stops_start), (State::Warn, false));
    config.backlog.url = Some("sqlite://backlog.db".into());
    let error = |class| Some(Err(BacklogError { class, message: "gone".into() }));
    for (read, open, state, stops, remedy) in [
        (Some(Ok(phase(Phase::Sealed))), true, State::Ok, false, ""),
        (Some(Ok(phase(Phase::Sealed))), false, State::Ok, false, ""),
        (Some(Ok(phase(Phase::Spooling))), false, State::Warn, false, "maintenance status"),
        (Some(Ok(phase(Phase::Sealing))), false, State::Warn, false, "maintenance status"),
        (Some(Ok(phase(Phase::Spooling))), true, State::Fail, false, "maintenance begin"),
        (error(ErrorClass::Away), true, State::Fail, false, "backlog.url"),
        (error(ErrorClass::Unrecognised), true, State::Fail, false, "backlog.url"),
        (error(ErrorClass::Broken), true, State::Fail, true, "millrace migrate"),
    ] {
        let findings = of_backlog(&config, read.clone(), open);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.what, finding.state, finding.stops_start), ("backlog", state, stops), "{read:?}");
        assert!(finding.remedy.contains(remedy), "{finding:?}");
    }
}

#[test]
fn one_server_for_both_is_warned_of() {
    let mut config = config(Ordering::Gapless, false);
    for (ledger, url, shared) in [
        ("postgres://u:hunter2@h/orders", "postgres://v@h:5432/backlog", true),
        ("postgres://u@h/orders", "postgres://u@other/backlog", false),
        ("postgres://u@h:5433/orders", "postgres://u@h/backlog", false),
        ("sqlite://orders.db", "sqlite://backlog.db", false),
    ] {
        (config.ledger.url, config.backlog.url) = (ledger.into(), Some(url.into()));
        let findings = of_backlog(&config, Some(Ok(phase(Phase::Sealed))), true);
        let about = findings.iter().find(|finding| finding.what == "backlog's server");
        assert_eq!(about.map(|finding| finding.state), shared.then_some(State::Warn), "{ledger} {url}");
        assert!(about.is_none_or(|finding| finding.found.contains("backlog.url and ledger.url")));
    }
}

/// The whole command, over a backlog that is there, not migrated, and away.
#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_is_looked_at() {
    let server = Rustack::start().await;
    let mut program = Program::with_settings();
    program.set("MILLRACE__INBOX__QUEUE_URL", &server.create_queue("orders").await);
    program.set("AWS_ENDPOINT_URL_SQS", &server.endpoint());
    program.set("MILLRACE__HTTP__LISTEN", "127.0.0.1:0");
    let (mut program, said) = program.beside(&["migrate"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let url = format!("sqlite://{}", program.path("backlog.db").display());
    program.set("MILLRACE__BACKLOG__URL", &url);
    let (program, said) = program.beside(&["check", "--json"]).await;
    assert_eq!((said.code, state(&rows(&said.out), "backlog").as_str()), (Some(1), "fail"), "{}", said.out);
    let (program, said) = program.beside(&["run"]).await;
    assert_eq!(said.code, Some(1), "a missing schema stops the start");
    assert!(said.err.contains("backlog: ") && said.err.contains("millrace migrate"), "{}", said.err);
    let (program, said) = program.beside(&["migrate"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (mut program, said) = program.beside(&["check", "--json"]).await;
    assert_eq!((said.code, state(&rows(&said.out), "backlog").as_str()), (Some(0), "ok"), "{}", said.out);

    program.set("MILLRACE__BACKLOG__URL", "postgres://postgres@127.0.0.1:1/backlog");
    let mut worker = program.start(&["run"]);
    eventually("it runs without its backlog", PATIENCE, || {
        let running = worker.log().contains("running");
        assert!(running || worker.runs(), "{}", worker.log());
        std::future::ready(running)
    })
    .await;
}

#[test]
fn a_queue_that_is_away_is_told_and_the_rest_looked_at() {
    let mut program = Program::with_settings();
    program.set("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1");
    assert_eq!(program.run(&["migrate"]).code, Some(0));
    let said = program.run(&["check", "--json"]);
    let found = rows(&said.out);
    assert_eq!((said.code, state(&found, "queue"), state(&found, "ledger")), (Some(1), "fail".into(), "ok".into()));
}

/// In fifo the ledger's marks belong to one queue; another one is taken on an operator's word alone.
#[tokio::test(flavor = "multi_thread")]
async fn another_queue_is_accepted_by_an_operator() {
    let server = Rustack::start().await;
    let mut program = Program::with_settings();
    program.set("AWS_ENDPOINT_URL_SQS", &server.endpoint());
    program.set("MILLRACE__INBOX__ORDERING", "fifo");
    program.set("MILLRACE__INBOX__QUEUE_URL", &server.create_fifo_queue("first.fifo").await);
    let (program, said) = program.beside(&["migrate", "--accept-queue"]).await;
    assert!(said.code == Some(1) && said.err.contains("--actor"), "nobody says so: {}", said.err);
    let (program, said) = program.beside(&["migrate", "--accept-queue", "--actor", "me"]).await;
    assert!(said.code == Some(0) && said.out.contains("first.fifo"), "{}{}", said.out, said.err);
    let (mut program, said) = program.beside(&["check", "--json"]).await;
    assert_eq!(state(&rows(&said.out), "source"), "ok", "{}", said.out);

    program.set("MILLRACE__INBOX__QUEUE_URL", &server.create_fifo_queue("second.fifo").await);
    let (program, said) = program.beside(&["check", "--json"]).await;
    assert_eq!((said.code, state(&rows(&said.out), "source")), (Some(1), "fail".into()));
    assert!(said.out.contains("first.fifo") && said.out.contains("--accept-queue"), "{}", said.out);
    let (program, said) = program.beside(&["migrate", "--accept-queue", "--actor", "me", "--json"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (mut program, said) = program.beside(&["check", "--json"]).await;
    assert_eq!(state(&rows(&said.out), "source"), "ok", "{}", said.out);

    program.set("MILLRACE__INBOX__ORDERING", "gapless");
    let (_, said) = program.beside(&["check", "--json"]).await;
    let found = rows(&said.out);
    let source = found.iter().find(|row| row.0 == "source").unwrap();
    assert!(source.1 == "fail" && source.2.contains("inbox.ordering = gapless"), "{source:?}");
}
