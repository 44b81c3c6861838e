//! `millrace maintenance` as it is typed, over real databases of each kind and of both kinds at once.

use std::sync::Arc;

use millrace::backlog::{
    self, Append, Backlog as _, Claim, Depth, Lease, Limit, Progress, Read, Session as _, Spooled,
};
use millrace::cli::maintenance::begin::Beginning;
use millrace::cli::maintenance::end::Ending;
use millrace::cli::maintenance::stores::Stores;
use millrace::config::Config;
use millrace::order::{Entry, Ordering};
use millrace::window::Notice;
use serde_json::Value;

use super::{Program, Said};
use crate::servers::{Database, database};

mod away;
mod drain;
mod killed;
mod typed;

/// A ledger and a backlog that were migrated, and the program that is pointed at them.
struct Site {
    program: Program,
    config: Config,
    _databases: Vec<Database>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    Sqlite,
}

const EACH: [(Kind, Kind); 4] = [
    (Kind::Sqlite, Kind::Sqlite),
    (Kind::Postgres, Kind::Postgres),
    (Kind::Postgres, Kind::Sqlite),
    (Kind::Sqlite, Kind::Postgres),
];

impl Site {
    async fn new((ledger, backlog): (Kind, Kind)) -> Self {
        let mut program = Program::with_settings();
        let mut databases = Vec::new();
        let mut place = async |kind, file: &str| match kind {
            Kind::Sqlite => format!("sqlite://{}", program.path(file).display()),
            Kind::Postgres => {
                let made = database().await;
                let url = made.url().to_owned();
                databases.push(made);
                url
            }
        };
        let (ledger, backlog) = (place(ledger, "orders.db").await, place(backlog, "backlog.db").await);
        program.set("MILLRACE__LEDGER__URL", &ledger);
        program.set("MILLRACE__BACKLOG__URL", &backlog);
        program.set("USER", "ann");
        let mut config = Config::new("http://127.0.0.1:1/0/orders", &ledger);
        config.backlog.url = Some(backlog);
        let said = program.run(&["migrate"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        Self { program, config, _databases: databases }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.program.run(arguments)
    }

    /// Runs it; it must be done.
    fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// What `maintenance status --json` says.
    fn status(&self) -> Value {
        serde_json::from_str(&self.done(&["maintenance", "status", "--json"])).expect("it is JSON")
    }

    /// Standing and epoch.
    fn stands(&self) -> (String, u64) {
        let status = self.status();
        (status["standing"].as_str().unwrap().to_owned(), status["ledger"]["epoch"].as_u64().unwrap())
    }

    fn stores(&self) -> Stores {
        Stores::open(&self.config).unwrap().expect("a backlog is configured")
    }

    fn beginning(&self, actor: &str) -> Beginning {
        let notice = Notice { reason: Some("upgrade".into()), actor: Some(actor.into()), until: None };
        Beginning::new(self.stores(), notice)
    }

    fn ending(&self) -> Ending {
        Ending::new(self.stores(), "ann", &self.config.maintenance)
    }

    async fn session(&self) -> backlog::any::AnySession {
        backlog::open(&self.config).unwrap().expect("a backlog is configured").connect().await.unwrap()
    }

    async fn depth(&self) -> Depth {
        self.session().await.depth().await.unwrap()
    }

    /// Puts orders of one customer into the backlog, as a worker does in a window.
    async fn spool(&self, count: u64) {
        let mut session = self.session().await;
        let epoch = session.phase().await.unwrap().epoch;
        let orders: Vec<Spooled> = (1..=count).map(order).collect();
        assert!(matches!(session.append(epoch, &orders).await.unwrap(), Append::Spooled(_)));
    }

    /// Renews the drain lease, as a worker that drains does.
    async fn lease(&self, session: &mut backlog::any::AnySession) {
        let progress =
            Progress { allowed_per_second: 100.0, commit_seconds: 0.01, limited_by: Some(Limit::DatabaseLatency) };
        let claim = Claim { owner: "worker-1".into(), lease: self.config.maintenance.lease, progress };
        assert_eq!(session.lease(&claim).await.unwrap(), Lease::Held);
    }
}

fn order(sequence: u64) -> Spooled {
    let body = format!(
        r#"{{"order_id":"o-{sequence}","customer_id":"c-1","sequence":{sequence},"placed_at":"2026-11-22T10:00:00Z",
            "currency":"EUR","lines":[{{"sku":"tea","quantity":1,"unit_price_minor":450}}]}}"#
    );
    let message_id = format!("m-{sequence}");
    let entry = Entry::from_message(Ordering::Gapless, &message_id, None, body);
    assert!(matches!(entry, Entry::Order(_)), "{entry:?}");
    Spooled { rank: sequence.into(), entry: Arc::new(entry), message_id, sent_at_ms: None }
}

/// The rows of the backlog, so many at most.
async fn rows(session: &mut backlog::any::AnySession, limit: u32) -> Vec<i64> {
    let read = Read { share: limit, limit, bytes_max: 1 << 20, ..Read::default() };
    session.read(&read).await.unwrap().into_iter().map(|row| row.row).collect()
}

/// Lines of JSON.
fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
