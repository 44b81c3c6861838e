//! The rows of the table of errors that a real server can be made to say.

use std::time::Duration;

use millrace::ledger::postgres::Postgres;
use millrace::ledger::{ErrorClass, Ledger, Session};
use millrace::order::Ordering;
use sqlx::AssertSqlSafe;
use tokio::net::TcpListener;

use super::{Barrier, World, commit_beside, live, settings};

async fn connecting(url: &str) -> (ErrorClass, String) {
    let mut settings = settings(url);
    settings.connect_timeout = Duration::from_millis(500);
    let error = Postgres::new(url, Ordering::Gapless, &settings).unwrap().connect().await.unwrap_err();
    (error.class, error.message)
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_is_away() {
    let (class, _) = connecting("postgres://postgres@127.0.0.1:1/nothing").await;
    assert_eq!(class, ErrorClass::Away);
    // It accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (class, message) = connecting(&format!("postgres://postgres@{}/x", silent.local_addr().unwrap())).await;
    assert_eq!((class, message.contains("no answer")), (ErrorClass::Away, true), "{message}");
}

#[tokio::test]
async fn what_is_wrong_with_the_deployment_is_broken() {
    let world = World::new(Ordering::Gapless).await;
    let (class, message) = connecting(&format!("{}_not", world.database.url())).await;
    assert_eq!(class, ErrorClass::Broken, "{message}");
    let settings = settings("postgres:/nonsense");
    let error = Postgres::new("nonsense", Ordering::Gapless, &settings).unwrap_err();
    assert_eq!((error.class, error.message.contains("ledger.url")), (ErrorClass::Broken, true));
    // A session whose table goes away.
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    world.database.sql("ALTER TABLE order_events RENAME TO gone").await;
    let error = session.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert_eq!(world.ledger.connect().await.unwrap_err().class, ErrorClass::Broken);
    world.database.sql("ALTER TABLE gone RENAME TO order_events").await;
    // A role that may not write.
    let role = crate::servers::unique("reader");
    world
        .database
        .sql(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        .await;
    let url = world.database.url().replace("postgres@", &format!("{role}@"));
    let (class, message) = connecting(&url).await;
    world.database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    assert_eq!((class, message.contains("42501")), (ErrorClass::Broken, true), "{message}");
}

#[tokio::test]
async fn a_demoted_writer_is_away() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    world.database.set("default_transaction_read_only = on").await;
    let error = world.ledger.connect().await.unwrap_err();
    assert_eq!((error.class, error.message.contains("not the writer")), (ErrorClass::Away, true));
    // The session from before is still a writer's.
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
}

#[tokio::test]
async fn a_session_whose_server_turns_read_only_is_away() {
    // The role's setting comes with a new connection only, so the change is made where the session meets it.
    let world = World::new(Ordering::Gapless).await;
    world
        .database
        .sql(
            "CREATE FUNCTION demote() RETURNS trigger LANGUAGE plpgsql AS
              $$BEGIN RAISE 'cannot execute INSERT in a read-only transaction' USING ERRCODE = '25006'; END$$;
              CREATE TRIGGER demote BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION demote()",
        )
        .await;
    let mut session = world.session().await;
    let error = session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Away, "{error}");
    assert_eq!(session.gate().await.unwrap_err().class, ErrorClass::Away, "the session is spent");
}

#[tokio::test]
async fn keys_of_orders_are_taken_and_raised_errors_are_faults() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let again = world.named("ann-1", "bob", 1);
    let error = session.commit(&live(vec![super::run("bob", vec![again]), world.run("cid", 1..=1)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Taken, "{error}");
    assert_eq!(world.database.value("SELECT count(*) FROM customers").await, "1");
    let classes = [
        ("P0001", ErrorClass::Fault),
        ("22003", ErrorClass::Fault),
        ("40001", ErrorClass::Retry),
        // Nobody is blamed for a code that is not in the table.
        ("P0003", ErrorClass::Unrecognised),
        ("ZZ001", ErrorClass::Unrecognised),
    ];
    for (code, class) in classes {
        // What nobody knows spends its session.
        let mut session = world.session().await;
        world
            .database
            .sql(&format!(
                "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN RAISE 'no' USING ERRCODE = '{code}'; END$$;
                 CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fail()"
            ))
            .await;
        let error = session.commit(&live(vec![world.run("cid", 1..=1)])).await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
    }
}

#[tokio::test]
async fn deadlocks_are_tried_again() {
    let world = World::new(Ordering::Gapless).await;
    world.database.set("deadlock_timeout = '5s'").await;
    let (mut session, one) = (world.session().await, world.session().await);
    session.commit(&live(vec![world.run("ann", 1..=1), world.run("bob", 1..=1)])).await.unwrap();
    let mut held = Barrier::hold(&world, "SELECT FROM customers WHERE customer_id = 'bob' FOR UPDATE").await;
    let batch =
        millrace::ledger::Batch { resolve: true, ..live(vec![world.run("ann", 2..=2), world.run("bob", 2..=2)]) };
    let commit = commit_beside(one, batch);
    world.database.waiting(1).await;
    // The test waits for what the session holds. The session notices: it looks once, five seconds after its wait began.
    sqlx::raw_sql("SET deadlock_timeout = '30s'").execute(&mut held.0).await.unwrap();
    let ann = sqlx::raw_sql(AssertSqlSafe("SELECT FROM customers WHERE customer_id = 'ann' FOR UPDATE"));
    ann.execute(&mut held.0).await.unwrap();
    let error = commit.await.unwrap().1.unwrap_err();
    assert_eq!(error.class, ErrorClass::Retry, "{error}");
    held.let_go().await;
}

#[tokio::test]
async fn a_silent_server_is_an_unknown_outcome() {
    let world = World::with(Ordering::Gapless, |settings| settings.statement_timeout = Duration::from_secs(1)).await;
    let mut session = world.session().await;
    // The server's own limit is lifted by hand, as if its answer were lost on the way.
    world
        .database
        .sql(
            "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
              $$BEGIN PERFORM set_config('statement_timeout', '0', false), pg_sleep(0); RETURN NEW; END$$;
              CREATE TRIGGER stall BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stall()",
        )
        .await;
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
    let batch = millrace::ledger::Batch { resolve: true, ..live(vec![world.run("ann", 2..=2)]) };
    let error = session.commit(&batch).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("no answer")), (ErrorClass::Unknown, true), "{error}");
    held.let_go().await;
}
