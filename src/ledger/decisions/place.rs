//! Where an order that leaves quarantine goes, and why it cannot.

use super::desk::{Customer, Desk, End, Filed, Holder, Known};
use crate::ledger::LedgerError;
use crate::order::{Digest, Entry, Order, Ordering, Rank};

/// What to do in `fifo` with an order that cannot have its place back.
const AGAIN: &str = "keep its body (show ID --body), skip it, and send it again as a new message";

/// What ends a decision before it is done.
#[derive(Debug)]
pub(super) enum Stop {
    /// It cannot be done; the sentence says why, and what to do instead.
    Refused(String),
    /// The ledger failed.
    Failed(LedgerError),
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Stop::Failed(error)
    }
}

/// What is to be done with the parked orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// The very same order is parked at the place already.
    Stays,
    /// The very same order is parked further behind.
    Moves(Rank),
    /// It is to be parked there.
    Parks(Rank),
}

fn refused<T>(why: String) -> Result<T, Stop> {
    Err(Stop::Refused(why))
}

/// The entry as an order. A message that was none may be one by now, by a newer program.
pub(super) fn again(ordering: Ordering, entry: &Filed) -> Result<Order, Stop> {
    let no_order = |why: &str| refused(format!("it is no order ({why}): replace it, or skip it"));
    let Ok(body) = String::from_utf8(entry.body.clone()) else { return no_order("its body is not UTF-8") };
    let message_id = entry.id.strip_prefix('!').unwrap_or(&entry.id);
    match (Entry::from_message(ordering, message_id, entry.customer.as_deref(), body), &entry.order_id) {
        (Entry::Malformed(malformed), _) => no_order(&malformed.reason),
        (Entry::Order(order), None) => Ok(order),
        (Entry::Order(order), Some(name)) if order.order_id.as_str() != name => {
            no_order(&format!("its body is order {}, not {name}", order.order_id))
        }
        // The digest is the one that it came under, whatever a later version makes of it.
        (Entry::Order(order), Some(_)) => match <[u8; 32]>::try_from(&entry.digest[..]) {
            Ok(digest) => Ok(Order { digest: Digest(digest), ..order }),
            Err(_) => no_order("its digest cannot be read"),
        },
    }
}

/// Finds the order's place, with its customer's row locked.
pub(super) async fn judge<D: Desk>(
    desk: &mut D,
    ordering: Ordering,
    entry: &Filed,
    blocks: bool,
    order: &Order,
    row: &Customer,
) -> Result<Put, Stop> {
    let copy = copy_of(order, &desk.named(order.order_id.as_str()).await?)?;
    if let Some(twin) = desk.twin(order, &entry.id).await? {
        return refused(format!("this very order is in quarantine as {twin}: retry that entry, and skip this one"));
    }
    if blocks || ordering == Ordering::Fifo {
        is_of_the_line(ordering, entry, blocks, order, row)?;
    }
    let customer = order.customer_id.as_str();
    let rank = match ordering {
        Ordering::Gapless => Rank::from(order.sequence.unwrap_or(0)),
        Ordering::Fifo => entry.rank,
        Ordering::None => match copy {
            Some(rank) => rank,
            // Nothing is promised but a place of its own.
            None => desk.highest(customer).await?.map_or(0, |highest| highest + 1),
        },
    };
    if !blocks {
        is_to_come(desk, ordering, entry, order, rank, row).await?;
    }
    match copy {
        Some(at) if at <= rank => return Ok(Put::Stays),
        _ => {}
    }
    if let Some(other) = desk.parked_at(customer, rank).await? {
        return refused(format!(
            "order {other} is parked at place {rank} of customer {customer}, and goes first: replace this one by an \
             order with a free place, or skip it"
        ));
    }
    Ok(if copy.is_some() { Put::Moves(rank) } else { Put::Parks(rank) })
}

/// Where this very order is parked already. Refused where its name is another's, or has its end.
fn copy_of(order: &Order, known: &Known) -> Result<Option<Rank>, Stop> {
    let name = &order.order_id;
    let same = |holder: &Holder| holder.digest == order.digest.0 && holder.customer == order.customer_id.as_str();
    let place = |holder: &Holder| format!("{} of customer {}", holder.place, holder.customer);
    match known {
        Known { committed: Some(holder), .. } if same(holder) => {
            refused(format!("order {name} is committed already, at position {}: skip this entry", place(holder)))
        }
        Known { committed: Some(holder), .. } => refused(format!(
            "another order {name} is committed, at position {}: replace this one by an order with another order_id, or \
             skip it",
            place(holder)
        )),
        Known { skipped: Some(by), .. } => refused(format!(
            "order {name} was skipped by {} at {}, position {} of customer {}: replace it by an order with another \
             order_id, or skip it",
            by.actor, by.at, by.position, by.customer
        )),
        Known { parked: Some(holder), .. } if same(holder) => Ok(Some(holder.place)),
        Known { parked: Some(holder), .. } => refused(format!(
            "another order {name} is parked, at place {}: replace this one by an order with another order_id, or skip \
             it",
            place(holder)
        )),
        _ => Ok(None),
    }
}

/// What takes the place of an entry has to be of its line, and in `gapless` of its number.
fn is_of_the_line(ordering: Ordering, entry: &Filed, blocks: bool, order: &Order, row: &Customer) -> Result<(), Stop> {
    let (name, next) = (&order.order_id, row.last_position + 1);
    match entry.customer.as_deref() {
        Some(customer) if customer != order.customer_id.as_str() => refused(format!(
            "order {name} is of customer {}, and the entry's place belongs to customer {customer}",
            order.customer_id
        )),
        None if ordering == Ordering::Fifo => refused(
            "the entry has no customer, so it has no place in anybody's line: skip it, and send the order".into(),
        ),
        _ if blocks && ordering == Ordering::Gapless && order.sequence != Some(next) => refused(format!(
            "order {name} has sequence {}, and the entry's place is {next}",
            order.sequence.unwrap_or(0)
        )),
        _ => Ok(()),
    }
}

/// The place of an entry that blocks nobody: still to come, and nobody else's.
async fn is_to_come<D: Desk>(
    desk: &mut D,
    ordering: Ordering,
    entry: &Filed,
    order: &Order,
    rank: Rank,
    row: &Customer,
) -> Result<(), Stop> {
    let (customer, next) = (&order.customer_id, row.last_position + 1);
    match (ordering, &row.blocked_by) {
        (Ordering::None, None) => Ok(()),
        (Ordering::Gapless, Some(head)) if rank == Rank::from(next) => refused(format!(
            "sequence {rank} of customer {customer} is in quarantine as {head}: decide that entry first"
        )),
        (Ordering::Gapless, _) if rank >= Rank::from(next) => Ok(()),
        (Ordering::Gapless, _) => {
            let position = u64::try_from(rank).unwrap_or(u64::MAX);
            let end = match desk.end_at(customer.as_str(), position).await? {
                Some(End::Order(other)) => format!("belongs to order {other}"),
                Some(End::Skipped(by)) => format!("was left empty by {} at {}", by.actor, by.at),
                None => "is over".to_owned(),
            };
            refused(format!(
                "sequence {rank} of customer {customer} {end}: replace this one by an order with a free sequence (the \
                 next one is {next}), or skip it"
            ))
        }
        (Ordering::Fifo | Ordering::None, Some(head)) => {
            refused(format!("customer {customer} is blocked by {head}: decide that entry first"))
        }
        (Ordering::Fifo, None) if !entry.is_current => {
            refused(format!("its place belongs to the queue before this one, whose numbers say nothing here: {AGAIN}"))
        }
        (Ordering::Fifo, None) if rank > row.mark => Ok(()),
        (Ordering::Fifo, None) => refused(format!(
            "its place at the source is over, because later orders of customer {customer} have their end: {AGAIN}"
        )),
    }
}
