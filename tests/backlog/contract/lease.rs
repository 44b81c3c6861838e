//! The drain lease: one owner at a time, and word of how it goes.

use std::time::Duration;

use millrace::backlog::Lease::{Elsewhere, Held};
use millrace::backlog::{Claim, Limit, Progress, Session};

use super::Store;
use super::bench::{Bench, claim};

const LONG: Duration = Duration::from_mins(10);

pub(crate) async fn one_owner_at_a_time<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let mut other = bench.another().await;
    assert_eq!(bench.session.drainer().await.unwrap(), None);
    assert_eq!(bench.session.lease(&claim("w1", LONG)).await.unwrap(), Held);
    assert_eq!(other.lease(&claim("w2", LONG)).await.unwrap(), Elsewhere);
    let first = other.drainer().await.unwrap().unwrap();
    assert_eq!(first.owner, "w1");
    let ahead = first.until.duration_since(bench.depth().await.now).as_secs();
    assert!((500..=600).contains(&ahead), "{ahead} s");
    assert_eq!(bench.session.lease(&claim("w1", LONG * 2)).await.unwrap(), Held, "it renews");
    assert!(other.drainer().await.unwrap().unwrap().until > first.until);
    assert_eq!(other.lease(&claim("w2", LONG)).await.unwrap(), Elsewhere);
}

pub(crate) async fn a_lease_that_expired_is_taken_over<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let mut other = bench.another().await;
    assert_eq!(bench.session.lease(&claim("w1", Duration::ZERO)).await.unwrap(), Held);
    let expired = other.drainer().await.unwrap().unwrap();
    assert!(expired.owner == "w1" && expired.until <= other.depth().await.unwrap().now, "{expired:?}");
    assert_eq!(other.lease(&claim("w2", LONG)).await.unwrap(), Held);
    assert_eq!(bench.session.lease(&claim("w1", LONG)).await.unwrap(), Elsewhere, "it comes too late");
    assert_eq!(bench.session.drainer().await.unwrap().unwrap().owner, "w2");
}

pub(crate) async fn a_lease_is_given_back_by_its_owner<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    bench.hold_lease("w1").await;
    bench.session.release("w2").await.unwrap();
    assert_eq!(bench.session.drainer().await.unwrap().unwrap().owner, "w1");
    bench.session.release("w1").await.unwrap();
    assert_eq!(bench.session.drainer().await.unwrap(), None);
    bench.session.release("w1").await.unwrap();
    assert_eq!(bench.session.lease(&claim("w2", LONG)).await.unwrap(), Held);
}

pub(crate) async fn progress_is_read_by_others<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let mut other = bench.another().await;
    let limits = [None, Some(Limit::DatabaseLatency), Some(Limit::HotCustomer), Some(Limit::Empty)];
    for (limited_by, rate) in limits.into_iter().zip([0.0, 12.5, 5_000.0, 1e9]) {
        let progress = Progress { allowed_per_second: rate, commit_seconds: 0.125, limited_by };
        let claim = Claim { progress: progress.clone(), ..claim("w1", LONG) };
        assert_eq!(bench.session.lease(&claim).await.unwrap(), Held);
        let read = other.drainer().await.unwrap().unwrap();
        assert_eq!(read.progress, progress);
        // A claim that was refused says nothing.
        other.lease(&super::bench::claim("w2", LONG)).await.unwrap();
        assert_eq!(other.drainer().await.unwrap().unwrap(), read);
    }
    // What a newer version says in words that this one does not know.
    let newer = r#"UPDATE backlog_drainer SET progress = '{"limited_by":"moon"}'"#;
    crate::probe::Probe::execute(&bench.probe, newer).await;
    assert_eq!(other.drainer().await.unwrap().unwrap().progress, Progress::default());
}

pub(crate) async fn of_many_claims_one_is_held<S: Store>(store: &S) {
    let bench = Bench::sealed(store).await;
    for round in 0..5 {
        let mut claims = Vec::new();
        for worker in 0..4 {
            let mut session = bench.another().await;
            let claim = claim(&format!("w{worker}"), LONG);
            claims.push(tokio::spawn(async move { (claim.owner.clone(), session.lease(&claim).await.unwrap()) }));
        }
        let mut held = Vec::new();
        for claim in claims {
            let (owner, lease) = claim.await.unwrap();
            held.extend((lease == Held).then_some(owner));
        }
        assert_eq!(held.len(), 1, "round {round}: {held:?}");
        bench.another().await.release(&held[0]).await.unwrap();
    }
}
