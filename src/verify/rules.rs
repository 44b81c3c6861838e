//! Rules that the database can judge by itself: each query returns one sentence for each thing that is wrong.
//!
//! They are plain SQL that PostgreSQL and SQLite both take.

use futures_util::TryStreamExt as _;
use sqlx::AnyConnection;

use super::{Report, Rule, VerifyError, during, text};

/// Every rule with its queries. A name in a sentence is NULL-proof: NULL would swallow the sentence.
const RULES: &[(Rule, &str)] = &[
    (
        Rule::Duplicated,
        "SELECT 'order ' || COALESCE(order_id, 'NULL') || ' is there ' || CAST(count(*) AS text) || ' times' \
         FROM orders GROUP BY order_id HAVING count(*) > 1",
    ),
    (
        Rule::Duplicated,
        "SELECT 'order ' || COALESCE(order_id, 'NULL') || ' has ' || CAST(count(*) AS text) || ' committed events' \
         FROM order_events WHERE kind = 'committed' GROUP BY order_id HAVING count(*) > 1",
    ),
    (
        Rule::Duplicated,
        "SELECT 'order ' || COALESCE(order_id, 'NULL') || ' has line ' || COALESCE(CAST(line_number AS text), 'NULL') \
             || ' ' || CAST(count(*) AS text) || ' times' \
         FROM order_lines GROUP BY order_id, line_number HAVING count(*) > 1",
    ),
    (
        Rule::Duplicated,
        "SELECT 'order ' || o.order_id || ' is committed, and customer ' || t.customer_id || ' has a tombstone for it' \
         FROM orders o JOIN tombstones t ON t.order_id = o.order_id",
    ),
    (
        Rule::Hole,
        "SELECT 'customer ' || customer_id || ': ' || CASE WHEN position < 1 \
             THEN 'position ' || CAST(position AS text) || ' is below 1' \
             ELSE 'nothing at ' || CAST(before + 1 AS text) || ' to ' || CAST(position - 1 AS text) END \
         FROM (SELECT customer_id, position, \
                   lag(position, 1, CAST(0 AS bigint)) OVER (PARTITION BY customer_id ORDER BY position) AS before \
               FROM (SELECT customer_id, position FROM orders \
                     UNION SELECT customer_id, position FROM tombstones) taken) pairs \
         WHERE position > before + 1 OR position < 1",
    ),
    (
        Rule::TakenTwice,
        "SELECT 'customer ' || COALESCE(customer_id, 'NULL') || ': position ' \
             || COALESCE(CAST(position AS text), 'NULL') || ' is taken ' || CAST(count(*) AS text) || ' times' \
         FROM (SELECT customer_id, position FROM orders \
               UNION ALL SELECT customer_id, position FROM tombstones) taken \
         GROUP BY customer_id, position HAVING count(*) > 1",
    ),
    (
        Rule::LastPosition,
        "SELECT 'customer ' || COALESCE(c.customer_id, 'NULL') || ': last_position is ' \
             || COALESCE(CAST(c.last_position AS text), 'NULL') || ', the highest position is ' \
             || CAST(COALESCE(taken.top, 0) AS text) \
         FROM customers c LEFT JOIN (\
             SELECT customer_id, max(position) AS top FROM (SELECT customer_id, position FROM orders \
                 UNION ALL SELECT customer_id, position FROM tombstones) ends GROUP BY customer_id\
         ) taken ON taken.customer_id = c.customer_id \
         WHERE c.last_position IS NULL OR c.last_position <> COALESCE(taken.top, 0)",
    ),
    (
        Rule::LastPosition,
        "SELECT 'customer ' || COALESCE(customer_id, 'NULL') || ' has orders or tombstones, and no row' \
         FROM (SELECT customer_id FROM orders UNION SELECT customer_id FROM tombstones) taken \
         WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = taken.customer_id)",
    ),
    (
        Rule::NoLines,
        "SELECT 'order ' || COALESCE(order_id, 'NULL') || ' has no lines' FROM orders o \
         WHERE NOT EXISTS (SELECT 1 FROM order_lines l WHERE l.order_id = o.order_id)",
    ),
    (
        Rule::StrayLines,
        "SELECT DISTINCT 'order ' || COALESCE(order_id, 'NULL') || ' has lines, and is not there' \
         FROM order_lines l WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.order_id = l.order_id)",
    ),
    (
        Rule::NoEvent,
        "SELECT 'order ' || COALESCE(order_id, 'NULL') || ' has no committed event' FROM orders o \
         WHERE NOT EXISTS (SELECT 1 FROM order_events e WHERE e.order_id = o.order_id AND e.kind = 'committed')",
    ),
    (
        Rule::StrayEvent,
        "SELECT 'event ' || CAST(event_id AS text) || ' (' || COALESCE(kind, 'NULL') || ') names order ' \
             || COALESCE(order_id, 'NULL') || ', which is not there' FROM order_events e \
         WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.order_id = e.order_id) \
           AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = e.order_id AND e.kind <> 'committed')",
    ),
    (
        Rule::StrayEvent,
        "SELECT 'event ' || CAST(e.event_id AS text) || ' of order ' || e.order_id || ' names customer ' \
             || COALESCE(e.customer_id, 'NULL') || ', position ' || COALESCE(CAST(e.position AS text), 'NULL') \
         FROM order_events e WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = e.order_id) \
           AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.order_id = e.order_id \
               AND o.customer_id = e.customer_id AND o.position = e.position)",
    ),
    (
        Rule::EventOrder,
        "SELECT 'customer ' || customer_id || ': the event of position ' || CAST(position AS text) || ' is ' \
             || CAST(event AS text) || ', the one before it is ' || CAST(before AS text) \
         FROM (SELECT customer_id, position, event, \
                   lag(event) OVER (PARTITION BY customer_id ORDER BY position) AS before \
               FROM (SELECT DISTINCT o.customer_id, o.position, e.event \
                     FROM (SELECT order_id, min(event_id) AS event FROM order_events WHERE kind = 'committed' \
                           GROUP BY order_id) e JOIN orders o ON o.order_id = e.order_id) ends) pairs \
         WHERE event <= before",
    ),
    (
        Rule::ParkedCount,
        "SELECT 'customer ' || COALESCE(c.customer_id, 'NULL') || ': parked is ' \
             || COALESCE(CAST(c.parked AS text), 'NULL') || ', its parked rows are ' \
             || CAST(COALESCE(p.held, 0) AS text) \
         FROM customers c LEFT JOIN (SELECT customer_id, count(*) AS held FROM parked_orders GROUP BY customer_id) p \
             ON p.customer_id = c.customer_id \
         WHERE c.parked IS NULL OR c.parked <> COALESCE(p.held, 0)",
    ),
    (
        Rule::ParkedCount,
        "SELECT DISTINCT 'customer ' || COALESCE(customer_id, 'NULL') || ' has parked orders, and no row' \
         FROM parked_orders p WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = p.customer_id)",
    ),
    (
        Rule::ParkedEnded,
        "SELECT 'order ' || order_id || ' is parked, and has an end' FROM parked_orders p \
         WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = p.order_id) \
            OR EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = p.order_id)",
    ),
    (
        Rule::BlockedByNothing,
        "SELECT 'customer ' || COALESCE(customer_id, 'NULL') || ' is blocked by ' || blocked_by \
             || ', which is not in quarantine' FROM customers c WHERE blocked_by IS NOT NULL \
           AND NOT EXISTS (SELECT 1 FROM quarantined_orders q WHERE q.id = c.blocked_by)",
    ),
    (
        Rule::Unreadable,
        "SELECT 'customer ' || COALESCE(customer_id, 'NULL') || ': a tombstone has position ' \
             || COALESCE(CAST(position AS text), 'NULL') \
         FROM tombstones WHERE customer_id IS NULL OR position IS NULL",
    ),
];

/// Judges every rule.
pub(super) async fn judge(ledger: &mut AnyConnection, report: &mut Report) -> Result<(), VerifyError> {
    for (rule, sql) in RULES {
        let mut rows = sqlx::query(*sql).fetch(&mut *ledger);
        loop {
            match rows.try_next().await {
                Ok(Some(row)) => {
                    report.add(*rule, || text(&row, 0).unwrap_or_else(|| "a row that is no text".to_owned()));
                }
                Ok(None) => break,
                // SQLite takes any bytes for text. What they belong to cannot be said, and the next rule can be judged.
                Err(sqlx::Error::Decode(error)) => {
                    report.add(Rule::Unreadable, || format!("while judging {}: {error}", rule.title()));
                    break;
                }
                Err(error) => return Err(during(rule.title())(error)),
            }
        }
    }
    Ok(())
}
