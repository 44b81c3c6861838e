//! Which faults come in a run, and how often: another mix for each seed. A fault that is switched off lets others
//! come to where it would have stood in their way.

use super::chance::Chance;
use super::tally::{Kind, STORMS, Tally};

#[derive(Debug, Clone)]
pub struct Faults {
    /// Whether any comes.
    pub on: bool,
    /// Of a thousand cases, by kind.
    rates: Vec<usize>,
    /// The storms of this run.
    pub storms: Vec<Kind>,
    /// The longest time between two of them, in milliseconds.
    pub storms_every: usize,
    /// How far a message of a standard queue may be out of its turn.
    pub disorder: usize,
    pub tally: Tally,
}

impl Faults {
    /// None at all.
    pub fn none() -> Self {
        let rates = vec![0; Kind::ALL.len()];
        Self { on: false, rates, storms: Vec::new(), storms_every: 400, disorder: 0, tally: Tally::new() }
    }

    /// A third of the kinds is off; the others come between a quarter as often as usual and four times as often.
    pub fn draw(belongs: impl Fn(Kind) -> bool, chance: &mut Chance) -> Self {
        let mut rate = |kind: &Kind| {
            let factor = [1, 2, 4, 8, 16][chance.below(5)];
            if chance.permille(667) { (kind.usual() * factor / 4).min(900) } else { 0 }
        };
        let rates = Kind::ALL.iter().map(&mut rate).collect();
        let mut storms: Vec<Kind> = STORMS.iter().copied().filter(|kind| belongs(*kind)).collect();
        chance.shuffle(&mut storms);
        storms.truncate(chance.between(1, storms.len()));
        let storms_every = [100, 200, 400, 1_000][chance.below(4)];
        let disorder = [0, 3, 30, 1_000][chance.below(4)];
        Self { on: true, rates, storms, storms_every, disorder, tally: Tally::new() }
    }

    /// Whether this fault comes now; then it is counted.
    pub fn strike(&mut self, kind: Kind, chance: &mut Chance) -> bool {
        let strikes = self.on && chance.permille(self.rates[kind as usize]);
        if strikes {
            self.tally.note(kind);
        }
        strikes
    }

    pub fn rate(&self, kind: Kind) -> usize {
        self.rates[kind as usize]
    }
}
