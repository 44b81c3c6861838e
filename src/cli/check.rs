//! stub

/// Arguments of `millrace check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_config: &crate::config::Config, _args: &Args) -> std::process::ExitCode {
    super::failed("check", &"not yet")
}
