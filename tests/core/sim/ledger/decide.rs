//! What a person decides.

use millrace::ledger::Gate;
use millrace::order::{CustomerId, Digest, EntryId};

use super::super::catalog::{Catalog, Parcel};
use super::super::chance::Chance;
use super::{Ledger, Pass};

impl Ledger {
    /// What blocks the customer, if a decision about it would pass the gate.
    pub fn decidable(&self, name: &CustomerId) -> Option<Parcel> {
        let blocked_by = self.customers.get(name)?.blocked_by.as_ref()?;
        (self.gate.read(Pass::Live) != Gate::Closed).then_some(blocked_by.0)
    }

    /// A person decides about a blocked customer, if it is one: true where its order is repaired and retried, false
    /// where it is skipped.
    pub fn decide(&mut self, name: &CustomerId, catalog: &mut Catalog, chance: &mut Chance) -> Option<bool> {
        self.decidable(name)?;
        let retried = chance.permille(500) && self.retry(name, catalog);
        if !retried {
            self.skip(name, catalog);
        }
        Some(retried)
    }

    /// Repairs the order that blocks a customer, and puts it back into its line. Refused for what is no order, and where
    /// its name stands for another content by now.
    pub fn retry(&mut self, name: &CustomerId, catalog: &mut Catalog) -> bool {
        let Some((parcel, id, digest)) = self.released(name) else { return false };
        let other = self.parked_as(catalog, &id).is_some_and(|other| catalog.entry(other).digest != digest);
        if catalog.entries[parcel.entry].malformed || other || self.is_known(&id) {
            self.customers.get_mut(name).unwrap().blocked_by = Some((parcel, id, digest));
            return false;
        }
        catalog.entries[parcel.entry].poison = false;
        self.quarantine.remove(&(id, digest));
        self.parked.insert((name.clone(), parcel.rank), parcel);
        self.customers.get_mut(name).unwrap().parked += 1;
        true
    }

    /// Gives the place of the order that blocks a customer to a tombstone.
    pub fn skip(&mut self, name: &CustomerId, catalog: &Catalog) {
        let Some((parcel, id, digest)) = self.released(name) else { return };
        self.unpark(name, parcel.rank);
        self.quarantine.remove(&(id.clone(), digest));
        // The name of another order is not ended by it.
        if !self.is_known(&id) && self.parked_as(catalog, &id).is_none() {
            self.tombstones.insert((id.clone(), digest));
        }
        self.skipped.insert((id.clone(), digest));
        let customer = self.customers.get_mut(name).unwrap();
        customer.last += 1;
        customer.mark = customer.mark.max(parcel.rank);
        customer.line.push(id);
    }

    /// What blocked a customer, and does not any more.
    fn released(&mut self, name: &CustomerId) -> Option<(Parcel, EntryId, Digest)> {
        if self.gate.read(Pass::Live) == Gate::Closed {
            return None;
        }
        self.customers.get_mut(name)?.blocked_by.take()
    }
}
