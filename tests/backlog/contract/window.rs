//! The steps of a window: each with its guard, each repeated, each out of its order.

use std::time::Duration;

use jiff::Timestamp;
use millrace::backlog::{Append, Kept, Session};
use millrace::window::Notice;
use millrace::window::Phase::{Sealed, Sealing, Spooling};

use super::Store;
use super::bench::{Bench, Place, claim, notice};
use super::orders::{order, orders};
use crate::servers::PATIENCE;

pub(crate) async fn a_new_backlog_is_sealed<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let view = bench.view().await;
    assert_eq!((view.phase, view.epoch, view.turn, view.announced), (Sealed, 0, 0, false));
    assert_eq!(view.notice, Notice::default());
    assert!(!view.accepts());
    assert_eq!(bench.refused(0, &[order("ada", 1)]).await, (Sealed, 0, 0, false));
}

pub(crate) async fn a_window_from_its_begin_to_its_end<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    for epoch in [1, 2, 5] {
        assert!(bench.session.start_spooling(epoch, &notice("window")).await.unwrap());
        assert_eq!(bench.place().await, (Spooling, epoch, 0, false));
        assert!(bench.view().await.accepts());
        bench.try_append(epoch, &[order("ada", 1)]).await.unwrap();
        assert_eq!(bench.count().await, 1);
        assert!(bench.session.announce_seal(epoch, 0).await.unwrap());
        assert_eq!(bench.place().await, (Spooling, epoch, 0, true));
        assert!(!bench.view().await.accepts());
        assert!(bench.session.seal(epoch, 0).await.unwrap());
        assert_eq!(bench.place().await, (Sealing, epoch, 0, false));
        assert!(!bench.session.sealed(epoch).await.unwrap(), "a row is left");
        bench.remove_everything().await;
        assert!(bench.session.sealed(epoch).await.unwrap());
        assert_eq!(bench.place().await, (Sealed, epoch, 0, false));
        assert_eq!(bench.refused(epoch, &[order("ada", 2)]).await, (Sealed, epoch, 0, false));
    }
}

pub(crate) async fn a_repeated_step_changes_nothing_more<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let spooling = bench.view().await;
    assert!(!bench.session.start_spooling(1, &notice("again")).await.unwrap());
    assert_eq!(bench.view().await, spooling, "not even its notice");

    assert!(bench.session.announce_seal(1, 0).await.unwrap());
    assert!(!bench.session.announce_seal(1, 0).await.unwrap());
    assert!(bench.session.seal(1, 0).await.unwrap());
    let sealing = bench.view().await;
    assert!(!bench.session.seal(1, 0).await.unwrap());
    assert_eq!(bench.view().await, sealing);

    bench.hold_lease("w1").await;
    assert!(bench.session.unseal(1, "w1").await.unwrap());
    let unsealed = bench.view().await;
    assert!(!bench.session.unseal(1, "w1").await.unwrap(), "there is nothing to take back");
    assert_eq!(bench.view().await, unsealed);

    bench.seal(1, 1).await;
    assert!(bench.session.sealed(1).await.unwrap());
    let sealed = bench.view().await;
    assert!(!bench.session.sealed(1).await.unwrap());
    assert_eq!(bench.view().await, sealed);
}

/// Every step that does not belong here is taken; none changes anything.
async fn nothing_moves<S: Store>(bench: &mut Bench<S>, at: Place, wrong: &[(&str, u64, u64)]) {
    let before = bench.view().await;
    assert_eq!((before.phase, before.epoch, before.turn, before.announced), at);
    for (step, epoch, turn) in wrong {
        let session = &mut bench.session;
        let taken = match *step {
            "spool" => session.start_spooling(*epoch, &notice("stale")).await,
            "announce" => session.announce_seal(*epoch, *turn).await,
            "seal" => session.seal(*epoch, *turn).await,
            "unseal" => session.unseal(*epoch, "w1").await,
            "sealed" => session.sealed(*epoch).await,
            other => panic!("{other}"),
        };
        assert!(!taken.unwrap(), "{step} of epoch {epoch}, turn {turn} was taken at {at:?}");
        assert_eq!(bench.view().await, before, "{step} of epoch {epoch}, turn {turn} changed something");
    }
}

pub(crate) async fn steps_out_of_order_change_nothing<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    bench.hold_lease("w1").await;
    let every = |epochs: &[u64]| -> Vec<(&str, u64, u64)> {
        let steps = ["announce", "seal", "unseal", "sealed"];
        let of = |epoch: u64| steps.into_iter().flat_map(move |step| [(step, epoch, 0), (step, epoch, 1)]);
        epochs.iter().flat_map(|epoch| of(*epoch)).collect()
    };
    nothing_moves(&mut bench, (Sealed, 0, 0, false), &[("spool", 0, 0)]).await;
    nothing_moves(&mut bench, (Sealed, 0, 0, false), &every(&[0, 1])).await;

    bench.session.start_spooling(3, &notice("window")).await.unwrap();
    let stale = every(&[0, 2, 4]);
    let here =
        [("spool", 3, 0), ("spool", 2, 0), ("announce", 3, 1), ("seal", 3, 0), ("unseal", 3, 0), ("sealed", 3, 0)];
    nothing_moves(&mut bench, (Spooling, 3, 0, false), &stale).await;
    nothing_moves(&mut bench, (Spooling, 3, 0, false), &here).await;

    assert!(bench.session.announce_seal(3, 0).await.unwrap());
    nothing_moves(&mut bench, (Spooling, 3, 0, true), &stale).await;
    nothing_moves(&mut bench, (Spooling, 3, 0, true), &[("seal", 3, 1), ("sealed", 3, 0), ("announce", 3, 1)]).await;

    assert!(bench.session.seal(3, 0).await.unwrap());
    nothing_moves(&mut bench, (Sealing, 3, 0, false), &stale).await;
    let here = [("announce", 3, 0), ("announce", 3, 1), ("seal", 3, 0), ("spool", 3, 0)];
    nothing_moves(&mut bench, (Sealing, 3, 0, false), &here).await;

    assert!(bench.session.sealed(3).await.unwrap());
    nothing_moves(&mut bench, (Sealed, 3, 0, false), &stale).await;
    nothing_moves(&mut bench, (Sealed, 3, 0, false), &every(&[3])).await;
    nothing_moves(&mut bench, (Sealed, 3, 0, false), &[("spool", 3, 0), ("spool", 1, 0)]).await;
}

pub(crate) async fn a_seal_needs_its_announcement<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    assert!(!bench.session.seal(1, 0).await.unwrap(), "it would wait for ever under load");
    assert_eq!(bench.place().await, (Spooling, 1, 0, false));
    bench.seal(1, 0).await;
}

pub(crate) async fn a_refusal_changes_nothing_and_names_the_phase<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let one = [order("ada", 1)];
    assert_eq!(bench.refused(0, &one).await, (Spooling, 1, 0, false));
    assert_eq!(bench.refused(2, &one).await, (Spooling, 1, 0, false));
    bench.session.announce_seal(1, 0).await.unwrap();
    assert_eq!(bench.refused(1, &one).await, (Spooling, 1, 0, true));
    bench.session.seal(1, 0).await.unwrap();
    assert_eq!(bench.refused(1, &one).await, (Sealing, 1, 0, false));
    bench.session.sealed(1).await.unwrap();
    assert_eq!(bench.refused(1, &one).await, (Sealed, 1, 0, false));

    bench.session.start_spooling(2, &notice("next")).await.unwrap();
    assert_eq!(bench.refused(1, &one).await, (Spooling, 2, 0, false));
    // A begin that died between its two statements.
    let died = "UPDATE backlog_announced SET epoch = 3";
    crate::probe::Probe::execute(&bench.probe, died).await;
    assert_eq!(bench.refused(2, &one).await, (Spooling, 2, 0, true));
    assert_eq!(bench.refused(3, &one).await, (Spooling, 2, 0, true));
    assert!(bench.session.start_spooling(3, &notice("again")).await.unwrap());
    assert_eq!(bench.place().await, (Spooling, 3, 0, false));
    assert_eq!(bench.refused(2, &one).await, (Spooling, 3, 0, false));
    bench.try_append(3, &one).await.unwrap();
    assert_eq!(bench.count().await, 1);
}

pub(crate) async fn a_refusal_is_all_or_nothing<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("ada", 1, 2)).await;
    bench.session.announce_seal(1, 0).await.unwrap();
    // Also what is there already is not acknowledged: this worker's view is stale.
    assert_eq!(bench.refused(1, &orders("ada", 1, 4)).await, (Spooling, 1, 0, true));
    assert_eq!(bench.refused(1, &orders("ada", 1, 2)).await, (Spooling, 1, 0, true));
    assert_eq!(bench.count().await, 2);
}

pub(crate) async fn a_stale_end_has_no_effect<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.hold_lease("w1").await;
    // An end of epoch 1 read its turn, and went to sleep. Another window began.
    bench.session.start_spooling(2, &notice("next")).await.unwrap();
    let stale = [("announce", 1, 0), ("seal", 1, 0), ("sealed", 1, 0), ("unseal", 1, 0)];
    nothing_moves(&mut bench, (Spooling, 2, 0, false), &stale).await;
    bench.try_append(2, &[order("ada", 1)]).await.unwrap();
    // The same, announced before the other window began.
    bench.session.announce_seal(2, 0).await.unwrap();
    bench.session.start_spooling(3, &notice("next")).await.unwrap();
    nothing_moves(&mut bench, (Spooling, 3, 0, false), &[("seal", 2, 0), ("unseal", 2, 0), ("announce", 2, 0)]).await;
    bench.try_append(3, &[order("ada", 2)]).await.unwrap();
    assert_eq!(bench.count().await, 2);
    // The same, sealing before the other window began.
    bench.seal(3, 0).await;
    bench.session.start_spooling(4, &notice("next")).await.unwrap();
    nothing_moves(&mut bench, (Spooling, 4, 0, false), &[("sealed", 3, 0), ("unseal", 3, 0), ("announce", 3, 0)]).await;
    bench.seal(4, 0).await;
    bench.remove_everything().await;
    nothing_moves(&mut bench, (Sealing, 4, 0, false), &[("sealed", 3, 0), ("unseal", 3, 0)]).await;
}

pub(crate) async fn an_announced_seal_is_taken_back<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.hold_lease("w1").await;
    let since = bench.view().await.since;
    bench.session.announce_seal(1, 0).await.unwrap();
    assert!(bench.session.unseal(1, "w1").await.unwrap());
    assert_eq!(bench.place().await, (Spooling, 1, 1, false));
    assert_eq!(bench.view().await.since, since, "it was spooling all the time");
    // Whoever announced it before cannot seal it now.
    nothing_moves(&mut bench, (Spooling, 1, 1, false), &[("seal", 1, 0), ("announce", 1, 0), ("sealed", 1, 0)]).await;
    bench.append(&[order("ada", 1)]).await;
    bench.seal(1, 1).await;
}

pub(crate) async fn a_seal_is_taken_back<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.hold_lease("w1").await;
    for turn in 0..3 {
        bench.seal(1, turn).await;
        assert_eq!(bench.place().await, (Sealing, 1, turn, false));
        assert!(bench.session.unseal(1, "w1").await.unwrap());
        assert_eq!(bench.place().await, (Spooling, 1, turn + 1, false));
        bench.append(&[order("ada", u128::from(turn))]).await;
        let stale = [("seal", 1, turn), ("announce", 1, turn), ("sealed", 1, 0)];
        nothing_moves(&mut bench, (Spooling, 1, turn + 1, false), &stale).await;
    }
    // Turns go on over windows, so that none is used twice.
    bench.session.start_spooling(2, &notice("next")).await.unwrap();
    assert_eq!(bench.place().await, (Spooling, 2, 3, false));
    bench.seal(2, 3).await;
    assert_eq!(bench.count().await, 3);
}

pub(crate) async fn only_the_drainer_unseals<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.seal(1, 0).await;
    assert!(!bench.session.unseal(1, "").await.unwrap(), "nobody has the lease");
    assert!(!bench.session.unseal(1, "w1").await.unwrap(), "nobody has the lease");
    bench.hold_lease("w1").await;
    assert!(!bench.session.unseal(1, "w2").await.unwrap(), "another one has the lease");
    assert!(!bench.session.unseal(2, "w1").await.unwrap(), "another window");
    bench.session.lease(&claim("w1", Duration::ZERO)).await.unwrap();
    assert!(!bench.session.unseal(1, "w1").await.unwrap(), "the lease has expired");
    bench.hold_lease("w1").await;
    bench.session.release("w1").await.unwrap();
    assert!(!bench.session.unseal(1, "w1").await.unwrap(), "the lease was given back");
    assert_eq!(bench.place().await, (Sealing, 1, 0, false));
    bench.hold_lease("w2").await;
    assert!(bench.session.unseal(1, "w2").await.unwrap());
    bench.seal(1, 1).await;
    assert!(bench.session.sealed(1).await.unwrap());
    assert!(!bench.session.unseal(1, "w2").await.unwrap(), "sealed is final");
}

pub(crate) async fn a_begin_over_any_phase_keeps_the_rows<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("ada", 1, 3)).await;
    bench.session.start_spooling(2, &notice("over spooling")).await.unwrap();
    bench.session.announce_seal(2, 0).await.unwrap();
    bench.session.start_spooling(3, &notice("over an announced seal")).await.unwrap();
    bench.seal(3, 0).await;
    bench.session.start_spooling(7, &notice("over sealing")).await.unwrap();
    assert_eq!(bench.place().await, (Spooling, 7, 0, false));
    assert_eq!(bench.count().await, 3);
    bench.audit().await;
    bench.try_append(7, &orders("ada", 3, 4)).await.unwrap();
    assert_eq!(bench.count().await, 4);
}

pub(crate) async fn since_stays_over_a_window_that_follows_another<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let sealed = bench.view().await.since;
    bench.session.start_spooling(1, &notice("one")).await.unwrap();
    let spooling = bench.view().await.since;
    assert!(spooling >= sealed && spooling <= bench.depth().await.now);
    bench.session.start_spooling(2, &notice("two")).await.unwrap();
    let second = bench.view().await;
    assert_eq!(second.since, spooling);
    assert_eq!(second.notice, notice("two"));
    bench.seal(2, 0).await;
    let sealing = bench.view().await.since;
    assert!(sealing >= spooling);
    bench.session.start_spooling(3, &notice("three")).await.unwrap();
    assert_eq!(bench.view().await.since, sealing);
}

pub(crate) async fn a_notice_is_kept_as_it_was_said<S: Store>(store: &S) {
    let mut bench = Bench::sealed(store).await;
    let until: Timestamp = "2027-01-02T03:04:05.123456Z".parse().unwrap();
    let said =
        Notice {
            reason: Some("“resize” the writer's disk; ✓".into()), actor: Some("ada".into()), until: Some(until)
        };
    bench.session.start_spooling(1, &said).await.unwrap();
    assert_eq!(bench.view().await.notice, said);
    bench.seal(1, 0).await;
    bench.session.sealed(1).await.unwrap();
    assert_eq!(bench.view().await.notice, said, "who closed it last is still known");
    bench.session.start_spooling(2, &Notice::default()).await.unwrap();
    assert_eq!(bench.view().await.notice, Notice::default());
}

pub(crate) async fn nothing_seals_a_backlog_that_has_rows<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    bench.append(&orders("ada", 1, 2)).await;
    bench.seal(1, 0).await;
    let rows = bench.everything().await;
    for left in [2, 1] {
        assert!(!bench.session.sealed(1).await.unwrap(), "{left} rows are left");
        bench.session.remove(&[rows[left - 1].row]).await.unwrap();
    }
    assert!(bench.session.sealed(1).await.unwrap());
    bench.audit().await;
}

/// Fact 1 of the protocol: a seal that is not announced waits as long as the load lasts.
pub(crate) async fn a_stream_of_appends_does_not_starve_a_step<S: Store>(store: &S) {
    let mut bench = Bench::spooling(store).await;
    let mut stream = Vec::new();
    for worker in 0..4 {
        let mut session = bench.another().await;
        stream.push(tokio::spawn(async move {
            let (mut epoch, mut new) = (1, 0);
            for round in 0.. {
                let orders = orders(&format!("w{worker}"), round * 5, round * 5 + 9);
                match session.append(epoch, &orders).await.unwrap() {
                    Append::Spooled(kept) => new += kept.iter().filter(|kept| **kept == Kept::New).count(),
                    Append::Refused(view) if view.phase == Sealing => break,
                    Append::Refused(view) => epoch = view.epoch,
                }
            }
            new
        }));
    }
    let first = bench.depth().await.appended;
    let steps = async {
        assert!(bench.session.start_spooling(2, &notice("under load")).await.unwrap());
        // The stream goes on under the new epoch.
        while bench.depth().await.appended <= first + 200 {
            tokio::task::yield_now().await;
        }
        bench.seal(2, 0).await;
    };
    tokio::time::timeout(PATIENCE, steps).await.expect("the stream of appends holds the steps up");
    let after = bench.depth().await;
    let mut new = 0;
    for worker in stream {
        new += worker.await.unwrap() as u64;
    }
    assert_eq!(new, after.appended, "what was acknowledged was there when the seal had passed");
    bench.audit().await;
}
