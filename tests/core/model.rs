//! The protocol, explored exhaustively: two workers with the real core, a drain with the real core, and operators with
//! the real steps of a window, over the simulator's stand-ins. stateright visits every state and every interleaving.
//!
//! What is abstracted, and why it hides nothing:
//!
//! - **Time.** The deadlines of one process fall due together, at any moment ([`Action::Wake`]): sweep, early wait and
//!   look have one length. In which order they would fall due one by one is the simulator's. Back-offs are zero: a pause
//!   is a statement that takes longer. Heartbeats never come: a message becomes visible under its holder at any moment
//!   instead (a fault). Whose turn it is among the kinds of work begins anew when a process has nothing on its way.
//! - **Locks** are granted to everybody who asks: a lock that is lost the moment it was given, which is what a lease that
//!   runs out, or Redis losing its data, can do at the worst to what is written. That nobody waits for a lock for ever is
//!   the simulator's to show.
//! - **A statement and its answer** are one step. What comes between the two makes the answer old, and so does what
//!   comes after it, before the core looks again; a process that dies between the two is one that dies before, whose
//!   statement is executed nevertheless ([`Ghost`](state::Ghost)).
//! - **Deletes** of messages go first where no fault of theirs may come, and a question whose answer would only lead to
//!   the same question is answered when it would be another: both commute with everything else.
//! - **The two workers**, and the operators, are interchangeable, so of two mirrored states one is visited.
//! - **Handing back, graceful shutdown, a second drain, the pace of a drain, and what full memory does** are left to the
//!   simulator.

mod checks;
mod offer;
mod operator;
pub mod protocol;
mod reach;
pub mod state;
mod take;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use millrace::core::{Appended, Settings, Spooled, Time, Written};
use millrace::ledger::{Gate, Verdict};
use millrace::order::Ordering;
use stateright::{Checker as _, Model as _, Path};

use super::sim::catalog::Parcel;
use super::sim::{at, ms, settings};
use protocol::{Action, Protocol, Setup};

/// Whether a deadline is one. What would only be a pause lies at the end of time.
fn falls_due(deadline: Time) -> bool {
    deadline < at(3_600_000)
}

/// The settings of a worker: what waits, waits for one moment; what is a matter of speed is nothing or everything.
fn bounds(setup: &Setup) -> Settings {
    const FOREVER: Duration = Duration::MAX;
    const AT_ONCE: Duration = Duration::ZERO;
    Settings {
        receive_max: u32::try_from(setup.receive_max).unwrap(),
        polls_max: 1,
        visibility_timeout: FOREVER,
        hold_max: FOREVER,
        ack_linger: AT_ONCE,
        calls_max: 1,
        inbox_backoff: AT_ONCE,
        inbox_backoff_max: AT_ONCE,
        early_wait: ms(1),
        lease: FOREVER,
        lock_linger: FOREVER,
        lock_retry: AT_ONCE,
        lock_wait_max: FOREVER,
        lock_away_retry: AT_ONCE,
        committers: setup.committers,
        statement_timeout: AT_ONCE,
        ledger_backoff: AT_ONCE,
        ledger_backoff_max: AT_ONCE,
        sweep: ms(1),
        gap_after: FOREVER,
        hold_keep: FOREVER,
        hold_probe: AT_ONCE,
        hold_probe_max: AT_ONCE,
        shutdown_budget: FOREVER,
        appenders: usize::from(setup.begins > 0),
        look: ms(1),
        ..settings(setup.ordering)
    }
}

/// Without a pace, which only delays; so it writes without a probe too.
fn bounds_of_drain(settings: &Settings) -> Settings {
    Settings { receive_max: 2, gate: Gate::Draining, appenders: 0, ..settings.clone() }
}

/// How often each thing happened, by its name.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<String, usize>);

impl Seen {
    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    fn action(&mut self, action: &Action) {
        let name = format!("{action:?}");
        let name = name.split(['(', ' ']).next().unwrap_or_default();
        match action {
            Action::Write(_, _, Some(fault)) | Action::Spool(_, _, Some(fault)) => {
                self.count(&format!("{name} {fault:?}"));
            }
            Action::Delete(_, false, _) => self.count("Delete Away"),
            Action::Delete(_, true, false) => self.count("Delete LostAnswer"),
            _ => self.count(name),
        }
    }

    fn written(&mut self, written: &Written<Parcel>) {
        match written {
            Written::Commit(Ok(verdicts)) => {
                for verdict in verdicts {
                    self.count(match verdict {
                        Verdict::Committed { .. } => "committed",
                        Verdict::GateClosed => "gate closed",
                        Verdict::Locked => "locked",
                        Verdict::Behind(_) => "behind",
                        Verdict::Ahead { .. } => "ahead",
                        Verdict::Blocked => "blocked",
                    });
                }
            }
            Written::Park(Ok(verdicts)) => {
                for verdict in verdicts {
                    self.count(&format!("park: {verdict:?}"));
                }
            }
            Written::LookUp(Ok(found)) => {
                for found in found {
                    self.count(&format!("found: {found:?}"));
                }
            }
            Written::Quarantine(Ok(verdict)) => self.count(&format!("quarantine: {verdict:?}")),
            _ => {}
        }
    }

    fn spooled(&mut self, spooled: &Spooled) {
        match spooled {
            Spooled::Append(Ok(Appended::All)) => self.count("append: all"),
            Spooled::Append(Ok(Appended::Refused(_))) => self.count("append: refused"),
            Spooled::Append(Err(_)) | Spooled::Look(_) => {}
        }
    }
}

/// What came of an exploration.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub steps: usize,
    pub depth: usize,
    pub took: Duration,
    pub seen: BTreeMap<String, usize>,
}

/// Explores everything. What does not hold is an error, with the way there.
pub fn explore(setup: Setup) -> Result<Explored, String> {
    let begun = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Protocol::new(setup).checker().threads(threads).spawn_bfs().join();
    let model = checker.model();
    if let Some(path) = checker.discovery("the invariants hold") {
        return Err(told(path));
    }
    if checker.discovery("everything is finished").is_none() {
        return Err("it never finishes".into());
    }
    let stuck = model.edges.stuck();
    if !stuck.is_empty() {
        let first = model.init_states().remove(0);
        let way = model.edges.path(first.print, &stuck);
        return Err(format!("L4: {} states lead nowhere, such as\n{}", stuck.len(), told(walk(model, &way))));
    }
    let seen = std::mem::take(&mut model.seen.lock().unwrap().0);
    if let Some(missing) = expected(&model.setup).into_iter().find(|what| !seen.contains_key(*what)) {
        return Err(format!("VOID: {missing} never happened"));
    }
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    Ok(Explored { states, steps, depth, took: begun.elapsed(), seen })
}

/// What has to happen, or the exploration shows nothing.
fn expected(setup: &Setup) -> Vec<&'static str> {
    let faults = ["Crash", "Expire", "Redeliver", "Write Away", "Write LostAnswer", "Write Timeout", "Ghost"];
    let deletes = ["Delete Away", "Delete LostAnswer"];
    let window = ["append: all", "append: refused", "gate closed", "Read", "StartDrain", "StopDrain", "EndWindow"];
    let spools = ["Spool LostAnswer", "Spool Away"];
    let parts: [(bool, &[&str]); 6] = [
        (setup.faults > 0, &faults),
        (setup.faults > 0, &deletes),
        (setup.begins > 0, &window),
        (setup.begins > 0 && setup.faults > 0, &spools),
        (setup.poison, &["Retry", "Skip", "quarantine: Quarantined"]),
        (setup.unseals > 0, &["Unseal"]),
    ];
    parts.into_iter().filter(|(there, _)| *there).flat_map(|(_, what)| what.iter().copied()).collect()
}

/// The way through these states.
fn walk(model: &Protocol, way: &[u64]) -> Path<state::State, Action> {
    let first = model.init_states().remove(0);
    let mut taken = Vec::new();
    let mut state = first.clone();
    for print in &way[1..] {
        let (action, next) =
            model.next_steps(&state).into_iter().find(|(_, next)| next.print == *print).expect("it was explored");
        taken.push(action);
        state = next;
    }
    Path::from_actions(model, first, &taken).expect("it was walked just now")
}

fn told(path: Path<state::State, Action>) -> String {
    let mut text = String::new();
    let steps = path.into_vec();
    for (number, (state, action)) in steps.iter().enumerate() {
        if let Some(action) = action {
            writeln!(text, "{:>3} {action:?}", number + 1).unwrap();
        } else {
            writeln!(text, "{:?}\n{state}", state.broken).unwrap();
        }
    }
    text
}

/// No window, and one fault of any kind.
pub fn setup(ordering: Ordering, customers: &[usize]) -> Setup {
    Setup {
        ordering,
        customers: customers.to_vec(),
        poison: false,
        faults: 1,
        begins: 0,
        operators: 0,
        unseals: 0,
        receive_max: if ordering == Ordering::Fifo { 2 } else { 1 },
        committers: 1,
    }
}

/// The same with a window, whose `end` may be run again.
pub fn window(ordering: Ordering, customers: &[usize]) -> Setup {
    Setup { begins: 1, operators: 1, ..setup(ordering, customers) }
}
