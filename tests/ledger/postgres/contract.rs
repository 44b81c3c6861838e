//! What every ledger promises, kept by PostgreSQL.

use millrace::ledger::Ledger;
use millrace::ledger::postgres::Postgres;

use super::settings;
use crate::ledger::contract::{self, Setup, Store};
use crate::probe::{PgProbe, Probe as _};
use crate::servers::database;

contract::contract!(promises, PostgresStore);

struct PostgresStore;

impl Store for PostgresStore {
    type Ledger = Postgres;
    type Probe = PgProbe;

    async fn open(&self, setup: &Setup) -> (Postgres, PgProbe) {
        let database = database().await;
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(database.url());
        settings.effects = setup.effects.map(|sql| {
            let path = folder.path().join("effects.sql");
            std::fs::write(&path, sql).unwrap();
            path
        });
        let ledger = Postgres::new(database.url(), setup.ordering, &settings).unwrap();
        if setup.migrated {
            assert!(ledger.migrate().await.unwrap() > 0);
        }
        let probe = PgProbe::of(database).await;
        probe.execute(setup.tables).await;
        (ledger, probe)
    }
}
