//! Decisions: a session of its own, one transaction each.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::session::SqliteSession;
use super::work::Work;
use super::{Sqlite, Terms, errors, rank};
use crate::ledger::LedgerError;
use crate::ledger::decisions::desk::time;
use crate::ledger::decisions::steps::decide;
use crate::ledger::decisions::{Decision, Decisions, Listed, Question, Shown};
use desk::SqliteDesk;

mod desk;

/// Decisions of [`Sqlite`].
#[derive(Debug)]
pub struct SqliteDecisions {
    session: SqliteSession,
}

impl SqliteDecisions {
    pub(super) async fn open(ledger: Sqlite) -> Result<Self, LedgerError> {
        Ok(Self { session: SqliteSession::open(ledger).await? })
    }
}

struct Decide<'a> {
    question: Question<'a>,
    actor: &'a str,
}

impl Work for Decide<'_> {
    type Answer = Decision;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Decision, LedgerError> {
        // Whatever is not done has written nothing, so it may be committed as well.
        decide(&mut SqliteDesk(tx), terms.ordering, self.question, self.actor).await
    }
}

/// What is selected of an entry, whether in a list or alone.
macro_rules! listed {
    ($rest:literal) => {
        concat!(
            "SELECT q.id, q.order_id, q.customer_id, q.ord, q.kind, q.reason, coalesce(c.blocked_by = q.id, 0),
                    coalesce(c.parked, 0), q.created_at, q.body
             FROM quarantined_orders q LEFT JOIN customers c ON c.customer_id = q.customer_id ",
            $rest
        )
    };
}

/// An entry that was decided meanwhile has its time in the decision.
const LIST: &str = listed!(
    "WHERE ?1 IS NULL OR (q.created_at, q.id) > (
         SELECT x.at, ?1 FROM (
             SELECT created_at AS at FROM quarantined_orders WHERE id = ?1
             UNION ALL SELECT max(quarantined_at) FROM decisions WHERE case_id = ?1) x
         WHERE x.at IS NOT NULL ORDER BY x.at LIMIT 1)
     ORDER BY q.created_at, q.id LIMIT ?2"
);

struct List<'a> {
    after: Option<&'a str>,
    limit: u32,
}

impl Work for List<'_> {
    type Answer = Vec<Listed>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<Vec<Listed>, LedgerError> {
        let query = sqlx::query(LIST).bind(self.after).bind(self.limit);
        query.fetch_all(tx).await.map_err(errors::error)?.iter().map(listed).collect()
    }
}

struct Show<'a>(&'a str);

impl Work for Show<'_> {
    type Answer = Option<Shown>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<Option<Shown>, LedgerError> {
        let query = sqlx::query(listed!("WHERE q.id = ?1")).bind(self.0);
        let Some(row) = query.fetch_optional(tx).await.map_err(errors::error)? else { return Ok(None) };
        let body: &[u8] = row.try_get_unchecked(9).map_err(errors::error)?;
        Ok(Some(Shown { listed: listed(&row)?, body: String::from_utf8_lossy(body).into_owned() }))
    }
}

fn listed(row: &SqliteRow) -> Result<Listed, LedgerError> {
    let text = |column: usize| row.try_get::<String, _>(column).map_err(errors::error);
    let optional = |column: usize| row.try_get::<Option<String>, _>(column).map_err(errors::error);
    let ord = optional(3)?.as_deref().map(rank::parse).transpose()?;
    let created_at = text(8)?;
    Ok(Listed {
        id: text(0)?,
        order_id: optional(1)?,
        customer_id: optional(2)?,
        rank: ord.filter(|rank| *rank > 0).map(|rank| rank.to_string()),
        kind: text(4)?,
        reason: text(5)?,
        blocks: row.try_get(6).map_err(errors::error)?,
        parked_behind: row.try_get::<i64, _>(7).map_err(errors::error)?.unsigned_abs(),
        created_at: time(&created_at),
    })
}

impl Decisions for SqliteDecisions {
    async fn list(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<Listed>, LedgerError> {
        self.session.transact(List { after, limit }).await
    }

    async fn show(&mut self, id: &str) -> Result<Option<Shown>, LedgerError> {
        self.session.transact(Show(id)).await
    }

    async fn decide(&mut self, question: Question<'_>, actor: &str) -> Result<Decision, LedgerError> {
        self.session.transact(Decide { question, actor }).await
    }
}
