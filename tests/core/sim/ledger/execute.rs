//! A piece of work for the stand-in, as a session would do it.

use millrace::core::{Work, Written};

use super::super::catalog::{Catalog, Parcel};
use super::super::chance::Chance;
use super::super::sqs::Sqs;
use super::{Ledger, Pass};

impl Ledger {
    pub fn execute(
        &mut self,
        pass: Pass,
        work: &Work<Parcel>,
        (catalog, sqs): (&Catalog, &Sqs),
        chance: &mut Chance,
    ) -> Written<Parcel> {
        let parcels = |orders: &[(u128, Parcel)]| -> Vec<Parcel> {
            orders.iter().map(|(rank, parcel)| Parcel { rank: *rank, ..*parcel }).collect()
        };
        match work {
            Work::Probe => Written::Probe(Ok(self.gate.read(pass))),
            Work::Commit { runs, parked, resolve } => {
                Written::Commit(self.commit(runs, *parked, *resolve, pass, (catalog, sqs), chance))
            }
            Work::Park(orders) => Written::Park(Ok(self.park(&parcels(orders), pass, catalog, chance))),
            Work::LookUp(orders) => Written::LookUp(Ok(self.look_up(&parcels(orders), catalog))),
            Work::Load { customers, limit } => Written::Load(Ok(self.load(customers, *limit, catalog))),
            Work::Quarantine { rank, payload, kind, blocks, .. } => {
                let parcel = Parcel { rank: *rank, ..*payload };
                Written::Quarantine(Ok(self.quarantine(parcel, (*kind, *blocks), pass, catalog)))
            }
            Work::Sweep { limit, gap_after } => {
                let (ready, gaps) = self.sweep(*limit, pass, catalog);
                Written::Sweep(Ok((ready, gap_after.map(|_| gaps))))
            }
        }
    }
}
