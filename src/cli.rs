//! The commands. Each has a file; all of them exit with 0 when done, 1 when failed, 2 when used wrongly.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};

pub mod backlog;
pub mod bench;
pub mod check;
pub mod customer;
pub mod maintenance;
pub mod migrate;
pub mod order;
pub mod preflight;
pub mod quarantine;
pub mod run;
pub mod status;
pub mod submit;
pub mod verify;

mod table;

/// Done.
const DONE: u8 = 0;
/// Tried, and failed.
const FAILED: u8 = 1;
/// Used wrongly: flags, arguments or settings. clap ends with the same number.
const MISUSED: u8 = 2;

/// Orders from SQS to Aurora: in sequence for each customer, once, nothing lost
#[derive(Debug, Parser)]
#[command(name = "millrace", version, arg_required_else_help = true, after_help = AFTER)]
struct Cli {
    #[arg(long, global = true, value_name = "FILE", env = "MILLRACE_CONFIG", help = SETTINGS)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

const SETTINGS: &str = "The settings: a TOML file; MILLRACE__SECTION__KEY in the environment wins over it";

const AFTER: &str = "Exit code: 0 done, 1 failed, 2 used wrongly.\n\
    Every setting: config/millrace.toml. First steps: millrace --config config/local.toml migrate";

#[derive(Debug, Subcommand)]
enum Command {
    /// Work: take orders from the queue into the ledger until SIGTERM
    Run(run::Args),
    /// Create the tables of ledger and backlog, or bring them up to date; safe beside running workers
    Migrate(migrate::Args),
    /// Reach every dependency, and say what is wrong and what to do about it
    Check(check::Args),
    /// Send a file of orders to the queue
    Submit(submit::Args),
    /// Ask the running engine on this host how it is
    Status(status::Args),
    /// Show everything that the ledger knows of an order
    Order(order::Args),
    /// Show where a customer stands, what it waits for, and what blocks it
    Customer(customer::Args),
    /// Begin and end a window in which the ledger is shut down and orders are accepted all the same
    Maintenance(maintenance::Args),
    /// Show the backlog: how much there is, how fast it drains, when it is empty
    Backlog(backlog::Args),
    /// Show what waits for a person, and decide about it
    Quarantine(quarantine::Args),
    /// Load the queue, watch the ledger, and say how fast it goes and what it costs
    Bench(bench::Args),
    /// Judge a ledger, and compare it with what was sent; exit 1 when anything is wrong
    Verify(verify::Args),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return misconfigured(cli.config.as_deref(), &error),
    };
    match cli.command {
        Command::Run(args) => run::run(&config, &args),
        Command::Migrate(args) => block_on(migrate::run(&config, &args)),
        Command::Check(args) => block_on(check::run(&config, &args)),
        Command::Submit(args) => block_on(submit::run(&config, &args)),
        Command::Status(args) => status::run(&config, &args),
        Command::Order(args) => block_on(order::run(&config, &args)),
        Command::Customer(args) => block_on(customer::run(&config, &args)),
        Command::Maintenance(args) => block_on(maintenance::run(&config, &args)),
        Command::Backlog(args) => block_on(backlog::run(&config, &args)),
        Command::Quarantine(args) => block_on(quarantine::run(&config, &args)),
        Command::Bench(args) => block_on(bench::run(&config, &args)),
        Command::Verify(args) => block_on(verify::run(&config, &args)),
    }
}

/// Every command but `run` needs one thread.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => failed("starting", &error),
    }
}

fn misconfigured(file: Option<&Path>, error: &ConfigError) -> ExitCode {
    for problem in &error.problems {
        eprintln!("millrace: {problem}");
    }
    if file.is_none() {
        eprintln!("\nNo file was named: millrace --config config/local.toml …, or set MILLRACE_CONFIG");
    }
    ExitCode::from(MISUSED)
}

/// Says what failed; the exit code of a failure.
fn failed(doing: &str, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("millrace {doing}: {error}");
    ExitCode::from(FAILED)
}

/// Who does it, for the record: who was named, or else `$USER`.
fn actor(named: Option<&str>) -> Option<String> {
    let actor = named.map(str::to_owned).or_else(|| std::env::var("USER").ok());
    actor.filter(|actor| !actor.trim().is_empty())
}

/// Prints one JSON object on a line.
fn print_json(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string(value).expect("reports are plain values"));
}
