//! What a run is, and what goes wrong in it. Everything follows from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::proxy::Way;
use crate::random::Random;

/// Processes that are alive at a time.
pub const WORKERS: usize = 3;

/// One run.
#[derive(Debug, Clone)]
pub struct Play {
    /// `inbox.ordering`.
    pub ordering: &'static str,
    /// The SQS server.
    pub queue: &'static str,
    /// How long orders are sent and things go wrong.
    pub seconds: u64,
    /// Orders a second.
    pub rate: u64,
    /// One customer has this much of the load, in a hundred.
    pub heavy: u64,
    /// Of everything.
    pub seed: u64,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and SIGKILL before it has ended.
    TermKill,
    /// SIGSTOP for longer than its locks live, often longer than its messages are invisible; then SIGCONT.
    Pause,
    /// SIGTERM: a deploy.
    Term,
}

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    LedgerRestart,
    LedgerCrash,
    LedgerReadOnly,
    BacklogRestart,
    BacklogCrash,
    RedisFlush,
    RedisRestart,
    SqsThrottle,
    SqsOutage,
}

/// What a worker talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    Ledger,
    Backlog,
    Redis,
    Sqs,
}

/// What happens to the network between a worker and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Latency,
    Reset,
    BlackHole,
    Cut(Way),
    SlowClose,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Event<K> {
    /// Counted from the begin of the run.
    pub at: Duration,
    pub what: K,
    /// Which of the workers.
    pub slot: usize,
    /// How long.
    pub length: Duration,
    /// For whatever else is left to chance.
    pub chance: u64,
}

/// Everything that goes wrong: each kind of thing one after the other, beside the other kinds.
#[derive(Debug)]
pub struct Schedule {
    pub processes: Vec<Event<Process>>,
    /// The two databases.
    pub stores: Vec<Event<Server>>,
    /// Redis and SQS, beside them: a database's recovery may take long.
    pub others: Vec<Event<Server>>,
    pub networks: Vec<Event<(Trouble, Dependency)>>,
    /// Maintenance windows: how long orders are only spooled.
    pub windows: Vec<Event<()>>,
}

const PROCESSES: [Process; 9] = [
    Process::Kill,
    Process::Kill,
    Process::Kill,
    Process::Kill,
    Process::Kill,
    Process::TermKill,
    Process::TermKill,
    Process::Pause,
    Process::Term,
];

const STORES: [Server; 5] =
    [Server::LedgerRestart, Server::LedgerCrash, Server::LedgerReadOnly, Server::BacklogRestart, Server::BacklogCrash];

const OTHERS: [Server; 4] = [Server::RedisFlush, Server::RedisRestart, Server::SqsOutage, Server::SqsThrottle];

const DEPENDENCIES: [Dependency; 4] = [Dependency::Ledger, Dependency::Backlog, Dependency::Redis, Dependency::Sqs];

impl Play {
    /// Whether orders have numbers.
    pub fn is_gapless(&self) -> bool {
        self.ordering == "gapless"
    }

    /// What goes wrong.
    pub fn schedule(&self) -> Schedule {
        let mut random = Random::of(self.seed);
        let end = Duration::from_secs(self.seconds);
        // Only the server in this process can refuse a part of the calls.
        let others = if self.queue == "rustack" { &OTHERS[..] } else { &OTHERS[..3] };
        // In a short run each of them has its turn, and time to be over.
        let each_once = |deck: &[Server], every: u64| {
            let turn = end.saturating_sub(Duration::from_secs(15)) / u32::try_from(deck.len()).unwrap();
            turn.min(Duration::from_secs(every))
        };
        let window = Duration::from_mins(2).min(end);
        let mut schedule = Schedule {
            processes: deal(&mut random, &PROCESSES, end, Duration::from_secs(3), 5_500..8_500),
            stores: deal(&mut random, &STORES, end, each_once(&STORES, 15), 1_000..4_000),
            others: deal(&mut random, others, end, each_once(others, 12), 1_000..4_000),
            networks: deal(&mut random, &networks(), end, Duration::from_millis(2_500), 500..3_000)
                .into_iter()
                .map(|event| of_any(event, &mut random))
                .collect(),
            windows: (0..end.as_secs() / window.as_secs())
                .map(|number| Event {
                    // Early enough to be over before the next one.
                    at: window * u32::try_from(number).unwrap() + window / 10 + within(&mut random, window * 2 / 5),
                    what: (),
                    slot: 0,
                    length: Duration::from_millis(6_000 + random.below(8_000)),
                    chance: random.below(1 << 32),
                })
                .collect(),
        };
        schedule.processes.retain(|event| !is_calm(event.at));
        schedule.stores.retain(|event| !is_calm(event.at));
        schedule.others.retain(|event| !is_calm(event.at));
        schedule.networks.retain(|event| !is_calm(event.at));
        schedule.windows.retain(|event| !is_calm(event.at));
        schedule
    }
}

/// Nothing goes wrong at the end of every ten minutes but what is in the orders: only then can be said how long one
/// customer waits for another's fault.
fn is_calm(at: Duration) -> bool {
    at.as_secs() % 600 >= 510
}

/// Cuts on the way to and from the ledger more often than the others: they leave commits whose outcome is unknown.
/// None: any dependency.
fn networks() -> Vec<(Trouble, Option<Dependency>)> {
    let (up, down) = (Trouble::Cut(Way::Up), Trouble::Cut(Way::Down));
    let ledger = Some(Dependency::Ledger);
    let anywhere = [Trouble::Latency, Trouble::Reset, Trouble::BlackHole, Trouble::SlowClose, up, down];
    let mut deck = vec![(up, ledger), (down, ledger), (down, ledger)];
    deck.extend(anywhere.map(|what| (what, None)));
    deck
}

fn of_any(event: Event<(Trouble, Option<Dependency>)>, random: &mut Random) -> Event<(Trouble, Dependency)> {
    let Event { at, what: (what, dependency), slot, length, chance } = event;
    let dependency = dependency.unwrap_or_else(|| DEPENDENCIES[random.index(DEPENDENCIES.len())]);
    Event { at, what: (what, dependency), slot, length, chance }
}

/// Less than this.
fn within(random: &mut Random, bound: Duration) -> Duration {
    Duration::from_millis(random.below(u64::try_from(bound.as_millis()).unwrap()))
}

/// Deals the cards of a deck one after the other, shuffled again for each round. Nothing at the very begin.
fn deal<K: Copy>(
    random: &mut Random,
    deck: &[K],
    end: Duration,
    every: Duration,
    lengths: std::ops::Range<u64>,
) -> Vec<Event<K>> {
    assert!(!every.is_zero(), "a run is longer than that");
    let mut dealt = Vec::new();
    let mut round = Vec::new();
    let mut turn = every;
    while turn < end {
        // Somewhere around its turn, so that no two kinds of things always meet, or never.
        let at = turn + within(random, every / 2);
        if round.is_empty() {
            round = deck.to_vec();
            random.shuffle(&mut round);
        }
        dealt.push(Event {
            at,
            what: round.pop().expect("a deck has cards"),
            slot: random.index(WORKERS),
            length: Duration::from_millis(lengths.start + random.below(lengths.end - lengths.start)),
            chance: random.below(1 << 32),
        });
        turn += every;
    }
    dealt
}

/// What `faults.jsonl` calls it.
pub trait Kind {
    fn kind(&self) -> &'static str;
}

impl Kind for Process {
    fn kind(&self) -> &'static str {
        match self {
            Process::Kill => "kill",
            Process::TermKill => "term_kill",
            Process::Pause => "pause",
            Process::Term => "term",
        }
    }
}

impl Kind for Server {
    fn kind(&self) -> &'static str {
        match self {
            Server::LedgerRestart => "ledger_restart",
            Server::LedgerCrash => "ledger_crash",
            Server::LedgerReadOnly => "ledger_read_only",
            Server::BacklogRestart => "backlog_restart",
            Server::BacklogCrash => "backlog_crash",
            Server::RedisFlush => "redis_flush",
            Server::RedisRestart => "redis_restart",
            Server::SqsThrottle => "sqs_throttle",
            Server::SqsOutage => "sqs_outage",
        }
    }
}

impl Kind for (Trouble, Dependency) {
    fn kind(&self) -> &'static str {
        match self.0 {
            Trouble::Latency => "net_latency",
            Trouble::Reset => "net_reset",
            Trouble::BlackHole => "net_black_hole",
            Trouble::Cut(_) => "net_cut",
            Trouble::SlowClose => "net_slow_close",
        }
    }
}

impl Dependency {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Dependency::Ledger => "ledger",
            Dependency::Backlog => "backlog",
            Dependency::Redis => "redis",
            Dependency::Sqs => "sqs",
        }
    }
}

/// How much of what is planned has to happen: the rest is room for a busy machine.
const PERCENT: u64 = 60;

/// The least count of each guard, and the guards that such a run cannot have. With less than that a run is worth
/// nothing, whatever was found.
pub fn needs(play: &Play, schedule: &Schedule, poisons: u64) -> (BTreeMap<&'static str, u64>, Vec<&'static str>) {
    let mut planned: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut add = |kind| *planned.entry(kind).or_default() += 1;
    schedule.processes.iter().for_each(|event| add(event.what.kind()));
    schedule.stores.iter().chain(&schedule.others).for_each(|event| add(event.what.kind()));
    schedule.networks.iter().for_each(|event| add(event.what.kind()));
    schedule.windows.iter().for_each(|_| add("window"));
    let mut needs: BTreeMap<&str, u64> =
        planned.into_iter().map(|(kind, count)| (kind, (count * PERCENT / 100).max(1))).collect();
    let Play { seconds, rate, .. } = *play;
    // Not of the schedule: of what is promised (30 kills in three minutes, 500 in an hour).
    needs.insert("kill", (seconds * 12 / 100).max(1));
    needs.insert("term_kill", (seconds * 5 / 100).max(1));
    let windows = schedule.windows.len() as u64;
    for (guard, count) in [
        ("retry", poisons / 6),
        ("replace", poisons / 6),
        ("skip", poisons / 6),
        ("poisoned", poisons / 2),
        ("redelivered", seconds / 8),
        ("ambiguous_committed", seconds / 60),
        ("ambiguous_rolled_back", seconds / 60),
        // In fifo a group stands still while one of its messages is held: another worker seldom has it meanwhile.
        ("stale_refused", if play.is_gapless() { seconds / 100 } else { seconds / 300 }),
        ("undisturbed", seconds * rate / 20),
        // In fifo only what comes behind a poison.
        ("parked", if play.is_gapless() { seconds } else { seconds / 40 }),
        ("unparked", if play.is_gapless() { seconds } else { seconds / 40 }),
        ("spooled", windows * 20),
        ("drained", windows * 20),
        ("duplicates", seconds * rate / 100),
        ("shared_receives", seconds / 8),
    ] {
        needs.insert(guard, count.max(1));
    }
    let mut without = Vec::new();
    if !play.is_gapless() && seconds < 300 {
        needs.remove("stale_refused");
        without.push("stale_refused");
    }
    if play.queue == "ministack" {
        without.push("sqs_throttle");
    } else if !play.is_gapless() {
        // One message of a group in a receive, whatever comes.
        needs.remove("shared_receives");
        without.push("shared_receives");
    }
    (needs, without)
}

#[test]
fn a_schedule_follows_from_the_seed_alone() {
    let play = Play { ordering: "gapless", queue: "rustack", seconds: 100, rate: 100, heavy: 50, seed: 7 };
    let shown = |play: &Play| format!("{:?}", play.schedule());
    assert_eq!(shown(&play), shown(&play));
    assert_ne!(shown(&play), shown(&Play { seed: 8, ..play.clone() }));
}

#[test]
fn a_schedule_has_everything_that_is_promised() {
    let gapless = Play { ordering: "gapless", queue: "rustack", seconds: 100, rate: 100, heavy: 50, seed: 7 };
    let fifo = Play { ordering: "fifo", queue: "ministack", seconds: 80, rate: 30, heavy: 50, seed: 7 };
    let needs = [&gapless, &fifo].map(|play| needs(play, &play.schedule(), 4).0);
    let all = |kinds: &[&str]| needs.iter().flat_map(|needs| kinds.iter().filter_map(|kind| needs.get(kind))).sum();
    let kills: u64 = all(&["kill", "term_kill"]);
    let restarts: u64 = all(&["ledger_restart", "ledger_crash"]);
    let windows: u64 = all(&["window"]);
    assert!(kills >= 30 && restarts >= 3 && windows >= 1, "{kills} kills, {restarts} restarts, {windows} windows");
    assert_eq!(needs[0].len(), 34, "every guard: {:?}", needs[0].keys());
}
