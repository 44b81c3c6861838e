//! `millrace maintenance begin`: closes the ledger's gate, then starts spooling.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use jiff::Timestamp;

use super::course::{Advance, Patience, follow};
use super::stores::{Seen, Stores, Trouble};
use super::words::{Event, NO_BACKLOG, found_by_begin, given_up, not_begun};
use super::{until, words};
use crate::cli::backlog::show::Show;
use crate::cli::{DONE, MISUSED, actor};
use crate::config::Config;
use crate::window::{Begin, Notice, Stop};

/// How long a store that does not answer is asked before anything was changed.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

/// How long it goes on without getting anywhere once something was changed: longer than writes in flight last.
const PATIENCE: Duration = Duration::from_mins(1);

/// Arguments of `millrace maintenance begin`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Why; every status shows it until the window is over
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// When it is meant to end: 30m, 2h, or a time in RFC 3339. Only shown: nothing happens by itself then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Who begins it, for the record [default: $USER]
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,

    /// JSON lines instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let mut show = Show::new(args.json);
    let until = match args.until.as_deref().map(|text| until::parse(text, Timestamp::now())).transpose() {
        Ok(until) => until,
        Err(problem) => return show.failed("maintenance begin", &problem, MISUSED),
    };
    let Some(actor) = actor(args.actor.as_deref()) else {
        return show.failed("maintenance begin", "who begins it? Add --actor NAME", MISUSED);
    };
    let notice = Notice { reason: Some(args.reason.clone()), actor: Some(actor), until };
    let done = match Stores::open(config) {
        Ok(Some(stores)) => go(Beginning::new(stores, notice), &mut show).await,
        Ok(None) => Err(NO_BACKLOG.to_owned()),
        Err(trouble) => Err(trouble.message),
    };
    match done {
        Ok(Seen { gate, .. }) => {
            let Notice { reason, actor, until } = gate.notice;
            show.event(&Event::Begun { epoch: gate.epoch, since: gate.since, reason, actor, until });
            ExitCode::from(DONE)
        }
        Err(problem) => show.failed("maintenance begin", &problem, crate::cli::FAILED),
    }
}

/// A begin on its way.
#[derive(Debug)]
pub struct Beginning {
    stores: Stores,
    notice: Notice,
    begin: Option<Begin>,
    last: Option<Seen>,
}

impl Beginning {
    /// A begin that has done nothing yet.
    #[must_use]
    pub fn new(stores: Stores, notice: Notice) -> Self {
        Self { stores, notice, begin: None, last: None }
    }

    /// Reads both stores, and takes at most one step.
    ///
    /// # Errors
    ///
    /// A store did not do what it was asked; advancing again reads both anew.
    pub async fn advance(&mut self) -> Result<Advance, Trouble> {
        let seen = self.stores.read().await?;
        self.last = Some(seen.clone());
        let Some(begin) = self.begin else {
            self.begin = Some(Begin::new(&seen.gate, &seen.backlog));
            return Ok(Advance::Found(seen));
        };
        let next = begin.next(&seen.gate, &seen.backlog);
        let actor = self.notice.actor.as_deref().unwrap_or_default();
        follow(next, seen, &mut self.stores, &self.notice, actor).await
    }

    fn gives_up(&self, trouble: &Trouble) -> String {
        if self.stores.may_have_changed() { given_up("begin", trouble, self.last.as_ref()) } else { not_begun(trouble) }
    }
}

/// Advances to the end. What cannot be done is an error, as a sentence.
async fn go(mut beginning: Beginning, show: &mut Show) -> Result<Seen, String> {
    let mut patience = Patience::of(FIRST_PATIENCE);
    let mut stopped: Option<Stop> = None;
    loop {
        match beginning.advance().await {
            Ok(Advance::Found(seen)) => {
                let epoch = beginning.begin.expect("what was found has its begin").epoch();
                show.event(&found_by_begin(&seen, epoch));
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
                patience.pause().await;
            }
            Ok(Advance::Refused(_) | Advance::Wait | Advance::TakenBack) => {
                if !patience.pause().await {
                    return Err(words::NOT_FURTHER.to_owned());
                }
            }
            Err(trouble) => {
                if !trouble.passing || !patience.pause().await {
                    return Err(beginning.gives_up(&trouble));
                }
                show.event(&Event::Retrying { store: trouble.store, error: trouble.message });
            }
        }
    }
}
