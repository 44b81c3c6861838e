//! One backlog under test: calls a session, and after each call holds the tables to what must always be true.

use std::time::Duration;

use millrace::backlog::{
    Append, Backlog, BacklogError, Claim, Depth, Kept, Lease, Progress, Read, Row, Session, Spooled,
};
use millrace::order::Rank;
use millrace::window::{Epoch, Notice, Phase, PhaseView};

use super::Store;
use crate::probe::Probe;

pub(crate) struct Bench<S: Store> {
    pub(crate) backlog: S::Backlog,
    pub(crate) session: <S::Backlog as Backlog>::Session,
    pub(crate) probe: S::Probe,
}

/// Everything that there is, at once.
pub(crate) fn all() -> Read {
    Read { share: 100_000, limit: 100_000, bytes_max: u32::MAX, ..Read::default() }
}

/// Where the backlog is: phase, epoch, turn, announced.
pub(crate) type Place = (Phase, Epoch, u64, bool);

pub(crate) fn place(view: &PhaseView) -> Place {
    (view.phase, view.epoch, view.turn, view.announced)
}

pub(crate) fn claim(owner: &str, lease: Duration) -> Claim {
    Claim { owner: owner.into(), lease, progress: Progress::default() }
}

pub(crate) fn notice(reason: &str) -> Notice {
    Notice { reason: Some(reason.into()), actor: Some("ops".into()), until: None }
}

/// Each row's name: its customer and rank.
pub(crate) fn names(rows: &[Row]) -> Vec<(&str, Rank)> {
    rows.iter().map(|row| (row.customer.as_ref().map_or("", |name| name.as_str()), row.rank)).collect()
}

impl<S: Store> Bench<S> {
    /// A backlog that is still sealed.
    pub(crate) async fn sealed(store: &S) -> Self {
        let (backlog, probe) = store.open(true).await;
        let session = backlog.connect().await.unwrap();
        Bench { backlog, session, probe }
    }

    /// A backlog that is spooling under epoch 1.
    pub(crate) async fn spooling(store: &S) -> Self {
        let mut bench = Self::sealed(store).await;
        assert!(bench.session.start_spooling(1, &notice("test")).await.unwrap());
        bench
    }

    pub(crate) async fn another(&self) -> <S::Backlog as Backlog>::Session {
        self.backlog.connect().await.unwrap()
    }

    pub(crate) async fn try_append(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Append, BacklogError> {
        let answer = self.session.append(epoch, orders).await;
        self.audit().await;
        answer
    }

    /// Appends under epoch 1.
    pub(crate) async fn append(&mut self, orders: &[Spooled]) -> Vec<Kept> {
        match self.try_append(1, orders).await.unwrap() {
            Append::Spooled(kept) => {
                assert_eq!(kept.len(), orders.len(), "one answer for each order");
                kept
            }
            Append::Refused(view) => panic!("refused: {view:?}"),
        }
    }

    /// Appends nothing, and is told where the backlog is.
    pub(crate) async fn refused(&mut self, epoch: Epoch, orders: &[Spooled]) -> Place {
        let before = self.depth().await.appended;
        match self.try_append(epoch, orders).await.unwrap() {
            Append::Refused(view) => {
                assert_eq!(self.depth().await.appended, before, "nothing was appended");
                place(&view)
            }
            Append::Spooled(kept) => panic!("it was not refused: {kept:?}"),
        }
    }

    pub(crate) async fn read(&mut self, read: &Read) -> Vec<Row> {
        self.session.read(read).await.unwrap()
    }

    pub(crate) async fn everything(&mut self) -> Vec<Row> {
        self.read(&all()).await
    }

    pub(crate) async fn remove_everything(&mut self) {
        let rows: Vec<_> = self.everything().await.iter().map(|row| row.row).collect();
        self.session.remove(&rows).await.unwrap();
        self.audit().await;
        assert_eq!(self.count().await, 0);
    }

    pub(crate) async fn depth(&mut self) -> Depth {
        self.session.depth().await.unwrap()
    }

    pub(crate) async fn view(&mut self) -> PhaseView {
        self.session.phase().await.unwrap()
    }

    pub(crate) async fn place(&mut self) -> Place {
        place(&self.view().await)
    }

    /// Both steps of a seal.
    pub(crate) async fn seal(&mut self, epoch: Epoch, turn: u64) {
        assert!(self.session.announce_seal(epoch, turn).await.unwrap());
        assert!(self.session.seal(epoch, turn).await.unwrap());
    }

    pub(crate) async fn hold_lease(&mut self, owner: &str) {
        let claim = claim(owner, Duration::from_mins(10));
        assert_eq!(self.session.lease(&claim).await.unwrap(), Lease::Held);
    }

    /// Rows, counted one by one.
    pub(crate) async fn count(&self) -> u64 {
        let rows = self.probe.rows("SELECT count(*) FROM backlog_orders").await;
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// What must be true between any two calls.
    pub(crate) async fn audit(&mut self) {
        let depth = self.depth().await;
        assert_eq!(depth.rows, self.count().await, "the depth is the number of rows");
        assert_eq!(depth.rows, depth.appended - depth.removed);
        assert_eq!(depth.oldest.is_some(), depth.rows > 0);
        let sealed = self.probe.rows("SELECT phase FROM backlog_gate WHERE phase = 'SEALED'").await.len();
        assert!(sealed == 0 || depth.rows == 0, "sealed with {} rows", depth.rows);
    }
}
