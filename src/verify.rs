//! `millrace verify`: says whether a ledger kept the promise, with code of its own.
//!
//! Nothing here comes from the engine: own structs, own reading of messages, own SQL. A mistake that both made would
//! have to be made twice. Everything is read in one snapshot, so it may run beside a working fleet; what is in SQS at
//! that moment counts as lost when it is in the manifest, so a manifest is for a queue that has run dry.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::{Connection as _, Row as _};

use manifest::Manifest;

mod manifest;
mod orders;
mod rules;

/// How many examples of each rule are shown; the rest is counted.
const EXAMPLES: usize = 10;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The ledger (or a reader of it): `postgres://` or `sqlite://`.
    pub url: String,
    /// What order was promised.
    pub sequence: Sequence,
    /// JSON lines of order messages: the file that was given to `millrace submit`.
    pub manifest: Option<PathBuf>,
}

/// What order of a customer's orders was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// The message's number is the position.
    Gapless,
    /// The order of the manifest is the order of the positions.
    Fifo,
    /// None.
    None,
}

/// One way in which a ledger can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// In the manifest, and neither an order nor a tombstone, parked or in quarantine.
    Lost,
    /// An order, its event or one of its lines is there twice, or it is both order and tombstone.
    Duplicated,
    /// A position that is not the order's place at the source.
    OutOfOrder,
    /// In the ledger, and not in the manifest.
    Invented,
    /// Customer, currency or lines are not those of the manifest.
    Differs,
    /// A position below the customer's highest one that is neither order nor tombstone.
    Hole,
    /// A position with more than one order or tombstone.
    TakenTwice,
    /// `last_position` is not the customer's highest position.
    LastPosition,
    /// An order without lines.
    NoLines,
    /// Lines without their order.
    StrayLines,
    /// An order without its event.
    NoEvent,
    /// An event without its order, or with another customer or position.
    StrayEvent,
    /// An `event_id` that does not grow with the position.
    EventOrder,
    /// The counter `parked` is not the number of parked rows.
    ParkedCount,
    /// Parked, although it has an end.
    ParkedEnded,
    /// `blocked_by` names no row in quarantine.
    BlockedByNothing,
    /// The total is not the sum of the lines.
    Total,
    /// A value that cannot be: NULL, text in a number's place.
    Unreadable,
}

impl Rule {
    /// What a finding of it means, in a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Rule::Lost => "lost",
            Rule::Duplicated => "duplicated",
            Rule::OutOfOrder => "out of order",
            Rule::Invented => "not in the manifest",
            Rule::Differs => "content differs from the manifest",
            Rule::Hole => "positions that are neither order nor tombstone",
            Rule::TakenTwice => "positions taken twice",
            Rule::LastPosition => "last_position is wrong",
            Rule::NoLines => "orders without lines",
            Rule::StrayLines => "lines without order",
            Rule::NoEvent => "orders without event",
            Rule::StrayEvent => "events without their order",
            Rule::EventOrder => "event_id does not grow with position",
            Rule::ParkedCount => "counter of parked orders is wrong",
            Rule::ParkedEnded => "parked, although committed or tombstoned",
            Rule::BlockedByNothing => "blocked by nothing in quarantine",
            Rule::Total => "total is not the sum of the lines",
            Rule::Unreadable => "unreadable values",
        }
    }
}

/// What was found against one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// How often.
    pub count: u64,
    /// The first ones, each a sentence.
    pub examples: Vec<String>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Orders in the ledger.
    pub orders: u64,
    /// Customers in the ledger.
    pub customers: u64,
    /// Positions that an operator left empty.
    pub tombstones: u64,
    /// Orders that wait for a predecessor or behind a blocked head.
    pub parked: u64,
    /// Customers whose next order is in quarantine.
    pub blocked: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// What the manifest held, if there was one.
    pub manifest: Option<manifest::Facts>,
    /// What is wrong; empty when nothing is.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.findings.iter().find(|finding| finding.rule == rule).map_or(0, |finding| finding.count)
    }

    fn add(&mut self, rule: Rule, example: impl FnOnce() -> String) {
        let at = self.findings.iter().position(|finding| finding.rule == rule).unwrap_or_else(|| {
            self.findings.push(Finding { rule, count: 0, examples: Vec::new() });
            self.findings.len() - 1
        });
        let finding = &mut self.findings[at];
        finding.count += 1;
        if finding.examples.len() < EXAMPLES {
            finding.examples.push(example());
        }
    }
}

/// The last line of the command.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "verified: {} orders, {} lost, {} duplicated, {} out of order, {} quarantined",
            self.orders,
            self.count(Rule::Lost),
            self.count(Rule::Duplicated),
            self.count(Rule::OutOfOrder),
            self.quarantined
        )
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest cannot be read.
    #[error("manifest {}: {source}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database does not answer, or its tables are not those of a ledger.
    #[error("ledger: {doing}: {source}")]
    Ledger {
        /// What was being read.
        doing: String,
        /// What the driver says.
        source: sqlx::Error,
    },
}

/// Reads ledger and manifest, and says what is wrong.
///
/// # Errors
///
/// One of them cannot be read.
pub async fn verify(question: &Question) -> Result<Report, VerifyError> {
    let mut manifest = match &question.manifest {
        Some(path) => Some(read(path, question.sequence)?),
        None => None,
    };
    let mut ledger = open(&question.url).await?;
    let mut report = Report { manifest: manifest.as_ref().map(|manifest| manifest.facts), ..Report::default() };
    for (field, sql) in [
        (&mut report.orders, "SELECT count(*) FROM orders"),
        (&mut report.customers, "SELECT count(*) FROM customers"),
        (&mut report.tombstones, "SELECT count(*) FROM tombstones"),
        (&mut report.parked, "SELECT count(*) FROM parked_orders"),
        (&mut report.blocked, "SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL"),
        (&mut report.quarantined, "SELECT count(*) FROM quarantined_orders"),
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut ledger).await.map_err(during(sql))?;
        *field = u64::try_from(count).unwrap_or_default();
    }
    rules::judge(&mut ledger, &mut report).await?;
    if let Some(manifest) = &mut manifest {
        orders::accept_replaced(&mut ledger, manifest).await?;
    }
    orders::judge(&mut ledger, question.sequence, manifest.as_mut(), &mut report).await?;
    if let Some(manifest) = &mut manifest {
        orders::judge_the_rest(&mut ledger, manifest, &mut report).await?;
    }
    report.findings.sort_by_key(|finding| finding.rule);
    Ok(report)
}

fn read(path: &Path, sequence: Sequence) -> Result<Manifest, VerifyError> {
    Manifest::read(path, sequence == Sequence::Gapless)
        .map_err(|source| VerifyError::Manifest { path: path.to_owned(), source })
}

fn during(doing: &str) -> impl FnOnce(sqlx::Error) -> VerifyError {
    let doing = doing.to_owned();
    move |source| VerifyError::Ledger { doing, source }
}

/// Connects, and begins a transaction that sees one moment and writes nothing.
async fn open(url: &str) -> Result<AnyConnection, VerifyError> {
    sqlx::any::install_default_drivers();
    let is_sqlite = url.starts_with("sqlite:");
    let url = match (is_sqlite, url.contains("mode="), url.contains('?')) {
        (true, false, true) => format!("{url}&mode=ro"),
        (true, false, false) => format!("{url}?mode=ro"),
        _ => url.to_owned(),
    };
    let mut ledger = AnyConnection::connect(&url).await.map_err(during("connecting"))?;
    let begin = if is_sqlite { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" };
    sqlx::raw_sql(begin).execute(&mut ledger).await.map_err(during("beginning to read"))?;
    Ok(ledger)
}

/// The text of a column, which every query here casts to text; `None` when it is NULL or no text at all.
fn text(row: &sqlx::any::AnyRow, column: usize) -> Option<String> {
    row.try_get::<Option<String>, _>(column).ok().flatten()
}
