//! The workers: real processes, each behind a network of its own, killed and stopped and started again.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::history::now_ms;
use super::plan::{Dependency, Event, Kind as _, Process, WORKERS};
use super::proxy::{Proxy, Weather};
use super::stage::{Stage, place};
use crate::servers::process::Worker;

/// How long a kill waits for a moment at which it hurts.
const MOMENT: Duration = Duration::from_millis(500);
/// How long a worker may take to end when it is asked to: its budget, and as much again for a busy machine.
const END: Duration = Duration::from_secs(20);

/// What [`Worker::kill`] sends.
const SIGKILL: i32 = 9;

fn given(holds: bool) -> &'static str {
    if holds { "just given messages" } else { "" }
}

/// The workers that are alive.
pub struct Workers<'a> {
    stage: &'a Stage,
    lives: Mutex<Vec<Life>>,
    started: AtomicUsize,
    /// How many ended without being asked to.
    pub deserted: AtomicUsize,
}

/// One process from its start to its end. Its number is never used again.
struct Life {
    worker: Worker,
    network: Arc<Network>,
}

/// What lies between one worker and the servers.
#[derive(Debug)]
pub struct Network {
    pub number: usize,
    ledger: Proxy,
    backlog: Proxy,
    redis: Proxy,
    sqs: Proxy,
}

impl Network {
    /// The way to a server.
    pub fn to(&self, dependency: Dependency) -> &Proxy {
        match dependency {
            Dependency::Ledger => &self.ledger,
            Dependency::Backlog => &self.backlog,
            Dependency::Redis => &self.redis,
            Dependency::Sqs => &self.sqs,
        }
    }
}

impl<'a> Workers<'a> {
    /// Starts them.
    pub async fn start(stage: &'a Stage) -> Self {
        let lives = Mutex::new(Vec::new());
        let workers = Self { stage, lives, started: AtomicUsize::new(0), deserted: AtomicUsize::new(0) };
        for _ in 0..WORKERS {
            let life = workers.life().await;
            workers.lives.lock().await.push(life);
        }
        workers
    }

    /// How many processes there were.
    pub fn started(&self) -> usize {
        self.started.load(Relaxed)
    }

    /// The network of the worker that is in this place now.
    pub async fn network(&self, slot: usize) -> Arc<Network> {
        self.lives.lock().await[slot].network.clone()
    }

    async fn life(&self) -> Life {
        let number = self.started.fetch_add(1, Relaxed) + 1;
        let before = async |dependency| Proxy::before(&place(&self.stage.url(dependency))).await;
        let network = Arc::new(Network {
            number,
            ledger: before(Dependency::Ledger).await,
            backlog: before(Dependency::Backlog).await,
            redis: before(Dependency::Redis).await,
            sqs: before(Dependency::Sqs).await,
        });
        let by_way_of = |dependency| {
            let url = self.stage.url(dependency);
            url.replace(&place(&url), network.to(dependency).address())
        };
        let settings = [
            ("MILLRACE__LEDGER__URL", by_way_of(Dependency::Ledger)),
            ("MILLRACE__BACKLOG__URL", by_way_of(Dependency::Backlog)),
            ("MILLRACE__LOCKS__URL", by_way_of(Dependency::Redis)),
            ("MILLRACE__LOG__FORMAT", "json".to_owned()),
            ("MILLRACE__LOG__LEVEL", "info,millrace::history=trace".to_owned()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let log = self.stage.history.log_of(number);
        let worker = Worker::with_log(log, self.stage.site.config(), &by_way_of(Dependency::Sqs), &settings);
        Life { worker, network }
    }

    /// Another worker takes this place; the one that was there is given back.
    async fn replaced(&self, slot: usize) -> Life {
        let next = self.life().await;
        std::mem::replace(&mut self.lives.lock().await[slot], next)
    }

    /// What happens to processes, in its order.
    pub async fn suffer(&self, begun: Instant, events: &[Event<Process>], end: Instant) {
        for event in events {
            sleep_until(begun + event.at).await;
            if Instant::now() >= end {
                return;
            }
            self.revive().await;
            match event.what {
                Process::Kill | Process::TermKill => self.kill(event).await,
                Process::Pause => self.pause(event).await,
                Process::Term => self.deploy(event).await,
            }
        }
    }

    /// Whoever ended by itself is started again, as ECS does.
    async fn revive(&self) {
        for slot in 0..WORKERS {
            let (runs, number) = {
                let life = &mut self.lives.lock().await[slot];
                (life.worker.runs(), life.network.number)
            };
            if !runs {
                println!("worker-{number} ended by itself");
                self.deserted.fetch_add(1, Relaxed);
                drop(self.replaced(slot).await);
            }
        }
    }

    /// Waits a moment for messages that are given to the worker; says whether there were any.
    async fn until_given(&self, slot: usize) -> bool {
        let network = self.network(slot).await;
        let (before, deadline) = (network.sqs.deliveries(), Instant::now() + MOMENT);
        while network.sqs.deliveries() == before && Instant::now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
        network.sqs.deliveries() > before
    }

    async fn kill(&self, event: &Event<Process>) {
        let holds = self.until_given(event.slot).await;
        sleep(Duration::from_millis(event.chance % 30)).await;
        let mut victim = self.replaced(event.slot).await;
        let at = now_ms();
        if event.what == Process::TermKill {
            victim.worker.terminate();
            // Optimized, one that holds little has its end after a few milliseconds.
            sleep(Duration::from_millis(event.chance / 30 % 5)).await;
        }
        // One that had its end already was not killed.
        let killed = victim.worker.kill().await.signal() == Some(SIGKILL);
        let kind = if killed { event.what.kind() } else { "term" };
        self.note(at, kind, victim.network.number, given(holds));
    }

    /// The others take its customers over; when it goes on, it does not know that.
    async fn pause(&self, event: &Event<Process>) {
        let holds = self.until_given(event.slot).await;
        let at = now_ms();
        let number = {
            let life = &mut self.lives.lock().await[event.slot];
            life.worker.stand_still();
            life.network.number
        };
        sleep(event.length).await;
        self.lives.lock().await[event.slot].worker.go_on();
        self.note(at, "pause", number, given(holds));
    }

    /// The next one is there before the old one goes.
    async fn deploy(&self, event: &Event<Process>) {
        let mut old = self.replaced(event.slot).await;
        let at = now_ms();
        old.worker.terminate();
        let deadline = Instant::now() + END;
        while old.worker.runs() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        let ended = !old.worker.runs();
        // What a container's runtime does with one that does not end.
        let kind = if ended { "term" } else { "term_kill" };
        if !ended {
            println!("worker-{} did not end within {END:?}", old.network.number);
        }
        old.worker.kill().await;
        self.note(at, kind, old.network.number, "");
    }

    fn note(&self, at: u64, kind: &str, number: usize, detail: &str) {
        self.stage.history.fault(at, Some(now_ms()), kind, &format!("worker-{number}"), detail);
    }

    /// The network is as it should be, and everybody works.
    pub async fn recover(&self) {
        self.revive().await;
        for slot in 0..WORKERS {
            let network = self.network(slot).await;
            for dependency in [Dependency::Ledger, Dependency::Backlog, Dependency::Redis, Dependency::Sqs] {
                network.to(dependency).set(Weather::Fair);
            }
        }
    }

    /// Lets them end: without faults nothing is at risk.
    pub async fn stop(self) -> Result<(), String> {
        let mut lives = self.lives.into_inner();
        for life in &mut lives {
            life.worker.terminate();
        }
        let mut problems = String::new();
        for Life { worker, network } in &mut lives {
            let deadline = Instant::now() + END;
            while worker.runs() && Instant::now() < deadline {
                sleep(Duration::from_millis(20)).await;
            }
            let ended = !worker.runs();
            let status = worker.kill().await;
            let log = worker.log();
            let report = log.lines().find(|line| line.starts_with("stopped: ")).unwrap_or("no report");
            if !ended || !status.success() || !report.ends_with(", 0 at risk") {
                write!(problems, "worker-{} ended by {status}: {report}. ", network.number).unwrap();
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
