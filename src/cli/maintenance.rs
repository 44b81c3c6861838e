//! `millrace maintenance`: a window in which the ledger is shut down and orders go on being accepted.
//!
//! `begin` and `end` are loops: read both stores, ask [`crate::window`] what is next, take the step, say it, read
//! again. They keep nothing of their own, so they can be killed anywhere and run again, by two operators at once.

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Config;

pub mod begin;
pub mod course;
pub mod end;
pub mod standing;
pub mod status;
pub mod stores;
pub mod until;
pub mod words;

/// Arguments of `millrace maintenance`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Close the ledger's gate, and accept orders into the backlog from then on
    Begin(begin::Args),
    /// Let the backlog drain into the ledger, watch it, and open the gate again
    End(end::Args),
    /// Show where ledger and backlog stand, who began the window and why, and what to type next
    Status(status::Args),
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    match &args.command {
        Command::Begin(args) => begin::run(config, args).await,
        Command::End(args) => end::run(config, args).await,
        Command::Status(args) => status::run(config, args).await,
    }
}
