//! A parcel: one entry as the shell carries it. The core knows it by its handle alone and never looks inside.

use std::sync::Arc;

use crate::backlog::Spooled;
use crate::core::{Arrival, Loaded};
use crate::inbox::{Delivery, Receipt};
use crate::ledger::{ParkedRun, Placed};
use crate::order::{CustomerId, Entry, Ordering, Rank};

/// One entry: of a delivery, or of a parked order (which has no receipt).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    pub entry: Arc<Entry>,
    pub receipt: Option<Receipt>,
    /// SQS's name of its message; empty for a parked order.
    pub message_id: String,
    /// When its message was sent, in milliseconds since 1970.
    pub sent_at_ms: Option<i64>,
}

/// What stands for a parcel in the core.
pub(super) type Handle = Arc<Parcel>;

/// Decodes a delivery.
pub(super) fn of_delivery(ordering: Ordering, delivery: Delivery) -> Arrival<Handle> {
    let Delivery { message_id, receipt, body, group, sequence_number, sent_at_ms, .. } = delivery;
    let entry = Entry::from_message(ordering, &message_id, group.as_deref(), body);
    let rank = match (ordering, &entry) {
        (Ordering::Gapless, Entry::Order(order)) => order.sequence.map_or(0, Rank::from),
        // Every message of a FIFO queue has a number; the start makes sure that it is one.
        (Ordering::Fifo, _) => sequence_number.unwrap_or(0),
        (Ordering::Gapless | Ordering::None, _) => 0,
    };
    arrival(rank, Parcel { entry: Arc::new(entry), receipt: Some(receipt), message_id, sent_at_ms })
}

/// Takes a run that was loaded from the parked orders.
pub(super) fn of_run(run: ParkedRun) -> Loaded<Handle> {
    let parcel = |placed: Placed| {
        let Placed { rank, entry } = placed;
        arrival(rank, Parcel { entry, receipt: None, message_id: String::new(), sent_at_ms: None })
    };
    Loaded {
        customer: run.customer,
        upto: run.upto,
        parked: run.parked,
        orders: run.orders.into_iter().map(parcel).collect(),
    }
}

/// A parcel as the ledger takes it.
pub(super) fn placed((rank, handle): &(Rank, Handle)) -> Placed {
    Placed { rank: *rank, entry: Arc::clone(&handle.entry) }
}

/// A parcel as the backlog takes it.
pub(super) fn spooled((rank, handle): &(Rank, Handle)) -> Spooled {
    // A malformed message that was parked before it came again is still known by its message's name.
    let message_id = match &*handle.entry {
        Entry::Malformed(malformed) if handle.message_id.is_empty() => {
            let id = malformed.id.as_str();
            id.strip_prefix('!').unwrap_or(id)
        }
        _ => &handle.message_id,
    };
    Spooled {
        rank: *rank,
        entry: Arc::clone(&handle.entry),
        message_id: message_id.to_owned(),
        sent_at_ms: handle.sent_at_ms,
    }
}

fn arrival(rank: Rank, parcel: Parcel) -> Arrival<Handle> {
    let entry = &parcel.entry;
    let customer: Option<CustomerId> = entry.customer().cloned();
    Arrival {
        customer,
        id: entry.id().clone(),
        digest: entry.digest(),
        rank,
        malformed: matches!(**entry, Entry::Malformed(_)),
        bytes: u32::try_from(entry.body().len()).unwrap_or(u32::MAX),
        payload: Arc::new(parcel),
    }
}
