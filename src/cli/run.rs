//! `millrace run`: the engine.

use std::process::ExitCode;

use crate::config::Config;

/// Arguments of `millrace run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the engine until it is told to stop.
#[must_use]
pub fn run(_config: Config, _args: &Args) -> ExitCode {
    super::failed("run", &"the engine is not there yet")
}
