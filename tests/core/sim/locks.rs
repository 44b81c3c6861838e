//! A stand-in for the locks: leases, which may be lost, doubled or late.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace::core::{LockCall, Time};
use millrace::order::CustomerId;

use super::chance::Chance;
use super::faults::Faults;
use super::tally::Kind;

#[derive(Debug)]
pub struct Locks {
    lease: Duration,
    held: BTreeMap<CustomerId, (u64, Time)>,
}

impl Locks {
    pub fn new(lease: Duration) -> Self {
        Self { lease, held: BTreeMap::new() }
    }

    /// Loses everything.
    pub fn flush(&mut self) {
        self.held.clear();
    }

    pub fn call(
        &mut self,
        call: LockCall,
        owner: u64,
        customers: &[CustomerId],
        now: Time,
        (faults, chance): (&mut Faults, &mut Chance),
    ) -> Vec<bool> {
        customers.iter().map(|customer| self.one(call, owner, customer, now, (&mut *faults, &mut *chance))).collect()
    }

    fn one(
        &mut self,
        call: LockCall,
        owner: u64,
        customer: &CustomerId,
        now: Time,
        (faults, chance): (&mut Faults, &mut Chance),
    ) -> bool {
        let entry = self.held.get(customer);
        let holder = entry.filter(|(_, until)| *until > now).map(|(owner, _)| *owner);
        if call == LockCall::Renew && entry.is_some_and(|(by, until)| *by == owner && *until <= now) {
            faults.tally.note(Kind::LeaseRanOut);
        }
        let granted = match call {
            LockCall::Take => match holder {
                Some(holder) if holder != owner => {
                    faults.tally.note(Kind::LockElsewhere);
                    faults.strike(Kind::LockDoubled, chance)
                }
                _ => !faults.strike(Kind::LockDenied, chance),
            },
            LockCall::Renew | LockCall::Release => holder == Some(owner),
        };
        if granted {
            if call == LockCall::Release {
                self.held.remove(customer);
            } else {
                self.held.insert(customer.clone(), (owner, now.after(self.lease)));
            }
        }
        granted
    }
}
