//! The lanes, by customer.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::lane::Lane;
use crate::order::CustomerId;

/// Hashed, because each order has its lane looked up several times. Where the order of lanes could be seen, whoever goes
/// through them takes [`Self::customers`], so that the same inputs give the same actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lanes<P>(HashMap<CustomerId, Lane<P>>);

impl<P> Lanes<P> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, customer: &CustomerId) -> Option<&Lane<P>> {
        self.0.get(customer)
    }

    pub(super) fn get_mut(&mut self, customer: &CustomerId) -> Option<&mut Lane<P>> {
        self.0.get_mut(customer)
    }

    /// The customer's lane; a new one where there is none.
    pub(super) fn of(&mut self, customer: &CustomerId) -> &mut Lane<P> {
        self.0.entry(customer.clone()).or_insert_with(Lane::new)
    }

    pub(super) fn remove(&mut self, customer: &CustomerId) -> Option<Lane<P>> {
        self.0.remove(customer)
    }

    /// All customers, in an order that is always the same.
    pub(super) fn customers(&self) -> Vec<CustomerId> {
        self.those(|_| true)
    }

    /// The customers of some lanes, in an order that is always the same.
    pub(super) fn those(&self, test: impl Fn(&Lane<P>) -> bool) -> Vec<CustomerId> {
        let mut customers: Vec<CustomerId> =
            self.0.iter().filter(|(_, lane)| test(lane)).map(|(customer, _)| customer.clone()).collect();
        customers.sort_unstable();
        customers
    }

    /// In no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Lane<P>> {
        self.0.values()
    }

    /// In no order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Lane<P>> {
        self.0.values_mut()
    }
}

impl<P: Hash> Hash for Lanes<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A sum, because equal ones may have their lanes in different orders.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        self.0.iter().map(|lane| hasher.hash_one(lane)).fold(0, u64::wrapping_add).hash(state);
    }
}
