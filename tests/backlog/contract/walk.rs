//! A random walk over every call, step for step beside the model.

use std::time::Duration;

use millrace::backlog::{Append, Lease, Read, Session, Spooled};
use millrace::window::Phase;

use super::Store;
use super::bench::{Bench, claim, notice, place};
use super::model::Model;
use super::orders::{malformed, selling};
use crate::probe::Probe;
use crate::random::Random;

const STEPS: u32 = 400;

struct Walk<S: Store> {
    bench: Bench<S>,
    model: Model,
    dice: Random,
    after: String,
}

pub(crate) async fn a_random_walk_agrees_with_the_model<S: Store>(store: &S) {
    let bench = Bench::sealed(store).await;
    let mut walk = Walk { bench, model: Model::new(), dice: Random::seeded(), after: String::new() };
    for step in 0..STEPS {
        walk.step(step).await;
        walk.check(step).await;
    }
}

/// A number or one beside it.
fn near(dice: &mut Random, number: u64) -> u64 {
    match dice.below(6) {
        0 => number.saturating_sub(1),
        1 => number + 1,
        _ => number,
    }
}

impl<S: Store> Walk<S> {
    fn spooled(&mut self) -> Spooled {
        let number = self.dice.below(60);
        let name = ["ada", "bob", "cyd"][usize::try_from(number % 3).unwrap()];
        match self.dice.below(10) {
            0 => malformed(&format!("m{number}"), None, 0, "?"),
            1 => malformed(&format!("m{number}"), Some(name), u128::from(number), "?"),
            2 => selling(&format!("o{number}"), name, u128::from(number), 9),
            _ => selling(&format!("o{number}"), name, u128::from(number), 1),
        }
    }

    async fn step(&mut self, step: u32) {
        match self.dice.below(24) {
            0..8 => self.append(step).await,
            8..13 => self.drain(step).await,
            13 => self.lease().await,
            14 | 15 => self.begin(step).await,
            _ => self.end(step).await,
        }
    }

    async fn append(&mut self, step: u32) {
        let orders: Vec<_> = (0..=self.dice.below(5)).map(|_| self.spooled()).collect();
        let epoch = near(&mut self.dice, self.model.epoch);
        let expected = self.model.append(epoch, &orders);
        let answer = match self.bench.session.append(epoch, &orders).await.unwrap() {
            Append::Spooled(kept) => Ok(kept),
            Append::Refused(view) => Err(place(&view)),
        };
        assert_eq!(answer, expected, "step {step}: epoch {epoch}, {orders:?}");
    }

    async fn drain(&mut self, step: u32) {
        let mut up_to = |most| 1 + u32::try_from(self.dice.below(most)).unwrap();
        let read = Read {
            after: self.after.clone(),
            floors: Vec::new(),
            share: up_to(4),
            limit: up_to(12),
            bytes_max: u32::MAX,
            only: None,
        };
        let expected = self.model.read(&read);
        let rows = self.bench.read(&read).await;
        let got: Vec<_> = rows.iter().map(|row| (row.customer.clone(), row.rank, row.body.clone())).collect();
        let want: Vec<_> = expected
            .iter()
            .map(|(_, spooled)| (spooled.entry.customer().cloned(), spooled.rank, spooled.entry.body().to_owned()))
            .collect();
        assert_eq!(got, want, "step {step}: {read:?}");
        self.after = rows.last().and_then(|row| row.customer.as_ref()).map(ToString::to_string).unwrap_or_default();
        let some = usize::try_from(self.dice.below(4)).unwrap() * rows.len() / 2;
        let gone: Vec<_> = rows.iter().map(|row| row.row).take(some).collect();
        self.bench.session.remove(&gone).await.unwrap();
        for (key, _) in expected.iter().take(some) {
            self.model.remove(key);
        }
    }

    async fn lease(&mut self) {
        let owner = ["w1", "w2"][usize::try_from(self.dice.below(2)).unwrap()];
        if self.dice.one_in(3) {
            self.bench.session.release(owner).await.unwrap();
            self.model.owner = self.model.owner.take().filter(|other| other != owner);
            return;
        }
        let free = self.model.owner.as_deref().is_none_or(|other| other == owner);
        let lease = self.bench.session.lease(&claim(owner, Duration::from_mins(10))).await.unwrap();
        assert_eq!(lease, if free { Lease::Held } else { Lease::Elsewhere });
        if free {
            self.model.owner = Some(owner.into());
        }
    }

    async fn begin(&mut self, step: u32) {
        let epoch = near(&mut self.dice, self.model.epoch.max(self.model.announced));
        if self.dice.one_in(3) {
            // It dies after its first statement.
            let first = format!("UPDATE backlog_announced SET epoch = {epoch} WHERE epoch < {epoch}");
            self.bench.probe.execute(&first).await;
            self.model.announce(epoch);
            return;
        }
        let taken = self.bench.session.start_spooling(epoch, &notice("walk")).await.unwrap();
        assert_eq!(taken, self.model.start_spooling(epoch), "step {step}: epoch {epoch}");
    }

    async fn end(&mut self, step: u32) {
        let (epoch, turn) = (near(&mut self.dice, self.model.epoch), near(&mut self.dice, self.model.turn));
        // Mostly the step that is next, so that the walk comes somewhere.
        let next = match self.model.place() {
            (Phase::Spooling, _, _, false) => 0,
            (Phase::Spooling, _, _, true) => 1 + self.dice.below(2),
            (Phase::Sealing, ..) => 2 + self.dice.below(2),
            (Phase::Sealed, ..) => return self.begin(step).await,
        };
        let which = if self.dice.one_in(4) { self.dice.below(4) } else { next };
        let (session, model) = (&mut self.bench.session, &mut self.model);
        let (taken, expected) = match which {
            0 => (session.announce_seal(epoch, turn).await, model.announce_seal(epoch, turn)),
            1 => (session.seal(epoch, turn).await, model.seal(epoch, turn)),
            2 => (session.unseal(epoch, "w1").await, model.unseal(epoch, "w1")),
            _ => (session.sealed(epoch).await, model.sealed(epoch)),
        };
        assert_eq!(taken.unwrap(), expected, "step {step}: {which}, epoch {epoch}, turn {turn}");
    }

    async fn check(&mut self, step: u32) {
        self.bench.audit().await;
        assert_eq!(self.bench.place().await, self.model.place(), "step {step}");
        let depth = self.bench.depth().await;
        let counts = (depth.rows, depth.appended, depth.removed);
        assert_eq!(counts, (self.model.rows(), self.model.appended, self.model.removed), "step {step}");
    }
}
