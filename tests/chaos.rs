//! Real workers, real servers, and everything that can go wrong between and with them, at random from a seed; judged
//! from the outside, by a checker that shares nothing with the engine (`millrace-history`).
//!
//! `scripts/test chaos::` plays two runs of three minutes together; `scripts/prove chaos --minutes M` plays longer
//! ones with optimization.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::servers::process::alone;

mod faults;
mod history;
mod load;
mod person;
mod plan;
mod proxy;
mod stage;
mod verdict;
mod windows;
mod workers;

use history::now_ms;
use load::{Load, Message};
use person::Person;
use plan::{Play, WORKERS};
use stage::Stage;
use workers::Workers;

/// The load comes in so many parts a second.
const PARTS: u64 = 5;
/// Nobody waits longer for another's fault, when nothing else is wrong: less than a person needs to decide, where the
/// build is not what takes the time.
const WAIT_BOUND: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 4 });
/// What was down is used again after a while: the longest pauses between tries, and what waited meanwhile.
const RECOVERY: Duration = Duration::from_secs(10);
/// Locks and messages of a killed worker come free, and the customers that stood still meanwhile are worked off.
const LEASES: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn numbered_orders_survive_chaos() {
    let _turn = alone().await;
    let rate = if cfg!(debug_assertions) { 60 } else { 540 };
    let play = Play { ordering: "gapless", queue: "rustack", seconds: seconds(100), rate, heavy: 50, seed: seed() };
    Box::pin(survive(&play)).await;
}

/// On the second server, which gives several messages of a group at once; or, as `MILLRACE_CHAOS_QUEUE` says, on the
/// first. That one gives one message of a group at a time, so nobody can have half of the load there; and a group of a
/// killed worker stands still for a visibility timeout, which bounds the rate of both.
#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_survives_chaos() {
    let _turn = alone().await;
    let on_rustack = variable("MILLRACE_CHAOS_QUEUE").as_deref() == Some("rustack");
    let (queue, rate, heavy) = if on_rustack { ("rustack", 60, 1) } else { ("ministack", 25, 50) };
    let play = Play { ordering: "fifo", queue, seconds: seconds(80), rate, heavy, seed: seed() };
    Box::pin(survive(&play)).await;
}

/// What `scripts/prove` sets, or what the suite has time for.
fn seconds(default: u64) -> u64 {
    variable("MILLRACE_CHAOS_SECONDS").map_or(default, |text| text.parse().expect("a number of seconds"))
}

fn seed() -> u64 {
    let seed = variable("MILLRACE_CHAOS_SEED").map(|text| text.parse().expect("a seed is a number"));
    // Small enough to be typed again.
    let seed = seed.unwrap_or_else(|| crate::servers::random() % 1_000_000);
    println!("MILLRACE_CHAOS_SEED={seed}");
    seed
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The whole run. Everything has ended when the verdict is given, so that no log of a server stands before it.
async fn survive(play: &Play) {
    if let Err(problem) = Box::pin(played(play)).await {
        panic!("{problem}");
    }
}

async fn played(play: &Play) -> Result<(), String> {
    let stage = Stage::set(play).await;
    let schedule = play.schedule();
    let (needs, without) = plan::needs(play, &schedule, Load::poisons(play));
    stage.history.object(
        "run.json",
        &json!({ "ordering": play.ordering, "queue": play.queue, "seed": play.seed, "seconds": play.seconds,
            "workers": WORKERS, "wait_bound_ms": millis(WAIT_BOUND), "recovery_ms": millis(RECOVERY),
            "leases_ms": millis(LEASES), "needs": needs, "without": without }),
    );
    let workers = Workers::start(&stage).await;
    let person = Person::new(&stage);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(play.seconds);
    let playing = async {
        let (sent, ..) = tokio::join!(
            feed(&stage, &person, begun, end),
            workers.suffer(begun, &schedule.processes, end),
            faults::of_servers(&stage, begun, &schedule.stores, end),
            faults::of_servers(&stage, begun, &schedule.others, end),
            faults::of_networks(&stage, &workers, begun, &schedule.networks, end),
            windows::open(&stage, begun, &schedule.windows, end),
        );
        workers.recover().await;
        let over = Instant::now();
        let settled = verdict::settled(&stage).await;
        if settled.is_ok() {
            person.until_decided().await;
        }
        println!("the faults ended after {:?}; settled {:?} later", over - begun, over.elapsed());
        (sent, settled)
    };
    let (mut sent, settled) = tokio::select! {
        played = playing => played,
        never = person.decide() => never,
    };
    let (started, deserted) = (workers.started(), workers.deserted.load(std::sync::atomic::Ordering::Relaxed));
    let stopped = workers.stop().await;
    sent.append(&mut person.replacements.lock().expect("no panic inside"));
    let manifest = stage.history.sent(&mut sent, play.is_gapless());
    verdict::dump(&stage).await;
    let verified = verdict::verified(&stage, &manifest).await;
    let (words, content) = verdict::checked(&stage);
    println!("{words}");
    println!("{} messages sent, {started} processes ({deserted} ended by themselves)", sent.len());
    println!("{:?}", stage.history.faults());
    let clean = content && verified.is_ok() && settled.is_ok() && stopped.is_ok() && deserted == 0;
    println!("millrace verify: {}", verified.unwrap_or_else(|said| said));
    note(&stage, sent.len());
    let folder = &stage.history.folder;
    if !clean {
        let [settled, stopped] = [settled, stopped].map(|well| well.err().unwrap_or_default());
        return Err(format!("seed {}: {settled} {stopped} the history is kept in {}", play.seed, folder.display()));
    }
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::remove_file(manifest).unwrap();
    Ok(())
}

/// For the sum over several runs: orders, messages, kills, faults.
fn note(stage: &Stage, messages: usize) {
    let Some(file) = variable("MILLRACE_CHAOS_NOTE") else { return };
    let faults = stage.history.faults();
    let kills: usize = ["kill", "term_kill"].iter().filter_map(|kind| faults.get(*kind)).sum();
    let all: usize = faults.values().sum();
    let orders = std::fs::read_to_string(stage.history.folder.join("orders.jsonl")).unwrap().lines().count();
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    writeln!(file, "{orders} {messages} {kills} {all}").unwrap();
}

/// Sends at a steady rate, and then what is still due. Says when each message was sent.
async fn feed(stage: &Stage, person: &Person<'_>, begun: Instant, end: Instant) -> Vec<(u64, Message)> {
    let play = &stage.play;
    let mut load = Load::of(play);
    let mut sent = Vec::new();
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(PARTS).unwrap());
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    sleep_until(begun).await;
    for _ in 0..play.seconds * PARTS {
        tick.tick().await;
        let part = load.next(play.rate / PARTS);
        send(stage, person, &part, &mut sent).await;
        if Instant::now() >= end {
            break;
        }
    }
    let rest = load.rest();
    send(stage, person, &rest, &mut sent).await;
    println!("{} orders sent in {} messages", load.orders, sent.len());
    sent
}

async fn send(stage: &Stage, person: &Person<'_>, part: &[Message], sent: &mut Vec<(u64, Message)>) {
    let is_gapless = stage.play.is_gapless();
    person.expect(part);
    for ten in part.chunks(10) {
        let at = now_ms();
        let outgoing = ten.iter().enumerate();
        let outgoing: Vec<_> = outgoing.map(|(nth, message)| message.outgoing(sent.len() + nth, is_gapless)).collect();
        if stage.play.queue == "rustack" {
            stage.site.queue.send(&outgoing).await;
        } else {
            accepted(stage, &outgoing).await;
        }
        sent.extend(ten.iter().map(|message| (at, *message)));
    }
}

/// Sends until all ten are accepted. By their deduplication ids they are in the queue once, however often it takes.
async fn accepted(stage: &Stage, ten: &[Outgoing]) {
    let producer = Producer::new(&stage.site.queue.sdk_config(), &stage.site.queue.settings());
    for _ in 0..20 {
        if producer.send(ten).await.iter().all(|answer| *answer == Sent::Done) {
            return;
        }
    }
    panic!("the queue takes no messages");
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
