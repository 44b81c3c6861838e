//! The group commit.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, SqlSafeStr as _, SqlStr};

use super::columns::{Moment, unreadable};
use super::errors::{self, Step};
use super::session::PgSession;
use crate::ledger::effects::Effects;
use crate::ledger::{Batch, ErrorClass, LedgerError, Run, Verdict};
use crate::order::{Entry, EntryId, Order, Ordering, Rank};

const GAPLESS: &str = include_str!("commit_gapless.sql");
const ARRIVAL: &str = include_str!("commit_arrival.sql");
const EFFECTS: &str = include_str!("commit_effects.sql");

const EFFECTS_HERE: &str = "/* effects */";
const SKIP: &str = " SKIP LOCKED";

/// The texts of the group commit, with the team's effects in them.
#[derive(Debug)]
pub(super) struct Statements {
    ordering: Ordering,
    /// Leaves locked customers to a later batch.
    skip: SqlStr,
    /// Waits for them.
    wait: SqlStr,
    /// Where the effects begin in each, in characters.
    effects_at: [usize; 2],
}

impl Statements {
    pub(super) fn new(ordering: Ordering, effects: Option<&Effects>) -> Self {
        let text = if ordering == Ordering::Gapless { GAPLESS } else { ARRIVAL };
        let (skip, skip_at) = with_effects(text, effects);
        let (wait, wait_at) = with_effects(&text.replacen(SKIP, "", 1), effects);
        // What is put together here is this program's and the deployment's own text; values are bound.
        let safe = |text: String| sqlx::AssertSqlSafe(std::sync::Arc::<str>::from(text)).into_sql_str();
        Self { ordering, skip: safe(skip), wait: safe(wait), effects_at: [skip_at, wait_at] }
    }

    /// Executes both with nothing to commit and no state of the gate that would do: they are planned, and what is
    /// missing of tables, columns and privileges is found, also of the effects'.
    pub(super) async fn prepare(&self, conn: &mut PgConnection, effects: Option<&Effects>) -> Result<(), LedgerError> {
        let nothing = Columns::default();
        for (text, at) in [&self.skip, &self.wait].into_iter().zip(self.effects_at) {
            let query = bind(text.clone(), self.ordering, &Terms::default(), &nothing);
            if let Err(error) = query.fetch_all(&mut *conn).await {
                return Err(blame(&error, effects, at));
            }
        }
        Ok(())
    }
}

/// The text with the effects in it, and where they begin.
fn with_effects(text: &str, effects: Option<&Effects>) -> (String, usize) {
    let (before, after) = text.split_once(EFFECTS_HERE).expect("the statement has a place for the effects");
    let Some(effects) = effects else { return (format!("{before}{after}"), 0) };
    let before = format!("{before}{EFFECTS}");
    let at = before.chars().count();
    // On a line of its own: the effects may end in a comment.
    (format!("{before}{}\n){after}", effects.sql()), at)
}

/// An error of preparing: the deployment's, unless the server is away.
fn blame(error: &sqlx::Error, effects: Option<&Effects>, at: usize) -> LedgerError {
    let LedgerError { class, message } = errors::classify(error, Step::Connect);
    if class == ErrorClass::Away {
        return LedgerError { class, message };
    }
    let message = match (effects, errors::position(error)) {
        (Some(effects), Some(position)) if (at..=at + effects.sql().chars().count()).contains(&position) => {
            let (line, column) = effects.place(position - at);
            format!("ledger.effects: {}:{line}:{column}: {message}", effects.path().display())
        }
        // Without a place it may be theirs: a privilege, say.
        (Some(effects), None) => format!("group commit with the effects of {}: {message}", effects.path().display()),
        _ => format!("group commit: {message}"),
    };
    LedgerError { class: ErrorClass::Broken, message }
}

/// A batch as columns.
#[derive(Default)]
struct Columns<'a> {
    customer: Vec<&'a str>,
    first: Vec<Rank>,
    last: Vec<Rank>,
    run: Vec<i32>,
    rank: Vec<Rank>,
    order_id: Vec<&'a str>,
    digest: Vec<[u8; 32]>,
    currency: Vec<&'a str>,
    total_minor: Vec<i64>,
    placed_at: Vec<Moment>,
    body: Vec<&'a str>,
    line_order: Vec<i32>,
    line_number: Vec<i32>,
    sku: Vec<&'a str>,
    quantity: Vec<i32>,
    unit_price_minor: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a Batch) -> Result<Self, LedgerError> {
        let mut columns = Self::default();
        for (number, run) in (1..).zip(&batch.runs) {
            columns.push_run(number, run)?;
        }
        Ok(columns)
    }

    fn push_run(&mut self, number: i32, run: &'a Run) -> Result<(), LedgerError> {
        let (Some(first), Some(last)) = (run.orders.first(), run.orders.last()) else {
            return Err(misuse("a run without orders"));
        };
        self.customer.push(run.customer.as_str());
        self.first.push(first.rank);
        self.last.push(last.rank);
        for placed in &run.orders {
            let Entry::Order(order) = &*placed.entry else { return Err(misuse("a run with a malformed entry")) };
            self.push_order(number, placed.rank, order);
        }
        Ok(())
    }

    fn push_order(&mut self, run: i32, rank: Rank, order: &'a Order) {
        self.run.push(run);
        self.rank.push(rank);
        self.order_id.push(order.order_id.as_str());
        self.digest.push(order.digest.0);
        self.currency.push(&order.currency);
        self.total_minor.push(order.total_minor);
        self.placed_at.push(order.placed_at.into());
        self.body.push(&order.body);
        let number = i32::try_from(self.run.len()).expect("a batch has far fewer orders");
        for (line_number, line) in (1..).zip(&order.lines) {
            self.line_order.push(number);
            self.line_number.push(line_number);
            self.sku.push(&line.sku);
            self.quantity.push(line.quantity);
            self.unit_price_minor.push(line.unit_price_minor);
        }
    }
}

/// What a batch is judged by, beside its orders. By default no state of the gate will do.
#[derive(Default)]
struct Terms {
    gate: &'static [&'static str],
    /// Only under this epoch.
    drained: Option<i64>,
    parked: bool,
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The statement with its values; both files number them alike.
fn bind<'q>(text: SqlStr, ordering: Ordering, terms: &Terms, columns: &'q Columns<'q>) -> Query<'q> {
    let query = sqlx::query(text).bind(terms.gate).bind(&columns.customer);
    let query = if ordering == Ordering::Gapless {
        let position = |rank: &Rank| i64::try_from(*rank).unwrap_or(i64::MAX);
        query
            .bind(columns.first.iter().map(|rank| position(rank) - 1).collect::<Vec<_>>())
            .bind(columns.last.iter().map(position).collect::<Vec<_>>())
            .bind(&columns.run)
            .bind(columns.rank.iter().map(position).collect::<Vec<_>>())
    } else {
        query
            .bind(columns.first.iter().map(Rank::to_string).collect::<Vec<_>>())
            .bind(ordering == Ordering::Fifo)
            .bind(&columns.run)
            .bind(columns.rank.iter().map(Rank::to_string).collect::<Vec<_>>())
    };
    let query = query
        .bind(&columns.order_id)
        .bind(&columns.digest)
        .bind(&columns.currency)
        .bind(&columns.total_minor)
        .bind(&columns.placed_at)
        .bind(&columns.body)
        .bind(&columns.line_order)
        .bind(&columns.line_number)
        .bind(&columns.sku)
        .bind(&columns.quantity)
        .bind(&columns.unit_price_minor);
    let query = if ordering == Ordering::Gapless { query } else { query.bind(terms.parked) };
    query.bind(terms.drained)
}

impl PgSession {
    pub(super) async fn commit_runs(&mut self, batch: &Batch) -> Result<Vec<Verdict>, LedgerError> {
        if batch.runs.is_empty() {
            return Ok(Vec::new());
        }
        let columns = Columns::of(batch)?;
        let shared = std::sync::Arc::clone(&self.shared);
        let text = if batch.resolve { &shared.statements.wait } else { &shared.statements.skip };
        let drained = self.drained_epoch();
        let gate: &[&str] = match drained {
            Some(_) => &["DRAINING"],
            None if batch.parked => &["OPEN", "DRAINING"],
            None => &["OPEN"],
        };
        let terms = Terms { gate, drained, parked: batch.parked };
        let query = bind(text.clone(), self.ordering(), &terms, &columns);
        let rows = self.rows(Step::Write, query).await?;
        if rows.len() != batch.runs.len() {
            return Err(unreadable("so many verdicts", &rows.len()));
        }
        rows.iter().map(verdict).collect()
    }
}

fn verdict(row: &PgRow) -> Result<Verdict, LedgerError> {
    let failed = |error: sqlx::Error| errors::classify(&error, Step::Write);
    let upto: &str = row.try_get(1).map_err(failed)?;
    let upto: Rank = upto.parse().map_err(|_| unreadable("the rank", &upto))?;
    let parked: i64 = row.try_get(2).map_err(failed)?;
    let parked = u64::try_from(parked).map_err(|_| unreadable("the number of parked orders", &parked))?;
    match row.try_get(0).map_err(failed)? {
        "committed" => {
            let known: Vec<String> = row.try_get(3).map_err(failed)?;
            Ok(Verdict::Committed { upto, parked, known: known.into_iter().map(EntryId::new).collect() })
        }
        "gate closed" => Ok(Verdict::GateClosed),
        "locked" => Ok(Verdict::Locked),
        "behind" => Ok(Verdict::Behind(upto)),
        "ahead" => Ok(Verdict::Ahead { upto, parked }),
        "blocked" => Ok(Verdict::Blocked),
        "buried" => {
            let message = "a tombstone has the order_id of one of these orders; nothing was written".to_owned();
            Err(LedgerError { class: ErrorClass::Taken, message })
        }
        other => Err(unreadable("the verdict", &other)),
    }
}

fn misuse(what: &str) -> LedgerError {
    LedgerError { class: ErrorClass::Unrecognised, message: format!("{what} was to be committed; nothing was sent") }
}
