//! What a decision does, step by step, in one transaction: refused unless everything that it relies on is true of the
//! locked rows.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::{Customer, Desk, End, Filed, Made, Record, Tombstone};
use super::place::{self, Put, Stop};
use super::{Decision, Question};
use crate::ledger::{Gate, LedgerError};
use crate::order::{Order, Ordering, Rank};

/// Decides inside a transaction, which is to be committed when the answer is [`Decision::Done`] and rolled back
/// otherwise.
pub(in crate::ledger) async fn decide<D: Desk>(
    desk: &mut D,
    ordering: Ordering,
    question: Question<'_>,
    actor: &str,
) -> Result<Decision, LedgerError> {
    let gate = desk.gate().await?;
    if gate == Gate::Closed {
        return Ok(Decision::GateClosed);
    }
    // Under another ordering the same entry would have another place.
    if let Some(own) = desk.ordering().await?
        && own != ordering.to_string()
    {
        return Ok(Decision::Refused(format!(
            "inbox.ordering is {ordering} here, and the ledger is ordered by {own}: decide with the settings that the \
             engine has"
        )));
    }
    let decided = match question {
        Question::Retry(id) => put_back(desk, ordering, id, None, actor).await,
        Question::Replace(id, order) => put_back(desk, ordering, id, Some(order), actor).await,
        Question::Skip(id, reason) => skip(desk, ordering, id, reason, actor).await,
        Question::SkipGap(customer, position, reason) => {
            if ordering == Ordering::Gapless {
                skip_gap(desk, gate, customer.as_str(), position, reason, actor).await
            } else {
                Err(Stop::Refused(format!(
                    "only inbox.ordering = gapless has numbers that can be missing, and this is {ordering}"
                )))
            }
        }
    };
    match decided {
        Ok(decision) => Ok(decision),
        Err(Stop::Refused(why)) => Ok(Decision::Refused(why)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// An entry under the locks of everybody whom a decision about it concerns.
struct Case {
    entry: Filed,
    customers: BTreeMap<String, Customer>,
    /// Its customer waits for it.
    blocks: bool,
}

/// Locks the customers in the order of their names, then the entry. None: it is not in quarantine any more.
async fn lock<D: Desk>(desk: &mut D, seen: &Filed, order: Option<&Order>) -> Result<Option<Case>, LedgerError> {
    let joins = order.map(|order| order.customer_id.as_str());
    let names: BTreeSet<&str> = seen.customer.as_deref().into_iter().chain(joins).collect();
    let mut customers = BTreeMap::new();
    for name in names {
        if let Some(row) = desk.customer(name, joins == Some(name)).await? {
            customers.insert(name.to_owned(), row);
        }
    }
    let Some(entry) = desk.entry(&seen.id, true).await? else { return Ok(None) };
    let row = entry.customer.as_ref().and_then(|name| customers.get(name));
    let blocks = row.is_some_and(|row| row.blocked_by.as_ref() == Some(&entry.id));
    Ok(Some(Case { entry, customers, blocks }))
}

async fn put_back<D: Desk>(
    desk: &mut D,
    ordering: Ordering,
    id: &str,
    replacement: Option<&Order>,
    actor: &str,
) -> Result<Decision, Stop> {
    let action = if replacement.is_some() { "replace" } else { "retry" };
    let Some(seen) = desk.entry(id, false).await? else { return before(desk, id, action, replacement).await };
    let order = match replacement {
        Some(order) => order.clone(),
        None => place::again(ordering, &seen)?,
    };
    let Some(mut case) = lock(desk, &seen, Some(&order)).await? else {
        return before(desk, id, action, replacement).await;
    };
    let mut row = case.customers.remove(order.customer_id.as_str()).unwrap_or_default();
    let put = place::judge(desk, ordering, &case.entry, case.blocks, &order, &row).await?;
    match put {
        Put::Stays => {}
        Put::Moves(rank) => {
            desk.unpark(order.order_id.as_str()).await?;
            desk.park(&order, rank).await?;
        }
        Put::Parks(rank) => {
            desk.park(&order, rank).await?;
            row.parked += 1;
        }
    }
    if case.blocks {
        row.blocked_by = None;
    }
    desk.store(order.customer_id.as_str(), &row).await?;
    desk.release(id).await?;
    let entry = Some(&case.entry);
    desk.record(&Record { action, entry, customer: None, position: None, reason: None, actor, replacement }).await?;
    Ok(Decision::Done)
}

async fn skip<D: Desk>(
    desk: &mut D,
    ordering: Ordering,
    id: &str,
    reason: &str,
    actor: &str,
) -> Result<Decision, Stop> {
    let Some(seen) = desk.entry(id, false).await? else { return before(desk, id, "skip", None).await };
    let Some(mut case) = lock(desk, &seen, None).await? else { return before(desk, id, "skip", None).await };
    let mut position = None;
    if case.blocks
        && let Some(name) = &case.entry.customer
        && let Some(row) = case.customers.get_mut(name)
    {
        // A redelivery of what was skipped is a duplicate: an order by its name, a message by its id.
        let order_id = case.entry.order_id.as_deref().unwrap_or(id);
        let known = desk.named(order_id).await?;
        let is_copy = |copy: &super::desk::Holder| copy.digest == case.entry.digest && copy.customer == *name;
        let copy = known.parked.as_ref().is_some_and(is_copy);
        if copy {
            desk.unpark(order_id).await?;
            row.parked = row.parked.saturating_sub(1);
        }
        // Another order has the name, or is about to: it is not this one that has its end.
        let is_free = known.committed.is_none() && known.skipped.is_none() && (copy || known.parked.is_none());
        row.last_position += 1;
        row.blocked_by = None;
        if ordering == Ordering::Fifo {
            row.mark = row.mark.max(case.entry.rank);
        }
        position = Some(row.last_position);
        let order = is_free.then_some((order_id, &case.entry.digest[..]));
        desk.bury(&Tombstone { customer: name, position: row.last_position, order, reason, actor }).await?;
        desk.store(name, row).await?;
    }
    desk.release(id).await?;
    let (entry, reason) = (Some(&case.entry), Some(reason));
    let record = Record { action: "skip", entry, customer: None, position, reason, actor, replacement: None };
    desk.record(&record).await?;
    Ok(Decision::Done)
}

async fn skip_gap<D: Desk>(
    desk: &mut D,
    gate: Gate,
    customer: &str,
    position: u64,
    reason: &str,
    actor: &str,
) -> Result<Decision, Stop> {
    let refused = |why: String| Err(Stop::Refused(why));
    let Some(mut row) = desk.customer(customer, false).await? else {
        return refused(format!("nothing of customer {customer} has come yet, so nothing waits for a number of it"));
    };
    let next = row.last_position + 1;
    if position < next {
        return match desk.end_at(customer, position).await? {
            Some(End::Skipped(by)) => Ok(Decision::Before(format!("left empty by {} at {}", by.actor, by.at))),
            Some(End::Order(order)) => refused(format!(
                "sequence {position} of customer {customer} is order {order}, which is committed; the next one is {next}"
            )),
            None => refused(format!("sequence {position} of customer {customer} is over; the next one is {next}")),
        };
    }
    if position > next {
        return refused(format!(
            "sequence {next} of customer {customer} is the next one: only that can be left empty, and {position} when \
             its turn comes"
        ));
    }
    if let Some(head) = &row.blocked_by {
        return refused(format!(
            "sequence {next} of customer {customer} is in quarantine as {head}: decide that entry"
        ));
    }
    if let Some(order) = desk.parked_at(customer, Rank::from(next)).await? {
        return refused(format!(
            "sequence {next} of customer {customer} has come: it is order {order}, parked, and the engine commits it"
        ));
    }
    if row.parked == 0 {
        return refused(format!(
            "nothing of customer {customer} is parked, so nothing waits for sequence {next}: it may still come"
        ));
    }
    if gate != Gate::Open {
        return refused(format!(
            "sequence {next} of customer {customer} may still lie in the backlog: leave it empty when the window is \
             over, if it has not come by then"
        ));
    }
    row.last_position = next;
    desk.bury(&Tombstone { customer, position: next, order: None, reason, actor }).await?;
    desk.store(customer, &row).await?;
    let (position, reason) = (Some(next), Some(reason));
    let record = Record {
        action: "skip_gap",
        entry: None,
        customer: Some(customer),
        position,
        reason,
        actor,
        replacement: None,
    };
    desk.record(&record).await?;
    Ok(Decision::Done)
}

/// The entry is not in quarantine: somebody decided, or there never was one.
async fn before<D: Desk>(desk: &mut D, id: &str, action: &str, replacement: Option<&Order>) -> Result<Decision, Stop> {
    let Some(made) = desk.made(id).await? else { return Ok(Decision::Unknown) };
    let same_order = replacement.is_none_or(|order| {
        let digest = Some(&order.digest.0[..]);
        (made.new_order_id.as_deref(), made.new_digest.as_deref()) == (Some(order.order_id.as_str()), digest)
    });
    let Made { action: done, actor, at, new_order_id, .. } = made;
    let words = match done.as_str() {
        "retry" => format!("sent back to its line by {actor} at {at}"),
        "replace" => format!("replaced by order {} by {actor} at {at}", new_order_id.as_deref().unwrap_or("?")),
        _ => format!("skipped by {actor} at {at}"),
    };
    if done == action && same_order {
        return Ok(Decision::Before(words));
    }
    Err(Stop::Refused(format!("it is not in quarantine any more: it was {words}")))
}
