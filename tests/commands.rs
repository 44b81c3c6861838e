//! The commands of `millrace`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

mod backlog;
mod bench;
mod check;
mod maintenance;
mod quarantine;
mod reports;
mod status;
mod submit;
mod words;

use crate::servers::process::Running;
use crate::servers::unique;

/// The program, alone in a folder: no variables but those that a test gives.
struct Program {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What it said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Program {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), variables: Vec::new() }
    }

    /// With a ledger in a file, and a queue that nobody serves.
    fn with_settings() -> Self {
        let mut program = Self::new();
        let ledger = format!("sqlite://{}", program.path("orders.db").display());
        program.set("MILLRACE__INBOX__QUEUE_URL", "http://127.0.0.1:1/0/orders");
        program.set("MILLRACE__LEDGER__URL", &ledger);
        program.set("MILLRACE__INBOX__ATTEMPT_TIMEOUT", "2s");
        for (name, value) in [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")] {
            program.set(name, value);
        }
        program
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Runs it to its end. Never inside a runtime whose thread a server needs: see [`Program::beside`].
    fn run(&self, arguments: &[&str]) -> Said {
        let folder: &Path = self.folder.path();
        let ended = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .output()
            .expect("the program runs");
        Said::from(ended)
    }

    /// Starts it and lets it run; what it says is in its log.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().envs(self.variables.iter().cloned());
        let folder = self.path(&unique("run"));
        std::fs::create_dir(&folder).expect("the folder is writable");
        Running::start("millrace", command, &folder)
    }

    /// Runs it beside servers of the test's own runtime.
    async fn beside(self, arguments: &'static [&'static str]) -> (Self, Said) {
        let run = tokio::task::spawn_blocking(move || {
            let said = self.run(arguments);
            (self, said)
        });
        run.await.expect("running does not panic")
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}
