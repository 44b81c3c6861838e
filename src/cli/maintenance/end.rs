//! `millrace maintenance end`: grants the drain, watches it, seals the backlog when little is left, opens the gate.

use std::process::ExitCode;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::course::{Advance, Patience, follow};
use super::stores::{Seen, Stores, Trouble};
use super::words::{Event, NO_BACKLOG, NOT_FURTHER, found_by_end, given_up, not_ended};
use crate::cli::backlog::advisor::Advisor;
use crate::cli::backlog::show::Show;
use crate::cli::{DONE, FAILED, MISUSED, actor};
use crate::config::{Config, Maintenance};
use crate::status::backlog::{BacklogStatus, Looks, RATES_OVER};
use crate::window::{End, Epoch, Gate, Notice, Phase, Stop};

/// How long a store that does not answer is asked before anything was changed, without `--wait`.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

/// How long a store may be away while the drain is watched.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often is looked while nothing is to be done, and while the backlog is sealed.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_SEALING: Duration = Duration::from_millis(200);

/// Arguments of `millrace maintenance end`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who ends it, for the record [default: $USER]
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,

    /// How long to wait for a ledger that does not answer yet, such as 30m [default: a few seconds]
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<SignedDuration>,

    /// JSON lines instead of sentences and a progress bar
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let mut show = Show::new(args.json);
    let Some(actor) = actor(args.actor.as_deref()) else {
        return show.failed("maintenance end", "who ends it? Add --actor NAME", MISUSED);
    };
    let Ok(wait) = args.wait.map_or(Ok(FIRST_PATIENCE), Duration::try_from) else {
        return show.failed("maintenance end", "--wait: a duration below zero", MISUSED);
    };
    let mut ending = match Stores::open(config) {
        Ok(Some(stores)) => Ending::new(stores, &actor, &config.maintenance),
        Ok(None) => return show.failed("maintenance end", NO_BACKLOG, FAILED),
        Err(trouble) => return show.failed("maintenance end", &trouble.message, FAILED),
    };
    let ended = tokio::select! {
        ended = go(&mut ending, wait, &mut show) => ended,
        // As good as being killed, which it may be anywhere.
        _ = tokio::signal::ctrl_c() => Err(INTERRUPTED.to_owned()),
    };
    match ended {
        Ok(Seen { gate, .. }) => {
            show.event(&if ending.found_open {
                Event::NothingOn { epoch: gate.epoch, since: gate.since }
            } else {
                Event::Reopened { epoch: gate.epoch, since: gate.since, drained: ending.drained() }
            });
            ExitCode::from(DONE)
        }
        Err(problem) => show.failed("maintenance end", &problem, FAILED),
    }
}

const INTERRUPTED: &str = "interrupted: everything stays as it is, and a drain that was granted goes on. The gate opens \
    only when `millrace maintenance end` runs again";

/// An end on its way.
#[derive(Debug)]
pub struct Ending {
    stores: Stores,
    actor: String,
    settings: Maintenance,
    end: Option<End>,
    found_open: bool,
    last: Option<Seen>,
    looks: Looks,
    status: Option<BacklogStatus>,
    removed_first: Option<u64>,
    seal: Seal,
}

/// What this command knows of seals that were tried.
#[derive(Debug, Default)]
struct Seal {
    /// One is under way.
    tried: bool,
    /// After one was taken back: not again before.
    not_before: Option<Instant>,
}

impl Ending {
    /// An end that has done nothing yet.
    #[must_use]
    pub fn new(stores: Stores, actor: &str, settings: &Maintenance) -> Self {
        Self {
            stores,
            actor: actor.to_owned(),
            settings: settings.clone(),
            end: None,
            found_open: false,
            last: None,
            looks: Looks::over(RATES_OVER),
            status: None,
            removed_first: None,
            seal: Seal::default(),
        }
    }

    /// The window that it ends; none before both stores were read.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.end.map(|end| end.epoch())
    }

    /// The backlog as it was seen last.
    #[must_use]
    pub fn status(&self) -> Option<&BacklogStatus> {
        self.status.as_ref()
    }

    /// Orders that left the backlog since the first look.
    #[must_use]
    pub fn drained(&self) -> u64 {
        self.status.as_ref().zip(self.removed_first).map_or(0, |(status, first)| status.removed.saturating_sub(first))
    }

    /// Reads both stores, and takes at most one step.
    ///
    /// # Errors
    ///
    /// A store did not do what it was asked; advancing again reads both anew.
    pub async fn advance(&mut self) -> Result<Advance, Trouble> {
        let seen = self.stores.read().await?;
        self.last = Some(seen.clone());
        let Some(end) = self.end else {
            self.end = Some(End::new(&seen.gate));
            self.found_open = seen.gate.gate == Gate::Open && seen.gate.announced == seen.gate.epoch;
            return Ok(Advance::Found(seen));
        };
        let (depth, drainer) = self.stores.depth().await?;
        let status = self.looks.see(seen.backlog.clone(), depth, drainer);
        self.removed_first.get_or_insert(status.removed);
        if self.seal.was_taken_back(&seen, &self.settings) {
            return Ok(Advance::TakenBack);
        }
        let may_seal = self.seal.not_before.is_none_or(|moment| Instant::now() >= moment);
        let little = status.rows == 0 || (may_seal && little_left(&status, &self.settings));
        self.status = Some(status);
        let (next, notice) = (end.next(&seen.gate, &seen.backlog, little), self.notice(&seen));
        follow(next, seen, &mut self.stores, &notice, &self.actor).await
    }

    /// The window's own words stay; a begin that died left none, for they come with the close.
    fn notice(&self, seen: &Seen) -> Notice {
        match seen.gate.gate {
            Gate::Open => {
                let reason = Some("a begin that did not end".into());
                Notice { reason, actor: Some(self.actor.clone()), until: None }
            }
            Gate::Closed | Gate::Draining => seen.gate.notice.clone(),
        }
    }

    fn gives_up(&self, trouble: &Trouble) -> String {
        if self.stores.may_have_changed() { given_up("end", trouble, self.last.as_ref()) } else { not_ended(trouble) }
    }
}

impl Seal {
    /// Whether a seal that was under way is no more, though the backlog is not sealed. Says so once.
    fn was_taken_back(&mut self, seen: &Seen, settings: &Maintenance) -> bool {
        let Seen { gate, backlog } = seen;
        let now = gate.gate == Gate::Draining && backlog.epoch == gate.epoch && !backlog.accepts();
        let back = self.tried && !now && backlog.phase != Phase::Sealed;
        self.tried = now && backlog.phase != Phase::Sealed;
        if back {
            // Orders waited for nothing: the drain gets twice that long before they have to again.
            self.not_before = Some(Instant::now() + settings.seal_limit * 2);
        }
        back
    }
}

/// Whether the rest drains within a moment. Where nobody drains it does not, however little it is.
#[must_use]
pub fn little_left(status: &BacklogStatus, settings: &Maintenance) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
    let rows = status.rows as f64;
    let in_half = status.drain_per_second.unwrap_or(0.0) * settings.seal_limit.as_secs_f64() / 2.0;
    status.drainer.is_some() && (rows <= f64::from(settings.seal_depth) || rows <= in_half)
}

/// Advances to the end. What cannot be done is an error, as a sentence.
async fn go(ending: &mut Ending, wait: Duration, show: &mut Show) -> Result<Seen, String> {
    let mut patience = Patience::of(wait);
    let mut stopped: Option<Stop> = None;
    let mut advisor = Advisor::default();
    loop {
        match ending.advance().await {
            Ok(Advance::Found(seen)) => {
                let epoch = ending.epoch().expect("what was found has its end");
                if !ending.found_open {
                    show.event(&found_by_end(&seen, epoch));
                }
                patience = Patience::of(PATIENCE);
            }
            Ok(Advance::Took(step)) => {
                show.event(&Event::taken(step));
                patience.renew();
            }
            Ok(Advance::Done(seen)) => return Ok(seen),
            Ok(Advance::Stop(stop)) => {
                // The two are not read in one moment: only what is read twice is so.
                if stopped.replace(stop) == Some(stop) {
                    return Err(stop.to_string());
                }
                tokio::time::sleep(LOOK_SEALING).await;
            }
            Ok(Advance::TakenBack) => show.event(&Event::Advice { message: TAKEN_BACK.to_owned() }),
            Ok(Advance::Wait) => {
                patience.renew();
                watch(ending, show, &mut advisor, LOOK).await;
            }
            Ok(Advance::Refused(crate::window::Step::Sealed(_))) => {
                patience.renew();
                watch(ending, show, &mut advisor, LOOK_SEALING).await;
            }
            Ok(Advance::Refused(_)) => {
                if !patience.pause().await {
                    return Err(NOT_FURTHER.to_owned());
                }
            }
            Err(trouble) => {
                if !trouble.passing || !patience.pause().await {
                    return Err(ending.gives_up(&trouble));
                }
                show.event(&Event::Retrying { store: trouble.store, error: trouble.message });
            }
        }
    }
}

const TAKEN_BACK: &str = "the seal was taken back, because the rest did not drain within maintenance.seal_limit: orders \
    are accepted again, and it is sealed later";

/// Shows how it goes, and what stands in the way, until the next look.
async fn watch(ending: &Ending, show: &mut Show, advisor: &mut Advisor, pause: Duration) {
    if let Some(status) = ending.status() {
        show.status(status);
        if let Some(message) = advisor.advise(status, true, &ending.settings, Instant::now()) {
            show.event(&Event::Advice { message });
        }
    }
    tokio::time::sleep(pause).await;
}
