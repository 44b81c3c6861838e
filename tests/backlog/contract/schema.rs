//! The schema, and a session after an error.

use millrace::backlog::{Backlog, ErrorClass, Session};

use super::Store;
use super::bench::Bench;
use super::orders::order;
use crate::probe::Probe;

pub(crate) async fn a_backlog_without_schema_says_what_to_run<S: Store>(store: &S) {
    let (backlog, _probe) = store.open(false).await;
    let error = backlog.connect().await.err().expect("there is no schema");
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert!(error.message.contains("run `millrace migrate`"), "{error}");
}

pub(crate) async fn migrating_twice_and_at_once<S: Store>(store: &S) {
    let (backlog, _probe) = store.open(false).await;
    let (one, two) = tokio::join!(backlog.migrate(), backlog.migrate());
    let mut steps = [one.unwrap(), two.unwrap()];
    steps.sort_unstable();
    assert!(steps[0] == 0 && steps[1] > 0, "{steps:?}");
    assert_eq!(backlog.migrate().await, Ok(0));
    backlog.connect().await.unwrap();
}

pub(crate) async fn a_table_that_is_missing_is_a_broken_deployment<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.probe.execute("DROP TABLE backlog_orders").await;
    let error = bench.session.append(1, &[order("ada", 1)]).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert!(error.message.contains("run `millrace migrate`"), "{error}");
}

pub(crate) async fn an_error_spends_the_session<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.probe.execute("ALTER TABLE backlog_drainer RENAME TO elsewhere").await;
    assert_eq!(bench.session.release("w1").await.unwrap_err().class, ErrorClass::Broken);
    bench.probe.execute("ALTER TABLE elsewhere RENAME TO backlog_drainer").await;
    let error = bench.session.phase().await.unwrap_err();
    assert!(error.class == ErrorClass::Away && error.message.contains("spent"), "{error}");
    bench.another().await.release("w1").await.unwrap();
}
