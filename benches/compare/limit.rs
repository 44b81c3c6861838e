//! PostgreSQL alone: the group commit of Millrace, fed from memory.

use std::sync::Arc;
use std::time::Instant;

use millrace::config::Config;
use millrace::ledger::{self, Batch, Ledger as _, Placed, Run, Session as _, Verdict};
use millrace::order::{Entry, Ordering, Rank};
use tokio::task::JoinSet;

use crate::rig::{Load, Place, Site, float};

/// So many connections, each with its own customers, and so many orders in a transaction.
#[derive(Clone, Copy)]
pub struct Shape {
    pub connections: usize,
    pub batch: usize,
}

/// The shape that is best here.
pub async fn best(site: &Site, load: Load, trial: bool) -> Shape {
    let mut best = (0.0, Shape { connections: 2, batch: 200 });
    for connections in if trial { vec![2] } else { vec![2, 3, 4, 6] } {
        for batch in if trial { vec![200] } else { vec![200, 500] } {
            let shape = Shape { connections, batch };
            let place = site.place().await;
            let rate = run(&place, load, shape).await;
            site.forget(place).await;
            println!("  limit with {connections} connections, batches of {batch}: {rate:.0} orders/s");
            if rate > best.0 {
                best = (rate, shape);
            }
        }
    }
    best.1
}

/// Orders a second, all connections together.
pub async fn run(place: &Place, load: Load, shape: Shape) -> f64 {
    let ledger = ledger::open(&Config::new(&place.queue, &place.ledger)).unwrap();
    let mut batches: Vec<Vec<Batch>> = batches(load, shape);
    let mut sessions = Vec::new();
    for _ in 0..shape.connections {
        sessions.push(ledger.connect().await.unwrap());
    }
    let begun = Instant::now();
    let mut committing = JoinSet::new();
    for mut session in sessions {
        let mine = batches.pop().unwrap();
        committing.spawn(async move {
            for batch in mine {
                let verdicts = session.commit(&batch).await.unwrap();
                assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Committed { .. })), "{verdicts:?}");
            }
        });
    }
    while let Some(ended) = committing.join_next().await {
        ended.unwrap();
    }
    float(load.orders) / begun.elapsed().as_secs_f64()
}

/// The batches of each connection, decoded: as many different customers in each as there are.
fn batches(load: Load, shape: Shape) -> Vec<Vec<Batch>> {
    let mut filling: Vec<Vec<Run>> = (0..shape.connections).map(|_| Vec::new()).collect();
    let mut full: Vec<Vec<Batch>> = (0..shape.connections).map(|_| Vec::new()).collect();
    for (number, body) in load.bodies().enumerate() {
        let entry = Entry::from_message(Ordering::Gapless, "m", None, body);
        let Entry::Order(order) = &entry else { panic!("a load of orders") };
        let (customer, rank) = (order.customer_id.clone(), Rank::from(order.sequence.unwrap()));
        // A customer belongs to one connection, so none waits for another.
        let mine = number % usize::try_from(load.customers).unwrap() % shape.connections;
        let placed = Placed { rank, entry: Arc::new(entry) };
        filling[mine].push(Run { customer, orders: vec![placed] });
        if filling[mine].len() == shape.batch.min(usize::try_from(load.customers).unwrap() / shape.connections) {
            full[mine].push(batch(std::mem::take(&mut filling[mine])));
        }
    }
    for (mine, left) in filling.into_iter().enumerate() {
        if !left.is_empty() {
            full[mine].push(batch(left));
        }
    }
    full
}

fn batch(mut runs: Vec<Run>) -> Batch {
    runs.sort_by(|a, b| a.customer.cmp(&b.customer));
    Batch { runs, parked: false, resolve: false }
}
