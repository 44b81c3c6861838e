//! Several real workers on real servers, under kills, restarts and flushes: nothing is lost, doubled or out of order.
//!
//! For 20 s one of three workers is killed and started again every second, PostgreSQL is restarted twice and Redis
//! flushed twice, while orders come in. Afterwards everything must be in the ledger, and `millrace verify` must find
//! nothing. A proxy in front of each worker keeps a record, which shows that the faults hit something.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::servers::process::{Worker, alone};
use crate::servers::rustack::{Fault, Operation, Rustack, When};
use crate::servers::{database, postgres, redis, redis_prefix, redis_url};

pub mod load;
mod proxy;
pub mod queue;
mod record;
pub mod site;
mod windows;

use crate::random::Random;
use load::Load;
use proxy::Proxy;
use queue::Queue;
use record::{Record, Summary};
use site::{Site, stopped};

const WORKERS: usize = 3;
/// One kill in each of them.
const SECONDS: usize = 20;
/// The load comes in so many parts a second.
const PARTS: usize = 10;
/// Parts that are sent after the last fault.
const PARTS_AFTER: usize = SECONDS * PARTS / 20;
/// How long the rest may take when the faults are over: many times what it takes.
const REST: Duration = Duration::from_secs(100);

#[tokio::test(flavor = "multi_thread")]
async fn numbered_orders_survive_every_fault() {
    let _turn = alone().await;
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = Queue::on_rustack(server, url);
    let summary =
        Box::pin(survive("gapless", queue, |folder, random| Load::shuffled(20_000, 300, folder, random))).await;
    assert!(summary.redelivered >= 100, "VOID: the kills cost hardly a redelivery: {summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_survives_every_fault() {
    let _turn = alone().await;
    let server = Rustack::start().await;
    let url = server.create_fifo_queue("orders.fifo").await;
    let queue = Queue::on_rustack(server, url);
    let summary =
        Box::pin(survive("fifo", queue, |folder, random| Load::in_order(20_000, 300, 1, folder, random))).await;
    assert!(summary.redelivered >= 20, "VOID: the kills cost hardly a redelivery: {summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_messages_of_a_group_in_one_receive_survive_every_fault() {
    let _turn = alone().await;
    let queue = Queue::on_ministack().await;
    let summary = Box::pin(survive("fifo", queue, |folder, random| Load::in_order(2_000, 40, 6, folder, random))).await;
    assert!(summary.shared >= 100, "VOID: too few receives held two or more of one group: {summary:?}");
    assert!(
        summary.failed_before_followers >= 20,
        "VOID: too few receives had a failed message with followers: {summary:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_numbers_beyond_64_bits_keep_their_order() {
    let _turn = alone().await;
    let server = Rustack::start().await;
    // Beyond 64 bits, and in the middle a carry into another length.
    let by = 10_u128.pow(30) - 150;
    server.faults().set(Operation::ReceiveMessage, When::Always, Fault::RaiseSequenceNumbers(by));
    let url = server.create_fifo_queue("large.fifo").await;
    let queue = Queue::on_rustack(server, url);
    let ledger = database().await;
    let site = Site::new("fifo", queue, ledger.url(), &redis_url(), &redis_prefix()).await;
    let load = Load::in_order(300, 10, 3, site.folder.path(), &mut Random::seeded());
    site.queue.send(load.messages()).await;
    let mut killed = site.worker();
    site.until_committed(100, REST).await;
    killed.kill().await;
    let mut worker = site.worker();
    site.until_verified(&load, REST).await;
    // Digit by digit: the mark is the number of the last order, or of a duplicate of it.
    let last = load.messages().iter().position(|message| message.body.contains("order-00299")).unwrap();
    let mark: u128 = site.highest_mark().await.parse().unwrap();
    let sent = load.messages().len() as u128;
    assert!((by + 1 + last as u128..=by + sent).contains(&mark), "{mark}");
    worker.terminate();
    assert_eq!(stopped(&mut worker).await.at_risk, 0);
}

/// The whole play: load, faults, and the verdict.
async fn survive(ordering: &str, queue: Queue, load: impl FnOnce(&std::path::Path, &mut Random) -> Load) -> Summary {
    let mut random = Random::seeded();
    let (mut postgres, redis) = (postgres::Server::start().await, redis::Server::start().await);
    let ledger = postgres.create("ledger").await;
    let site = Site::new(ordering, queue, &ledger, &redis.url(), "fleet").await;
    let load = load(site.folder.path(), &mut random);
    let record = Arc::new(Record::default());
    let mut fleet = Fleet::start(&site, record.clone()).await;

    let begun = Instant::now();
    tokio::join!(feed(&site, &load), fleet.kills(&mut random), faults(begun, &mut postgres, &redis));
    let committed = site.committed().await.expect("PostgreSQL is back");
    println!("{committed} of {} orders were committed when the faults ended", load.orders);
    for part in load.parts(SECONDS * PARTS + PARTS_AFTER).skip(SECONDS * PARTS) {
        site.queue.send(part).await;
    }
    site.until_verified(&load, REST).await;
    println!("done after {:?}; {:?}", begun.elapsed(), record.summary());
    fleet.was_hit();
    fleet.stop().await;
    record.summary()
}

/// Sends the load over the time of the faults, all but the part that comes after them.
async fn feed(site: &Site, load: &Load) {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(PARTS).unwrap());
    for part in load.parts(SECONDS * PARTS + PARTS_AFTER).take(SECONDS * PARTS) {
        tick.tick().await;
        site.queue.send(part).await;
    }
}

/// PostgreSQL crashes once and is stopped once; Redis forgets everything twice.
async fn faults(begun: Instant, postgres: &mut postgres::Server, redis: &redis::Server) {
    let at = |seconds: u64| sleep_until(begun + Duration::from_secs(seconds));
    at(4).await;
    redis.flush().await;
    at(6).await;
    postgres.restart().await;
    at(11).await;
    redis.flush().await;
    at(13).await;
    postgres.stop_fast().await;
    sleep(Duration::from_secs(1)).await;
    postgres.start_again().await;
}

/// Three workers, each behind a proxy of its own.
struct Fleet<'a> {
    site: &'a Site,
    record: Arc<Record>,
    lives: Vec<Life>,
    /// Kept for their logs, which are shown when the test fails.
    ended: Vec<Worker>,
    started: usize,
    kills: Vec<Kill>,
}

/// One worker from its start to its kill. Its number is never used again.
struct Life {
    number: usize,
    worker: Worker,
    proxy: Proxy,
}

/// What one kill met.
#[derive(Debug)]
struct Kill {
    /// Messages in the worker's hands.
    held: usize,
    /// Messages that it had deleted since its start.
    deleted: usize,
}

impl<'a> Fleet<'a> {
    async fn start(site: &'a Site, record: Arc<Record>) -> Self {
        let mut fleet = Self { site, record, lives: Vec::new(), ended: Vec::new(), started: 0, kills: Vec::new() };
        for _ in 0..WORKERS {
            let life = fleet.life().await;
            fleet.lives.push(life);
        }
        fleet
    }

    async fn life(&mut self) -> Life {
        let number = self.started;
        self.started += 1;
        let proxy = Proxy::start(&self.site.queue.endpoint(), number, self.record.clone()).await;
        let worker = Worker::start(self.site.config(), proxy.endpoint(), &[]);
        Life { number, worker, proxy }
    }

    /// Kills one after the other, each at a moment when it has something to lose, and starts it again.
    async fn kills(&mut self, random: &mut Random) {
        let mut tick = interval(Duration::from_secs(1));
        for second in 0..SECONDS {
            tick.tick().await;
            let victim = self.lives[second % WORKERS].number;
            self.until_it_hurts(victim).await;
            sleep(Duration::from_millis(random.below(20))).await;
            let next = self.life().await;
            let Life { mut worker, proxy, .. } = std::mem::replace(&mut self.lives[second % WORKERS], next);
            worker.kill().await;
            drop(proxy);
            self.kills.push(Kill { held: self.record.held(victim), deleted: self.record.deleted(victim) });
            self.record.lost(victim);
            self.ended.push(worker);
        }
    }

    /// Waits a moment for messages of one group in one receive, or at least for any message.
    async fn until_it_hurts(&self, number: usize) {
        let deadline = Instant::now() + Duration::from_millis(500);
        while !self.record.holds_followers(number) && Instant::now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The test is worth nothing when the kills met idle workers, or workers that never got to work.
    fn was_hit(&self) {
        println!("{:?}", self.kills);
        let holding = self.kills.iter().filter(|kill| kill.held > 0).count();
        let working = self.kills.iter().filter(|kill| kill.deleted > 0).count();
        assert!(holding >= SECONDS / 2, "VOID: only {holding} kills hit a worker that held messages");
        assert!(working >= SECONDS / 2, "VOID: only {working} killed workers had finished anything");
        for life in &self.lives {
            let deleted = self.record.deleted(life.number);
            assert!(deleted > 0, "VOID: the last worker {} finished nothing after its restart", life.number);
        }
    }

    async fn stop(mut self) {
        for life in &mut self.lives {
            life.worker.terminate();
        }
        for life in &mut self.lives {
            assert_eq!(stopped(&mut life.worker).await.at_risk, 0);
        }
    }
}
