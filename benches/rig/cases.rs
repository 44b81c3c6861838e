//! What the benches that are made of cases are asked for.

use clap::Parser;

#[derive(Parser)]
pub struct Cases {
    /// Which cases; all of them by default
    #[arg(value_name = "CASE")]
    pub names: Vec<String>,
    /// How often each is repeated, or each pair of them
    #[arg(long, default_value_t = 5)]
    pub times: u32,
    #[arg(long, default_value_t = 200_000)]
    pub orders: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only look whether it still runs
    #[arg(long, hide = true)]
    test: bool,
}

impl Cases {
    /// From the command line; small when it only has to run.
    pub fn asked(all: &[&str]) -> Self {
        let mut asked = Self::parse();
        if asked.test {
            (asked.times, asked.orders) = (1, 1_000);
        }
        if asked.names.is_empty() {
            asked.names = all.iter().map(|case| (*case).to_owned()).collect();
        }
        asked
    }

    /// A size, or a small one when it only has to run.
    pub fn size(&self, size: u64) -> u64 {
        if self.test { size / 1_000 } else { size }
    }
}
