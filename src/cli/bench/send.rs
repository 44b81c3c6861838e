//! Sending a load: at a rate, or as fast as the queue takes it.
//!
//! Each customer has one sender, and a sender has one request under way: so what is sent in order arrives in order, on
//! a FIFO queue too.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::load::{Load, Planned, float};
use crate::inbox::sqs::producer::{Outgoing, Producer, Sent};

/// Messages that wait for one sender.
const WAITING: usize = 100;

/// Entries of a request.
const FULL: usize = 10;

/// How often a message is tried, and the pause between two tries.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// An order that is sent, as the watch is told.
#[derive(Debug)]
pub(super) struct Departure {
    pub order_id: String,
    pub at: Instant,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shipped {
    pub messages: u64,
    pub took: Duration,
}

/// Sends everything. `departures` hears of orders as they are sent, as many as it has room for.
pub(super) async fn all(
    producer: &Producer,
    load: Load,
    rate: Option<u32>,
    senders: usize,
    departures: mpsc::Sender<Departure>,
    mut progress: impl FnMut(u64),
) -> Result<Shipped, String> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let queues: Vec<mpsc::Sender<Planned>> = (0..senders)
        .map(|_| {
            let (queue, waiting) = mpsc::channel(WAITING);
            tasks.spawn(send(producer.clone(), waiting, departures.clone()));
            queue
        })
        .collect();
    drop(departures);
    let mut messages = 0;
    for planned in load {
        if let Some(rate) = rate {
            // By the whole, so that a late message does not make all others late.
            sleep_until(begun + Duration::from_secs_f64(float(messages) / f64::from(rate))).await;
        }
        let sender = usize::try_from(planned.customer % senders as u64).expect("below the number of senders");
        if queues[sender].send(planned).await.is_err() {
            // It says why below.
            break;
        }
        messages += 1;
        progress(messages);
    }
    drop(queues);
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(Shipped { messages, took: begun.elapsed() })
}

async fn send(
    producer: Producer,
    mut waiting: mpsc::Receiver<Planned>,
    departures: mpsc::Sender<Departure>,
) -> Result<(), String> {
    let mut batch = Vec::with_capacity(FULL);
    while waiting.recv_many(&mut batch, FULL).await > 0 {
        let at = Instant::now();
        for planned in batch.iter().filter(|planned| !planned.copy) {
            // A full watch has samples enough.
            departures.try_send(Departure { order_id: planned.order_id.clone(), at }).ok();
        }
        request(&producer, std::mem::take(&mut batch)).await?;
    }
    Ok(())
}

/// Sends until all of it is in the queue.
async fn request(producer: &Producer, batch: Vec<Planned>) -> Result<(), String> {
    let fifo = producer.is_fifo();
    let outgoing = |planned: Planned| Outgoing {
        group: fifo.then(|| planned.customer_id.clone()),
        // A copy is to arrive, so it has a name of its own.
        deduplication_id: fifo.then(|| format!("{}{}", planned.order_id, if planned.copy { "-copy" } else { "" })),
        body: planned.body,
    };
    let mut messages: Vec<Outgoing> = batch.into_iter().map(outgoing).collect();
    let mut reason = String::new();
    for _ in 0..TRIES {
        let answers = producer.send(&messages).await;
        let mut left = Vec::new();
        for (message, sent) in messages.into_iter().zip(answers) {
            match sent {
                Sent::Done => {}
                Sent::Rejected(reason) | Sent::Refused(reason) => return Err(reason),
                Sent::Again(why) | Sent::Unknown(why) => {
                    reason = why;
                    left.push(message);
                }
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        messages = left;
        sleep(PAUSE).await;
    }
    Err(format!("a message was not sent in {TRIES} tries: {reason}"))
}
