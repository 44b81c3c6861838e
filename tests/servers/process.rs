//! Processes that a test starts, signals and kills: the `millrace` binary, and the programs of private servers.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::{PATIENCE, eventually, folder};

/// How much of a log is shown when a test fails.
const LINES_SHOWN: usize = 200;

/// One `millrace run`. It is killed with this value; its log is printed when that happens in a panic.
#[derive(Debug)]
pub struct Worker {
    running: Running,
    _folder: TempDir,
}

impl Worker {
    /// Starts `millrace run --config CONFIG` against the SQS server at `sqs`, with test credentials and with
    /// `settings` as further variables (such as `MILLRACE__HTTP__LISTEN`). Nothing of the test's own AWS or
    /// millrace variables reaches it.
    pub fn start(config: &Path, sqs: &str, settings: &[(&str, &str)]) -> Self {
        let folder = folder("worker");
        let log = folder.path().join("log");
        Self::logging_to(log, folder, config, sqs, settings)
    }

    /// The same with a log that outlives it.
    pub fn with_log(log: PathBuf, config: &Path, sqs: &str, settings: &[(&str, &str)]) -> Self {
        Self::logging_to(log, folder("worker"), config, sqs, settings)
    }

    fn logging_to(log: PathBuf, folder: TempDir, config: &Path, sqs: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("MILLRACE_")) {
                command.env_remove(name);
            }
        }
        command
            .args(["run", "--config"])
            .arg(config)
            .env("AWS_ENDPOINT_URL_SQS", sqs)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            // Otherwise a missing credential asks the network for a machine's role.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(settings.iter().copied());
        Self { running: Running::logging_to(log, "millrace", command, folder.path()), _folder: folder }
    }

    /// SIGKILL: it ends in the middle of whatever it does. Returns when it is gone.
    pub async fn kill(&mut self) -> ExitStatus {
        self.running.signal(Signal::KILL);
        self.ended(PATIENCE).await
    }

    /// SIGTERM: it is asked to finish. Wait with [`Worker::ended`].
    pub fn terminate(&mut self) {
        self.running.signal(Signal::TERM);
    }

    /// SIGSTOP: it stands still, without knowing it.
    pub fn stand_still(&mut self) {
        self.running.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub fn go_on(&mut self) {
        self.running.signal(Signal::CONT);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// How it ended; panics with its log when it has not after `bound`.
    pub async fn ended(&mut self, bound: Duration) -> ExitStatus {
        self.running.ended(bound).await
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.running.runs()
    }

    /// The most memory that it had at once, in bytes (resident set).
    pub fn peak_memory_bytes(&self) -> u64 {
        self.running.peak_memory_bytes()
    }

    /// What it has written so far, standard output and standard error in one.
    pub fn log(&self) -> String {
        self.running.log()
    }
}

/// Tests that fill the machine with processes take turns, also when one process runs all tests (`cargo test`).
/// Under nextest the group `fleet` does the same.
pub async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A child process with its log. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; what it writes is appended to `folder/log`, and `folder/pid` says who it is.
    pub fn start(name: &'static str, command: Command, folder: &Path) -> Self {
        Self::logging_to(folder.join("log"), name, command, folder)
    }

    fn logging_to(log: PathBuf, name: &'static str, mut command: Command, folder: &Path) -> Self {
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} could not be started ({error}): run scripts/test"));
        fs::write(folder.join("pid"), child.id().to_string()).unwrap();
        Self { name, child, log }
    }

    /// Sends it, unless the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        // A process that was waited for has lost its id, perhaps to somebody else.
        if self.runs() {
            let sent = kill_process(Pid::from_child(&self.child), signal);
            assert!(sent.is_ok() || !self.runs(), "{signal:?} did not reach {}", self.name);
        }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub async fn ended(&mut self, bound: Duration) -> ExitStatus {
        eventually(&format!("{} ends", self.name), bound, || {
            let runs = self.runs();
            async move { !runs }
        })
        .await;
        self.child.wait().unwrap()
    }

    fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes << 10
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("--- {} ({}) wrote last:\n{}\n---", self.name, self.child.id(), last.join("\n"));
        }
    }
}

fn sleeper(ignoring: &str) -> Worker {
    let folder = folder("worker");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' {ignoring}; echo ready; while :; do sleep 0.05; done")]);
    Worker { running: Running::start("sleeper", command, folder.path()), _folder: folder }
}

#[tokio::test]
async fn a_worker_is_killed_even_when_it_does_not_want_to_end() {
    let _turn = alone().await;
    let mut worker = sleeper("TERM");
    eventually("it has set its trap", PATIENCE, || std::future::ready(worker.log() == "ready\n")).await;
    worker.terminate();
    assert!(worker.runs());
    assert_eq!(worker.kill().await.signal(), Some(9));
    assert!(!worker.runs());
}

#[tokio::test]
async fn a_worker_is_asked_to_end() {
    let mut worker = sleeper("HUP");
    eventually("it has set its trap", PATIENCE, || std::future::ready(worker.log() == "ready\n")).await;
    worker.terminate();
    assert_eq!(worker.ended(PATIENCE).await.signal(), Some(15));
}

#[tokio::test]
async fn a_worker_without_its_configuration_ends_by_itself() {
    let mut worker = Worker::start(Path::new("/nowhere/millrace.toml"), "http://127.0.0.1:1", &[]);
    let status = worker.ended(PATIENCE).await;
    assert!(!status.success(), "{}", worker.log());
}
