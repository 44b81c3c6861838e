//! One ledger under test: calls a session, and after each call holds the tables to what must always be true.

use millrace::ledger::decisions::Decision;
use millrace::ledger::{
    Batch, Case, CaseVerdict, Found, Ledger, LedgerError, ParkVerdict, ParkedRun, Placed, Session, Verdict,
};
use millrace::order::{EntryId, Ordering, Rank};

use super::orders::{customer, run};
use super::{Setup, Store};
use crate::probe::Probe;

pub(crate) struct Bench<S: Store> {
    pub(crate) ledger: S::Ledger,
    pub(crate) session: <S::Ledger as Ledger>::Session,
    pub(crate) probe: S::Probe,
}

/// `Committed` without known orders.
pub(crate) fn committed(upto: Rank, parked: u64) -> Verdict {
    Verdict::Committed { upto, parked, known: Vec::new() }
}

pub(crate) fn ids(names: &[&str]) -> Vec<EntryId> {
    names.iter().map(|name| EntryId::new(*name)).collect()
}

pub(crate) fn batch(runs: &[&[Placed]]) -> Batch {
    Batch { runs: runs.iter().map(|orders| run(orders)).collect(), parked: false, resolve: false }
}

impl<S: Store> Bench<S> {
    pub(crate) async fn new(store: &S, ordering: Ordering) -> Self {
        Self::with(store, &Setup::new(ordering)).await
    }

    pub(crate) async fn with(store: &S, setup: &Setup) -> Self {
        let (ledger, probe) = store.open(setup).await;
        let session = ledger.connect().await.unwrap();
        Bench { ledger, session, probe }
    }

    pub(crate) async fn try_commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, LedgerError> {
        let verdicts = self.session.commit(batch).await;
        self.audit().await;
        if let Ok(verdicts) = &verdicts {
            assert_eq!(verdicts.len(), batch.runs.len(), "one verdict for each run");
        }
        verdicts
    }

    /// Commits live orders.
    pub(crate) async fn commit(&mut self, runs: &[&[Placed]]) -> Vec<Verdict> {
        self.try_commit(&batch(runs)).await.unwrap()
    }

    /// Commits one live run.
    pub(crate) async fn commit_one(&mut self, orders: &[Placed]) -> Verdict {
        self.commit(&[orders]).await.remove(0)
    }

    /// Commits one run that was parked.
    pub(crate) async fn commit_parked(&mut self, orders: &[Placed]) -> Verdict {
        let batch = Batch { parked: true, ..batch(&[orders]) };
        self.try_commit(&batch).await.unwrap().remove(0)
    }

    pub(crate) async fn park(&mut self, orders: &[Placed]) -> Vec<ParkVerdict> {
        let mut verdicts = self.session.park(orders).await.unwrap();
        assert_eq!(verdicts.len(), orders.len(), "one verdict for each order");
        // A store may make the customer's row first, and ask to be asked again.
        for _ in 0..10 {
            self.audit().await;
            let again = |index: &usize| verdicts[*index] == ParkVerdict::Again;
            let asked: Vec<_> = (0..orders.len()).filter(again).collect();
            if asked.is_empty() {
                return verdicts;
            }
            let subset: Vec<_> = asked.iter().map(|index| orders[*index].clone()).collect();
            for (index, verdict) in asked.into_iter().zip(self.session.park(&subset).await.unwrap()) {
                verdicts[index] = verdict;
            }
        }
        panic!("it says `again` for ever: {verdicts:?}");
    }

    pub(crate) async fn park_one(&mut self, order: &Placed) -> ParkVerdict {
        self.park(std::slice::from_ref(order)).await[0]
    }

    pub(crate) async fn found(&mut self, order: &Placed) -> Found {
        let mut found = self.session.look_up(std::slice::from_ref(order)).await.unwrap();
        assert_eq!(found.len(), 1, "one answer for each order");
        found.remove(0)
    }

    pub(crate) async fn next_run(&mut self, name: &str, limit: u32) -> ParkedRun {
        let mut runs = self.session.parked_runs(&[customer(name)], limit).await.unwrap();
        assert_eq!(runs.len(), 1, "one answer for each customer");
        runs.remove(0)
    }

    pub(crate) async fn quarantine(&mut self, case: &Case) -> CaseVerdict {
        let verdict = self.session.quarantine(case).await.unwrap();
        self.audit().await;
        verdict
    }

    pub(crate) async fn sweep(&mut self, limit: u32) -> Vec<String> {
        let found = self.session.sweep(limit).await.unwrap();
        self.audit().await;
        found.iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn count(&self, what: &str) -> u64 {
        let rows = self.probe.rows(&format!("SELECT count(*) FROM {what}")).await;
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// The first column of each row.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.probe.rows(sql).await;
        rows.into_iter().map(|row| row.into_iter().next().flatten().unwrap_or_default()).collect()
    }

    /// The names of a customer's orders by position.
    pub(crate) async fn line(&self, name: &str) -> Vec<String> {
        let sql = format!("SELECT order_id FROM orders WHERE customer_id = '{name}' ORDER BY position");
        self.column(&sql).await
    }

    pub(crate) async fn gate(&self, state: &str, epoch: u32) {
        self.probe.execute(&format!("UPDATE gate_announced SET epoch = {epoch} WHERE epoch < {epoch}")).await;
        self.probe.execute(&format!("UPDATE gate SET state = '{state}', epoch = {epoch}")).await;
    }

    /// An operator gives the blocked order another try.
    pub(crate) async fn retry(&self, name: &str) {
        let id = self.blocked_by(name).await;
        assert_eq!(self.decide_retry(&id).await, Decision::Done);
    }

    /// An operator leaves the blocked entry's place empty.
    pub(crate) async fn skip(&self, name: &str) {
        let id = self.blocked_by(name).await;
        assert_eq!(self.decide_skip(&id).await, Decision::Done);
    }

    async fn blocked_by(&self, name: &str) -> String {
        self.column(&format!("SELECT blocked_by FROM customers WHERE customer_id = '{name}'")).await.remove(0)
    }

    /// What must be true between any two calls.
    pub(crate) async fn audit(&self) {
        for (promise, sql) in [
            (
                "parked counts rows",
                "SELECT c.customer_id FROM customers c WHERE c.parked <>
                   (SELECT count(*) FROM parked_orders p WHERE p.customer_id = c.customer_id)",
            ),
            (
                "a parked order's customer has a row",
                "SELECT p.order_id FROM parked_orders p
                 WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = p.customer_id)",
            ),
            (
                "positions 1 to last_position are orders and tombstones",
                "SELECT c.customer_id FROM customers c LEFT JOIN (
                   SELECT customer_id, position FROM orders UNION ALL SELECT customer_id, position FROM tombstones
                 ) e ON e.customer_id = c.customer_id GROUP BY c.customer_id, c.last_position
                 HAVING count(e.position) <> c.last_position OR coalesce(max(e.position), 0) <> c.last_position
                   OR count(DISTINCT e.position) <> c.last_position OR coalesce(min(e.position), 1) <> 1",
            ),
            (
                "an order has lines, from 1 without gaps, and its total is their sum",
                "SELECT o.order_id FROM orders o LEFT JOIN order_lines l ON l.order_id = o.order_id
                 GROUP BY o.order_id, o.total_minor HAVING count(l.sku) = 0 OR max(l.line_number) <> count(l.sku)
                   OR sum(l.quantity * l.unit_price_minor) <> o.total_minor",
            ),
            (
                "an order has one event",
                "SELECT o.order_id FROM orders o LEFT JOIN order_events e ON e.order_id = o.order_id
                   AND e.customer_id = o.customer_id AND e.position = o.position AND e.kind = 'committed'
                 GROUP BY o.order_id HAVING count(e.event_id) <> 1",
            ),
            (
                "no lines or events of nobody",
                "SELECT order_id FROM order_lines WHERE order_id NOT IN (SELECT order_id FROM orders)
                 UNION ALL SELECT order_id FROM order_events WHERE order_id NOT IN (SELECT order_id FROM orders)",
            ),
            (
                "event ids grow with positions",
                "SELECT a.order_id FROM order_events a JOIN order_events b
                   ON b.customer_id = a.customer_id AND b.position = a.position + 1 WHERE b.event_id <= a.event_id",
            ),
            (
                "a blocked customer's head is in quarantine",
                "SELECT customer_id FROM customers c WHERE blocked_by IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM quarantined_orders q WHERE q.id = c.blocked_by)",
            ),
        ] {
            assert_eq!(self.column(sql).await, Vec::<String>::new(), "{promise}");
        }
    }
}
