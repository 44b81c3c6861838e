//! Calls to the queue and to the locks: each one a task that ends with its answer.

use std::time::{Duration, Instant};

use super::parcel::{self, Handle};
use crate::core::{Input, LockCall};
use crate::inbox::{Inbox, InboxError, Receipt, Settled};
use crate::locks::Locks;
use crate::metrics::{self, Answer, Failure, Request, Step};
use crate::order::{CustomerId, Ordering};

pub(super) async fn receive<I: Inbox>(
    inbox: I,
    ordering: Ordering,
    poll: u64,
    max: u32,
    wait: Duration,
) -> Input<Handle> {
    let begun = Instant::now();
    let received = inbox.receive(max, wait).await;
    metrics::step(Step::Receive, begun.elapsed());
    count(Request::Receive, &received);
    let result = received.map(|deliveries| {
        metrics::receive_size(deliveries.len());
        deliveries.into_iter().map(|delivery| parcel::of_delivery(ordering, delivery)).collect()
    });
    Input::Received { poll, result }
}

pub(super) async fn delete<I: Inbox>(inbox: I, call: u64, payloads: Vec<Handle>) -> Input<Handle> {
    metrics::delete_size(payloads.len());
    let begun = Instant::now();
    let result = inbox.delete(&receipts(&payloads)).await;
    metrics::step(Step::Delete, begun.elapsed());
    settled(Request::Delete, call, result)
}

pub(super) async fn set_visibility<I: Inbox>(
    inbox: I,
    call: u64,
    payloads: Vec<Handle>,
    timeout: Duration,
) -> Input<Handle> {
    let begun = Instant::now();
    let result = inbox.set_visibility(&receipts(&payloads), timeout).await;
    metrics::step(Step::Visibility, begun.elapsed());
    settled(Request::Visibility, call, result)
}

pub(super) async fn lock<K: Locks>(
    locks: K,
    call: LockCall,
    customers: Vec<CustomerId>,
    lease: Duration,
) -> Input<Handle> {
    let begun = Instant::now();
    let result = match call {
        LockCall::Take => locks.take(&customers, lease).await,
        LockCall::Renew => locks.renew(&customers, lease).await,
        LockCall::Release => locks.release(&customers).await.map(|()| Vec::new()),
    };
    if call == LockCall::Take {
        metrics::step(Step::Lock, begun.elapsed());
    }
    if result.is_err() {
        metrics::failed(Failure::LocksAway);
    }
    Input::Locked { call, result }
}

fn receipts(payloads: &[Handle]) -> Vec<Receipt> {
    // The core settles deliveries, and a delivery has a receipt.
    payloads.iter().map(|parcel| parcel.receipt.clone().expect("a delivery has a receipt")).collect()
}

fn settled(request: Request, call: u64, result: Result<Vec<Settled>, InboxError>) -> Input<Handle> {
    count(request, &result);
    for entry in result.iter().flatten() {
        match entry {
            Settled::Done => {}
            Settled::Again(reason) => {
                metrics::failed(Failure::EntryAgain);
                tracing::debug!(?request, reason, "an entry of a batch failed; it is tried again");
            }
            Settled::Gone(reason) => {
                metrics::failed(Failure::EntryGone);
                tracing::debug!(?request, reason, "an entry of a batch failed for good; the message comes again");
            }
        }
    }
    Input::Settled { call, result }
}

fn count<T>(request: Request, result: &Result<T, InboxError>) {
    metrics::request(request, if result.is_ok() { Answer::Ok } else { Answer::Failed });
    if let Err(error) = result {
        metrics::failed(Failure::Inbox(error.class));
    }
}
