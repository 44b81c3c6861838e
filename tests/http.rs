//! The operator's view, over a real server: what it answers in which state, and which metrics there are.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use millrace::backlog::Limit;
use millrace::config;
use millrace::http::{Server, View};
use millrace::ledger::{CaseKind, ErrorClass};
use millrace::metrics::{self, Alarm, Answer, Failure, Request, Step};
use millrace::order::Ordering;
use millrace::outcome::Outcome;
use millrace::status::backlog::{BacklogStatus, DrainerStatus};
use millrace::status::pulse::{BEAT_MAX, Pulse};
use millrace::status::{LastError, LocksState, Outcomes, Phase, Requests, Route, Status};
use millrace::window;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const WORK_MAX: Duration = Duration::from_secs(7);

fn a_time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A status in which every number is another one.
fn a_status() -> Status {
    let mut outcomes = Outcomes::default();
    (0..3).for_each(|_| outcomes.count(Outcome::Committed));
    outcomes.count(Outcome::Quarantined);
    Status {
        version: "1.2.3".into(),
        started_at: a_time(0),
        at: a_time(100),
        phase: Phase::Running,
        ordering: Ordering::Gapless,
        route: Route::Direct,
        route_since: a_time(1),
        route_reason: None,
        held_messages: 11,
        held_bytes: 12,
        held_messages_max: 13,
        held_bytes_max: 14,
        early: 15,
        pending_deletes: 16,
        unparked: 17,
        oldest_order_seconds: Some(17.5),
        lanes: 18,
        lanes_waiting_for_lock: 19,
        lanes_without_lock: 20,
        locks: LocksState::Redis,
        parked_known: 21,
        blocked_customers: 22,
        polls: 23,
        committers_busy: 24,
        committers: 25,
        outcomes,
        drained: Outcomes::default(),
        drain: None,
        backlog: Some(a_backlog()),
        requests: Requests { sqs: 26, redis: 27, sql: 28, backlog: 29 },
        cpu_seconds: 31.5,
        last_errors: vec![LastError {
            from: "ledger".into(),
            class: ErrorClass::Away.label().into(),
            message: "<b>connection refused</b>".into(),
            at: a_time(99),
        }],
    }
}

/// A backlog that drains, in the middle of a window.
fn a_backlog() -> BacklogStatus {
    BacklogStatus {
        phase: window::Phase::Spooling,
        epoch: 30,
        since: a_time(31),
        notice: window::Notice {
            reason: Some("upgrade".into()),
            actor: Some("ann".into()),
            until: Some(a_time(3_600)),
        },
        rows: 32,
        appended: 33,
        removed: 34,
        oldest_seconds: Some(35.5),
        arrival_per_second: Some(36.5),
        drain_per_second: Some(37.5),
        eta_seconds: Some(38.5),
        will_not_clear: false,
        drainer: Some(DrainerStatus {
            owner: "worker-1".into(),
            allowed_per_second: 39.5,
            commit_seconds: 0.4,
            limited_by: Some(Limit::Ceiling),
        }),
    }
}

/// A running server, and the engine's side of it.
struct Running {
    address: std::net::SocketAddr,
    status: watch::Sender<Status>,
    pulse: Pulse,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Running {
    let server = Server::bind(&config::Http { listen: "127.0.0.1:0".into() }).await.unwrap();
    let (status, seen) = watch::channel(a_status());
    let (pulse, stop, address) = (Pulse::new(2, WORK_MAX), CancellationToken::new(), server.address());
    let task = tokio::spawn(server.run(View { status: seen, pulse: pulse.clone() }, stop.clone()));
    Running { address, status, pulse, stop, task }
}

impl Running {
    async fn get(&self, path: &str) -> (u16, http::HeaderMap, String) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "millrace").body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn says(&self, path: &str) -> (u16, String) {
        let (code, _, body) = self.get(path).await;
        (code, body)
    }
}

#[tokio::test]
async fn ready_says_why_not() {
    let running = start().await;
    assert_eq!(running.says("/ready").await, (200, "ready\n".into()));
    running.status.send_modify(|status| status.phase = Phase::Starting);
    assert_eq!(running.says("/ready").await, (503, "starting\n".into()));
    running.status.send_modify(|status| {
        status.phase = Phase::Running;
        status.route = Route::Hold;
        status.route_reason = Some("the gate is closed".into());
    });
    let holding = "holding since 2027-01-15T08:00:01Z: the gate is closed\n".to_owned();
    assert_eq!(running.says("/ready").await, (503, holding.clone()));
    running.status.send_modify(|status| status.route = Route::Probing);
    assert_eq!(running.says("/ready").await, (503, holding));
    running.status.send_modify(|status| status.route = Route::HalfOpen);
    assert_eq!(running.says("/ready").await.0, 200);
    running.status.send_modify(|status| status.phase = Phase::Stopping);
    assert_eq!(running.says("/ready").await, (503, "stopping\n".into()));
    // None of it kills the process.
    assert_eq!(running.says("/live").await, (200, "alive\n".into()));
}

#[tokio::test(start_paused = true)]
async fn live_is_about_the_loop_and_the_committers() {
    let running = start().await;
    let later = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    assert_eq!(running.pulse.stuck(), None);
    later(BEAT_MAX.as_secs() + 1).await;
    assert_eq!(running.pulse.stuck().unwrap(), "the engine's loop stands still since 11.0 s");
    assert_eq!(running.says("/live").await.0, 503);
    running.pulse.beat();
    assert_eq!(running.says("/live").await, (200, "alive\n".into()));

    let first = running.pulse.work(0);
    later(4).await;
    let second = running.pulse.work(1);
    later(4).await;
    assert_eq!(running.pulse.stuck().unwrap(), "committer 0 is at one piece of work since 8.0 s");
    drop(first);
    assert_eq!(running.pulse.stuck(), None, "the other one began later");
    drop(second);
    later(4).await;
    running.pulse.beat();
    later(9).await;
    assert_eq!(running.pulse.stuck(), None, "idle committers are not stuck");
}

#[tokio::test]
async fn the_status_comes_as_it_was_published() {
    let running = start().await;
    running.status.send_modify(|status| {
        status.locks = LocksState::Away { since: a_time(50), reason: "no answer within 500ms".into() };
    });
    let (code, headers, body) = running.get("/status").await;
    assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "application/json"));
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(serde_json::from_str::<Status>(&body).unwrap(), *running.status.borrow());
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&body).unwrap()).unwrap()
    );
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let running = start().await;
    let (code, headers, body) = running.get("/").await;
    assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    for elsewhere in ["http:", "https:", "src=", "@import", "innerHTML"] {
        assert!(!body.contains(elsewhere), "the page has {elsewhere}");
    }
    let status = serde_json::to_value(a_status()).unwrap();
    // Whatever the page reads is in the status; so a renamed field is noticed.
    let mut read = 0;
    for part in body.split("now.").skip(1) {
        let field: String = part.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        assert!(status.get(&field).is_some(), "the page reads now.{field}, which the status has not");
        read += 1;
    }
    assert!(read > 30, "the page reads only {read} fields");
    let backlog = &status["backlog"];
    let mut read = 0;
    for part in body.split(&[' ', '(', '!'][..]).filter_map(|word| word.strip_prefix("b.")) {
        let field: String = part.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        assert!(backlog.get(&field).is_some(), "the page reads b.{field}, which the backlog has not");
        read += 1;
    }
    assert!(read > 15, "the page reads only {read} fields of the backlog");
    assert_eq!(running.says("/nothing").await.0, 404);
}

#[tokio::test]
async fn a_port_that_is_taken_names_the_key() {
    let running = start().await;
    for (listen, named) in [(running.address.to_string(), "in use"), ("nonsense".into(), "nonsense")] {
        let error = Server::bind(&config::Http { listen }).await.unwrap_err().to_string();
        assert!(error.starts_with("http.listen: ") && error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn it_stops_although_a_client_stays() {
    let running = start().await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(running.says("/live").await.0, 200);
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running.task).await.expect("it never stops").unwrap().unwrap();
    drop(idle);
}

/// The value of one series.
fn value(series: &str, rendered: &str) -> f64 {
    let line = rendered.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
}

#[tokio::test]
async fn the_list_of_metrics() {
    let running = start().await;
    let (code, headers, body) = running.get("/metrics").await;
    assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    // Everything but the values, and of the buckets only that there are some.
    let mut lines: Vec<String> = body
        .lines()
        .filter(|line| !line.is_empty())
        .filter(|line| !line.contains("le=\"") || line.contains("le=\"+Inf\""))
        .map(|line| if line.starts_with('#') { line } else { line.rsplit_once(' ').unwrap().0 }.to_owned())
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").starts_with("millrace_"))
    );
    // By name; of each name first the help, then the type, then the series.
    lines.sort_by_key(|line| {
        let words: Vec<_> = line.split([' ', '{']).collect();
        let (name, rank) = match words[..2.min(words.len())] {
            ["#", "HELP"] => (words[2], 0),
            ["#", "TYPE"] => (words[2], 1),
            _ => (words[0], 2),
        };
        (name.to_owned(), rank, line.clone())
    });
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn gauges_say_what_the_status_says() {
    let mut status = a_status();
    // What was the case before is not any more.
    let before = metrics::render(&status);
    assert!(before.contains("millrace_route{route=\"direct\"} 1\n") && before.contains("millrace_locks_away 0\n"));
    status.route = Route::Hold;
    status.locks = LocksState::Away { since: a_time(50), reason: "gone".into() };
    let now = metrics::render(&status);
    let want = [
        ("in_flight_messages", 27.0),
        ("held_messages", 11.0),
        ("held_bytes", 12.0),
        ("held_messages_max", 13.0),
        ("held_bytes_max", 14.0),
        ("early_messages", 15.0),
        ("pending_deletes", 16.0),
        ("oldest_order_seconds", 17.5),
        ("lanes", 18.0),
        ("lanes_waiting_for_lock", 19.0),
        ("lanes_without_lock", 20.0),
        ("parked_orders", 21.0),
        ("blocked_customers", 22.0),
        ("polls", 23.0),
        ("committers_busy", 24.0),
        ("committers", 25.0),
        ("locks_away", 1.0),
        ("started_seconds", 1_800_000_000.0),
        ("route{route=\"hold\"}", 1.0),
        ("route{route=\"direct\"}", 0.0),
        ("phase{phase=\"running\"}", 1.0),
        ("phase{phase=\"stopping\"}", 0.0),
        ("backlog_orders", 32.0),
        ("backlog_oldest_seconds", 35.5),
        ("backlog_arrival_per_second", 36.5),
        ("backlog_drain_per_second", 37.5),
        ("backlog_eta_seconds", 38.5),
        ("drain_allowed_per_second", 39.5),
    ];
    for (name, number) in want {
        let found = value(&format!("millrace_{name}"), &now);
        assert!((found - number).abs() < 1e-9, "{name}: {found}, not {number}");
    }
}

/// What is not known, or not there, has a number all the same; an end that does not come has one of its own.
#[tokio::test]
async fn gauges_of_a_backlog_that_is_not_there_or_will_not_clear() {
    let mut status = a_status();
    let backlog = status.backlog.as_mut().unwrap();
    (backlog.will_not_clear, backlog.eta_seconds, backlog.drainer) = (true, None, None);
    let now = metrics::render(&status);
    assert!((value("millrace_backlog_eta_seconds", &now) + 1.0).abs() < 1e-9);
    assert!(value("millrace_drain_allowed_per_second", &now).abs() < 1e-9);
    status.backlog = None;
    let now = metrics::render(&status);
    for name in ["orders", "oldest_seconds", "arrival_per_second", "drain_per_second", "eta_seconds"] {
        assert!(value(&format!("millrace_backlog_{name}"), &now).abs() < 1e-9, "{name}");
    }
}

/// Other tests of this process count too, so only what these calls add is looked at, and only from below.
#[tokio::test]
async fn what_is_recorded_is_counted() {
    let series = [
        "millrace_orders_total{outcome=\"parked\"}",
        "millrace_quarantined_total{kind=\"out_of_sequence\"}",
        "millrace_errors_total{from=\"ledger\",class=\"unknown_outcome\"}",
        "millrace_errors_total{from=\"inbox\",class=\"entry_gone\"}",
        "millrace_alarms_total{kind=\"gap\"}",
        "millrace_requests_total{to=\"sql\",kind=\"look_up\",result=\"timed_out\"}",
        "millrace_step_seconds_count{step=\"parked_run\"}",
        "millrace_order_seconds_count",
        "millrace_commit_orders_sum",
        "millrace_commit_customers_sum",
        "millrace_receive_messages_sum",
        "millrace_delete_messages_sum",
    ];
    let read = || {
        let rendered = metrics::render(&a_status());
        series.map(|series| value(series, &rendered))
    };
    let (before, sql) = (read(), metrics::requests().sql);
    metrics::ended(Outcome::Parked);
    metrics::quarantined(CaseKind::OutOfSequence);
    metrics::failed(Failure::Ledger(ErrorClass::Unknown));
    metrics::failed(Failure::EntryGone);
    metrics::alarm(Alarm::Gap);
    metrics::request(Request::LookUp, Answer::TimedOut);
    metrics::step(Step::ParkedRun, Duration::from_millis(3));
    metrics::order_took(Duration::from_secs(2));
    metrics::commit_size(50, 9);
    metrics::receive_size(10);
    metrics::delete_size(7);
    let added = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0, 9.0, 10.0, 7.0];
    for (((series, before), after), added) in series.iter().zip(before).zip(read()).zip(added) {
        assert!(after >= before + added, "{series}: {before}, then {after}");
    }
    assert!(metrics::requests().sql > sql);
}
