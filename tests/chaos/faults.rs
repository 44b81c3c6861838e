//! What happens to the servers, and to the network before them.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::history::now_ms;
use super::plan::{Dependency, Event, Kind as _, Server, Trouble};
use super::proxy::{Way, Weather};
use super::stage::{Stage, number, sql};
use super::workers::Workers;
use crate::servers::postgres;
use crate::servers::rustack::{Fault, Operation, When};

/// The servers fail, one after the other.
pub async fn of_servers(stage: &Stage, begun: Instant, events: &[Event<Server>], end: Instant) {
    for event in events {
        sleep_until(begun + event.at).await;
        if Instant::now() >= end {
            return;
        }
        let (at, target) = match event.what {
            Server::LedgerRestart => (stopped(&stage.ledger, false, event.length).await, "ledger"),
            Server::LedgerCrash => (stopped(&stage.ledger, true, event.length).await, "ledger"),
            Server::LedgerReadOnly => (read_only(stage, event).await, "ledger"),
            Server::BacklogRestart => (stopped(&stage.backlog, false, event.length).await, "backlog"),
            Server::BacklogCrash => (stopped(&stage.backlog, true, event.length).await, "backlog"),
            Server::RedisFlush | Server::RedisRestart => (redis(stage, event).await, "redis"),
            Server::SqsThrottle | Server::SqsOutage => (sqs(stage, event).await, "sqs"),
        };
        // Flushing takes a moment, and is over at once.
        let until = (event.what != Server::RedisFlush).then(now_ms);
        stage.history.fault(at, until, event.what.kind(), target, "");
    }
}

/// A crash leaves it to recover; a stop does not.
async fn stopped(server: &Mutex<postgres::Server>, crashes: bool, length: Duration) -> u64 {
    let mut server = server.lock().await;
    let at = now_ms();
    if crashes {
        server.stop_immediate().await;
    } else {
        server.stop_fast().await;
    }
    sleep(length).await;
    server.start_again().await;
    at
}

/// What a failover leaves behind the writer's name. Sometimes the sessions are ended with it, sometimes they find out.
async fn read_only(stage: &Stage, event: &Event<Server>) -> u64 {
    const ENDED: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let server = stage.ledger.lock().await;
    let at = now_ms();
    let url = &stage.ledger_url;
    sql(url, "ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    sql(url, "SELECT pg_reload_conf()").await.unwrap();
    if event.chance.is_multiple_of(2) {
        sql(url, ENDED).await.unwrap();
    }
    sleep(event.length).await;
    sql(url, "ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    sql(url, "SELECT pg_reload_conf()").await.unwrap();
    let writes = "SELECT (current_setting('default_transaction_read_only') = 'off')::int::bigint";
    crate::servers::eventually("the ledger takes writes again", crate::servers::PATIENCE, || async {
        matches!(number(url, writes).await, Ok(1))
    })
    .await;
    drop(server);
    at
}

async fn redis(stage: &Stage, event: &Event<Server>) -> u64 {
    let mut server = stage.redis.lock().await;
    let at = now_ms();
    if event.what == Server::RedisFlush {
        server.flush().await;
        return at;
    }
    server.kill().await;
    sleep(event.length).await;
    server.start_again().await;
    at
}

async fn sqs(stage: &Stage, event: &Event<Server>) -> u64 {
    const CALLS: [Operation; 3] =
        [Operation::ReceiveMessage, Operation::DeleteMessageBatch, Operation::ChangeMessageVisibilityBatch];
    let at = now_ms();
    if let Some(front) = &stage.front {
        let away = if event.chance.is_multiple_of(2) { Weather::Reset } else { Weather::BlackHole };
        front.set(away);
        sleep(event.length).await;
        front.set(Weather::Fair);
        return at;
    }
    let server = stage.site.queue.rustack();
    if event.what == Server::SqsOutage {
        server.stop().await;
        sleep(event.length).await;
        server.restart().await;
        return at;
    }
    for call in CALLS {
        let when = if event.chance.is_multiple_of(2) { When::Always } else { When::Every(2) };
        server.faults().set(call, when, Fault::THROTTLED);
    }
    sleep(event.length).await;
    server.faults().clear();
    at
}

/// The network of one worker to one server goes wrong, one after the other.
pub async fn of_networks(
    stage: &Stage,
    workers: &Workers<'_>,
    begun: Instant,
    events: &[Event<(Trouble, Dependency)>],
    end: Instant,
) {
    for event in events {
        sleep_until(begun + event.at).await;
        if Instant::now() >= end {
            return;
        }
        let (what, dependency) = event.what;
        let weather = weather(what, dependency, event.chance);
        let network = workers.network(event.slot).await;
        let at = now_ms();
        network.to(dependency).set(weather);
        sleep(event.length).await;
        network.to(dependency).set(Weather::Fair);
        let target = format!("worker-{} to {}", network.number, dependency.name());
        stage.history.fault(at, Some(now_ms()), event.what.kind(), &target, &format!("{weather:?}"));
    }
}

fn weather(what: Trouble, dependency: Dependency, chance: u64) -> Weather {
    let milliseconds = Duration::from_millis(50 + chance % 450);
    let bytes = |most: u64| usize::try_from(chance % most).expect("it is small");
    match (what, dependency) {
        (Trouble::Latency, _) => Weather::Latency(milliseconds),
        (Trouble::Reset, _) => Weather::Reset,
        (Trouble::BlackHole, _) => Weather::BlackHole,
        // Within the statement, or within its answer, which is short.
        (Trouble::Cut(Way::Up), Dependency::Ledger) => Weather::CutOrders(Way::Up, bytes(400)),
        (Trouble::Cut(Way::Down), Dependency::Ledger) => Weather::CutOrders(Way::Down, bytes(100)),
        (Trouble::Cut(way), _) => Weather::Cut(way, bytes(2_000)),
        (Trouble::SlowClose, _) => Weather::SlowClose(milliseconds * 4),
    }
}
