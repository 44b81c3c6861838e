//! `millrace backlog`: how much is in it, how fast it drains, and when it is empty.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use tokio::time::Instant;

use super::{DONE, FAILED, print_json, table};
use crate::backlog::{self, AnyBacklog, Backlog as _, BacklogError, ErrorClass, Session as _};
use crate::config::Config;
use crate::reconnect::Pauses;
use crate::status::backlog::{BacklogStatus, Looks, RATES_OVER};
use crate::window::Phase;

pub mod advisor;
pub mod show;
pub mod words;

use advisor::Advisor;
use show::Show;

/// Between the two looks of `status`, and between the looks of `watch`.
const LOOK: Duration = Duration::from_secs(1);

/// How long `watch` goes on without an answer.
const PATIENCE: Duration = Duration::from_mins(5);

const NO_BACKLOG: &str = "no backlog is configured (backlog.url)";

/// Arguments of `millrace backlog`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look twice, a second apart, and show what was found
    Status(Shape),
    /// Look every second until it is sealed and empty, or Ctrl-C
    Watch(Shape),
}

#[derive(Debug, clap::Args)]
struct Shape {
    /// JSON instead of a table, a progress bar or lines
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let (Command::Status(shape) | Command::Watch(shape)) = &args.command;
    let mut show = Show::new(shape.json);
    let backlog = match backlog::open(config) {
        Ok(Some(backlog)) => backlog,
        Ok(None) => return show.failed("backlog", NO_BACKLOG, FAILED),
        Err(error) => return show.failed("backlog", &error.to_string(), FAILED),
    };
    let done = match &args.command {
        Command::Status(_) => status(&backlog, shape.json).await,
        Command::Watch(_) => tokio::select! {
            done = watch(config, &backlog, &mut show) => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
    };
    match done {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => show.failed("backlog", &error.to_string(), FAILED),
    }
}

async fn look(session: &mut backlog::any::AnySession, looks: &mut Looks) -> Result<BacklogStatus, BacklogError> {
    let (view, depth) = (session.phase().await?, session.depth().await?);
    Ok(looks.see(view, depth, session.drainer().await?))
}

async fn status(backlog: &AnyBacklog, json: bool) -> Result<(), BacklogError> {
    let mut looks = Looks::over(RATES_OVER);
    let mut session = backlog.connect().await?;
    look(&mut session, &mut looks).await?;
    tokio::time::sleep(LOOK).await;
    let status = look(&mut session, &mut looks).await?;
    if json {
        print_json(&status);
    } else {
        println!("{}", table::facts(words::facts(&status)));
    }
    Ok(())
}

async fn watch(config: &Config, backlog: &AnyBacklog, show: &mut Show) -> Result<(), BacklogError> {
    let mut looks = Looks::over(RATES_OVER);
    let mut advisor = Advisor::default();
    let (mut pauses, mut heard) = (Pauses::new(LOOK, LOOK * 5), Instant::now());
    let mut session = None;
    loop {
        let seen = async {
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(backlog.connect().await?),
            };
            look(session, &mut looks).await
        }
        .await;
        match seen {
            Ok(status) => {
                show.status(&status);
                if status.phase == Phase::Sealed && status.rows == 0 {
                    show.say("sealed and empty: the backlog waits for the next window");
                    return Ok(());
                }
                if let Some(message) = advisor.advise(&status, false, &config.maintenance, Instant::now()) {
                    show.say(&message);
                }
                pauses.reset();
                heard = Instant::now();
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => {
                session = None;
                if error.class != ErrorClass::Away || heard.elapsed() > PATIENCE {
                    return Err(error);
                }
                show.say(&format!("the backlog is asked again: {error}"));
                tokio::time::sleep(pauses.next_pause()).await;
            }
        }
    }
}
