//! What is no backlog, and what befalls a session.

use std::time::Duration;

use millrace::backlog::postgres::Postgres;
use millrace::backlog::{Append, Backlog, BacklogError, ErrorClass, Kept, Session};
use millrace::order::Ordering;

use super::{World, settings};
use crate::backlog::contract::orders::order;
use crate::servers::{free_port, unique, variable};

async fn connect(url: &str) -> BacklogError {
    Postgres::new(url, Ordering::Gapless, &settings()).unwrap().connect().await.expect_err("there is no backlog")
}

/// The same server, with another user or database.
fn server(user: &str, database: &str) -> String {
    let url = variable("MILLRACE_TEST_POSTGRES");
    let (start, _) = url.rsplit_once('/').unwrap();
    let (_, host) = start.rsplit_once('@').unwrap_or(start.rsplit_once("//").unwrap());
    format!("postgres://{user}@{host}/{database}")
}

#[tokio::test]
async fn what_is_no_backlog_is_told_apart() {
    let nobody = connect(&server(&unique("nobody"), "postgres")).await;
    assert_eq!(nobody.class, ErrorClass::Broken, "{nobody}");
    assert!(nobody.message.contains("backlog.url"), "{nobody}");
    let nowhere = connect(&server("postgres", &unique("nowhere"))).await;
    assert_eq!(nowhere.class, ErrorClass::Broken, "{nowhere}");
    let away = connect(&format!("postgres://postgres@127.0.0.1:{}/x", free_port())).await;
    assert_eq!(away.class, ErrorClass::Away, "{away}");
    let error = Postgres::new("postgres://[", Ordering::Gapless, &settings()).expect_err("no URL");
    assert!(error.class == ErrorClass::Broken && error.message.contains("backlog.url"), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_away() {
    let world = World::new().await;
    world.database.set("default_transaction_read_only = on").await;
    let error = world.backlog.connect().await.expect_err("it is read only");
    assert_eq!(error.class, ErrorClass::Away, "{error}");
    assert!(error.message.contains("not the writer"), "{error}");
}

#[tokio::test]
async fn a_missing_privilege_is_a_broken_deployment() {
    let world = World::new().await;
    let role = unique("reader");
    world
        .database
        .sql(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        .await;
    let (_, name) = world.database.url().rsplit_once('/').unwrap();
    let reader = Postgres::new(&server(&role, name), Ordering::Gapless, &settings()).unwrap();
    let mut session = reader.connect().await.unwrap();
    session.phase().await.unwrap();
    let error = session.append(1, &[order("ada", 1)]).await.unwrap_err();
    assert!(error.class == ErrorClass::Broken && error.message.contains("42501"), "{error}");
    world.database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_lost_connection_spends_the_session_and_nothing_else() {
    let world = World::new().await;
    let mut session = world.session().await;
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(world.database.value(others).await, "1");
    for _ in 0..2 {
        let error = session.append(1, &[order("ada", 1)]).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Away, "{error}");
    }
    let mut session = world.session().await;
    assert_eq!(session.append(1, &[order("ada", 1)]).await.unwrap(), Append::Spooled(vec![Kept::New]));
}

#[tokio::test]
async fn a_statement_beyond_its_time_is_rolled_back() {
    let world = World::with(|settings| settings.statement_timeout = Duration::from_secs(2)).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
                CREATE TRIGGER slow AFTER INSERT ON backlog_orders FOR EACH ROW EXECUTE FUNCTION slow()";
    world.database.sql(slow).await;
    let error = world.session().await.append(1, &[order("ada", 1)]).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Away, "{error}");
    assert!(error.message.contains("backlog.statement_timeout"), "{error}");
    world.database.sql("DROP TRIGGER slow ON backlog_orders").await;
    let mut session = world.session().await;
    assert_eq!(session.depth().await.unwrap().appended, 0);
    assert_eq!(session.append(1, &[order("ada", 1)]).await.unwrap(), Append::Spooled(vec![Kept::New]));
}
