//! The group commit of the stand-in.

use std::collections::BTreeSet;

use millrace::ledger::{CaseKind, ErrorClass, LedgerError, Verdict};
use millrace::order::{CustomerId, EntryId, Ordering, Rank};

use super::super::catalog::{Catalog, Parcel};
use super::super::chance::Chance;
use super::super::sqs::Sqs;
use super::{Customer, Ledger, Pass, Runs};

/// The orders of a run that would be written.
type Plan = (CustomerId, Vec<Parcel>);

impl Ledger {
    pub fn commit(
        &mut self,
        runs: &Runs,
        parked: bool,
        resolve: bool,
        pass: Pass,
        (catalog, sqs): (&Catalog, &Sqs),
        chance: &mut Chance,
    ) -> Result<Vec<Verdict>, LedgerError> {
        self.check_batch(runs, parked, catalog);
        if !self.gate.admits(pass, parked) {
            return Ok(vec![Verdict::GateClosed; runs.len()]);
        }
        let mut verdicts = Vec::new();
        let mut plans: Vec<Plan> = Vec::new();
        for (name, orders) in runs {
            let busy = self.held_rows.contains(name) || (self.faults && chance.permille(self.rates.locked));
            if !resolve && busy {
                verdicts.push(Verdict::Locked);
                continue;
            }
            let run: Vec<Parcel> = orders.iter().map(|(_, parcel)| *parcel).collect();
            match self.judge(name, &run, parked, catalog) {
                Err(verdict) => verdicts.push(verdict),
                Ok(plan) => {
                    let known = run.iter().filter(|p| !plan.contains(p)).map(|p| catalog.entry(*p).id.clone());
                    verdicts.push(Verdict::Committed { upto: 0, parked: 0, known: known.collect() });
                    plans.push((name.clone(), plan));
                }
            }
        }
        self.check_faults(&plans, catalog)?;
        self.gate.check(pass, parked);
        for (name, plan) in &plans {
            self.check_order(name, plan, catalog, sqs);
            let (_, run) = runs.iter().find(|(of, _)| of == name).unwrap();
            self.remove_known_copies(name, run, catalog);
            self.write(name, plan, catalog, chance);
        }
        for ((name, _), verdict) in runs.iter().zip(&mut verdicts) {
            if let Verdict::Committed { upto, parked, .. } = verdict {
                let customer = self.customers.get(name).cloned().unwrap_or_default();
                *upto = self.upto(&customer);
                *parked = customer.parked;
            }
        }
        Ok(verdicts)
    }

    /// What the port asks of its caller.
    fn check_batch(&self, runs: &Runs, parked: bool, catalog: &Catalog) {
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        assert!(!runs.is_empty(), "an empty batch");
        for (name, orders) in runs {
            assert!(names.insert(name), "a customer twice in one batch: {runs:?}");
            assert!(!orders.is_empty(), "an empty run: {runs:?}");
            for (rank, parcel) in orders {
                let entry = catalog.entry(*parcel);
                assert!(*rank == parcel.rank && entry.customer.as_ref() == Some(name) && !entry.malformed, "{runs:?}");
                // Parked, or what became of it since.
                let known = self.has(catalog, parcel.entry);
                assert!(!parked || known, "I5: a new order by the gate of parked ones: {parcel:?}");
                assert!(ids.insert(&entry.id), "an order_id twice in one batch: {runs:?}");
            }
            for pair in orders.windows(2) {
                let fits = match self.ordering {
                    Ordering::Gapless => pair[0].0 + 1 == pair[1].0,
                    Ordering::Fifo => pair[0].0 < pair[1].0,
                    Ordering::None => !parked,
                };
                assert!(fits, "a run that is none: {orders:?}");
            }
        }
    }

    fn judge(
        &self,
        name: &CustomerId,
        run: &[Parcel],
        parked: bool,
        catalog: &Catalog,
    ) -> Result<Vec<Parcel>, Verdict> {
        let customer = self.customers.get(name).cloned().unwrap_or_default();
        let new: Vec<Parcel> = match self.ordering {
            Ordering::Gapless => run.to_vec(),
            _ => run.iter().filter(|parcel| !self.is_known(&catalog.entry(**parcel).id)).copied().collect(),
        };
        if new.is_empty() {
            return Ok(new);
        }
        let upto = self.upto(&customer);
        let first = new.first().map(|parcel| parcel.rank);
        let behind = match self.ordering {
            Ordering::Gapless | Ordering::Fifo => first.is_some_and(|first| first <= upto),
            Ordering::None => false,
        };
        if customer.blocked_by.is_some() && (self.blocked_first || !behind) {
            return Err(Verdict::Blocked);
        }
        if behind {
            return Err(Verdict::Behind(upto));
        }
        let rival = |parcel: &Parcel| self.has_rival(name, *parcel, catalog);
        let contested = self.ordering == Ordering::Gapless && new.iter().any(rival);
        // Of a parked run nothing may be parked below, known or not.
        let lowest = if parked { run.first().map(|parcel| parcel.rank).filter(|_| first.is_some()) } else { first };
        if contested || lowest.is_some_and(|lowest| self.is_ahead(name, &customer, lowest, parked)) {
            return Err(Verdict::Ahead { upto, parked: customer.parked });
        }
        Ok(new)
    }

    /// Parked copies of the known orders of a run leave with it; another content has to be judged for itself.
    fn remove_known_copies(&mut self, name: &CustomerId, run: &[(Rank, Parcel)], catalog: &Catalog) {
        if self.customers.get(name).is_none_or(|customer| customer.blocked_by.is_some()) {
            return;
        }
        for (_, parcel) in run {
            let entry = catalog.entry(*parcel);
            let copy = self.parked_as(catalog, &entry.id).filter(|copy| catalog.entry(*copy).digest == entry.digest);
            if let Some(copy) = copy.filter(|_| self.has_end(&entry.id, entry.digest)) {
                self.unpark(name, copy.rank);
            }
        }
    }

    fn is_ahead(&self, name: &CustomerId, customer: &Customer, first: Rank, parked: bool) -> bool {
        match self.ordering {
            Ordering::Gapless => first > customer.last + 1,
            Ordering::Fifo if parked => self.parked_of(name).any(|(rank, _)| rank < first),
            Ordering::Fifo => customer.parked > 0,
            Ordering::None => false,
        }
    }

    fn check_faults(&self, plans: &[Plan], catalog: &Catalog) -> Result<(), LedgerError> {
        let mut new: BTreeSet<&EntryId> = BTreeSet::new();
        for parcel in plans.iter().flat_map(|(_, plan)| plan) {
            let entry = catalog.entry(*parcel);
            if entry.poison {
                return Err(error(ErrorClass::Fault, "23514: poison"));
            }
            let buried = self.ordering == Ordering::Gapless && self.tombstones.iter().any(|(id, _)| *id == entry.id);
            if buried {
                return Err(error(ErrorClass::Taken, "a tombstone has the order_id"));
            }
            if self.orders.contains_key(&entry.id) || !new.insert(&entry.id) {
                return Err(error(ErrorClass::Taken, "23505: orders_pkey"));
            }
        }
        Ok(())
    }

    /// I2, I8: everything that the customer sent before has its end.
    fn check_order(&self, name: &CustomerId, plan: &[Parcel], catalog: &Catalog, sqs: &Sqs) {
        let Some(last) = plan.last().filter(|_| self.ordering == Ordering::Fifo) else { return };
        for message in sqs.messages.iter().filter(|message| message.rank < last.rank) {
            let entry = &catalog.entries[message.entry];
            let ends = plan.iter().any(|parcel| catalog.entry(*parcel).id == entry.id)
                || self.is_known(&entry.id)
                || self.skipped.contains(&(entry.id.clone(), entry.digest))
                // A conflict blocks nobody, also before it is in quarantine: its name is parked with another content.
                || self.parked_as(catalog, &entry.id).is_some_and(|there| catalog.entry(there).digest != entry.digest)
                || self.quarantine.get(&(entry.id.clone(), entry.digest)) == Some(&CaseKind::Conflict);
            assert!(ends || entry.customer.as_ref() != Some(name), "I8: {plan:?} passes {entry:?}");
        }
    }

    fn write(&mut self, name: &CustomerId, plan: &[Parcel], catalog: &Catalog, chance: &mut Chance) {
        for parcel in plan {
            let entry = catalog.entry(*parcel);
            let place = (name.clone(), parcel.rank);
            let copy = self.parked.get(&place).is_some_and(|there| catalog.entry(*there).id == entry.id);
            // An old snapshot may not see the parked copy of its own order (protocol-v2, fact 7).
            if copy {
                if self.faults && chance.permille(self.rates.unseen) {
                    self.unseen += 1;
                } else {
                    self.unpark(name, parcel.rank);
                }
            }
            let customer = self.customers.entry(name.clone()).or_default();
            customer.last += 1;
            customer.mark = customer.mark.max(parcel.rank);
            customer.line.push(entry.id.clone());
            assert!(self.ordering != Ordering::Gapless || customer.last == entry.sequence, "I2: {entry:?}");
            let before = self.orders.insert(entry.id.clone(), (name.clone(), entry.digest));
            assert!(before.is_none(), "I1: {entry:?} twice");
            self.commits += 1;
        }
    }
}

pub fn error(class: ErrorClass, message: &str) -> LedgerError {
    LedgerError { class, message: message.into() }
}
