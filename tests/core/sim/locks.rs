//! A stand-in for the locks: leases, with loss and absence.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace::core::{LockCall, Time};
use millrace::order::CustomerId;

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

    pub fn call(&mut self, call: LockCall, owner: u64, customers: &[CustomerId], now: Time) -> Vec<bool> {
        customers.iter().map(|customer| self.one(call, owner, customer, now)).collect()
    }

    fn one(&mut self, call: LockCall, owner: u64, customer: &CustomerId, now: Time) -> bool {
        let holder = self.held.get(customer).filter(|(_, until)| *until > now).map(|(owner, _)| *owner);
        let granted = match call {
            LockCall::Take => holder.is_none_or(|holder| holder == owner),
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
