//! The orders of a run.

/// How many orders of how many customers.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub orders: u64,
    pub customers: u64,
    /// None: customers take turns. Else the exponent of a Zipf distribution: customer k has a share like 1 / k^s.
    pub zipf: Option<f64>,
}

impl Load {
    pub const fn even(orders: u64, customers: u64) -> Self {
        Self { orders, customers, zipf: None }
    }

    /// The messages, in the order of sending; each customer's sequence begins with 1.
    pub fn bodies(self) -> impl Iterator<Item = String> {
        let mut last = vec![0; usize::try_from(self.customers).unwrap()];
        let mut chosen = self.chooser();
        (0..self.orders).map(move |number| {
            let customer = chosen(number);
            last[usize::try_from(customer).unwrap()] += 1;
            body(number, customer, last[usize::try_from(customer).unwrap()])
        })
    }

    fn chooser(self) -> Box<dyn FnMut(u64) -> u64 + Send> {
        let Some(exponent) = self.zipf else { return Box::new(move |number| number % self.customers) };
        // The sum of the shares up to each customer; a number below the whole falls into one of them.
        let mut whole = 0.0;
        let upto: Vec<f64> = (1..=self.customers)
            .map(|k| {
                whole += super::float(k).powf(-exponent);
                whole
            })
            .collect();
        // The same orders in every run.
        let mut random = fastrand::Rng::with_seed(1);
        Box::new(move |_| {
            let point = random.f64() * whole;
            (upto.partition_point(|&sum| sum <= point) as u64).min(self.customers - 1)
        })
    }
}

/// An order of two lines, about 300 bytes.
pub fn body(number: u64, customer: u64, sequence: u64) -> String {
    format!(
        r#"{{"order_id":"order-{number:08}","customer_id":"customer-{customer:07}","sequence":{sequence},"placed_at":"2026-11-22T10:00:00Z","currency":"EUR","lines":[{{"sku":"sku-{number}","quantity":2,"unit_price_minor":1990}},{{"sku":"post","quantity":1,"unit_price_minor":490}}]}}"#
    )
}
